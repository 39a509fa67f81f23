"""A collection of a real Weaviate: loaded, loaded again, changed by difference, repaired, kept apart by tenant, and lost."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import weaviate
from tests.support.platform import WeaviateServer
from weaviate.classes.query import Filter

from gradatim.api.ragindex import MetadataField, MetadataType, VectorIndex
from gradatim.rag.store.connection import VectorStoreAddress, connected
from gradatim.rag.store.diff import Limits
from gradatim.rag.store.errors import CountMismatch, CredentialsRefused, LoadRefused, VectorStoreUnreachable
from gradatim.rag.store.rows import IndexRow
from gradatim.rag.store.schema import CollectionDesign
from gradatim.rag.store.writer import CollectionWriter, LoadReport, LoadSettings

VECTOR = "e_00000000"
FIELDS = (MetadataField(name="department"), MetadataField(name="level", type=MetadataType.INT))


def address_of(server: WeaviateServer) -> VectorStoreAddress:
    return VectorStoreAddress(server.endpoint, server.grpc_endpoint, server.workload_key)


@pytest.fixture
def client(weaviate_server: WeaviateServer) -> Iterator[weaviate.WeaviateClient]:
    with connected(address_of(weaviate_server)) as found:
        yield found


def writer_of(client: weaviate.WeaviateClient, *, tenants: bool = False, objects: int = 100) -> CollectionWriter:
    settings = LoadSettings(pause=lambda _: None, progress=lambda _: None, limits=Limits(objects=objects), attempts=2)
    return CollectionWriter(client, f"Gtest_{uuid.uuid4().hex[:10]}", VECTOR, tenants, settings)


def design_of(writer: CollectionWriter) -> CollectionDesign:
    return CollectionDesign(writer.name, VECTOR, VectorIndex(), FIELDS, writer.tenants, '{"made": "by a test"}')


def rows(count: int, tenant: str | None = None) -> list[tuple[IndexRow, np.ndarray]]:
    random = np.random.default_rng(7)
    return [
        (
            IndexRow(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{tenant}-{number}")),
                document_id=f"d{number // 10}",
                source="docs",
                uri=f"{number // 10}.md",
                index=number % 10,
                start=0,
                end=9,
                text=f"passage number{number}",
                metadata={"department": "hr" if number % 2 else "it", "level": number},
                tenant=tenant,
            ),
            random.normal(size=16).astype(np.float32),
        )
        for number in range(count)
    ]


def test_a_load_is_complete_and_a_second_one_changes_nothing(client: weaviate.WeaviateClient) -> None:
    writer, wanted = writer_of(client), rows(250)
    assert not writer.exists()
    writer.create(design_of(writer))
    assert writer.exists()
    assert writer.sync(wanted) == LoadReport(inserted=250, kept=0, deleted=0)
    assert writer.reconcile({None: 250}, lambda: wanted) is None
    assert writer.sync(wanted) == LoadReport(inserted=0, kept=250, deleted=0)
    writer.drop()
    assert not writer.exists()


def test_an_update_by_difference_inserts_changes_and_deletes_only_what_differs(client: weaviate.WeaviateClient) -> None:
    writer, before = writer_of(client), rows(60)
    writer.create(design_of(writer))
    writer.sync(before)
    row, vector = before[5]
    changed = (replace(row, metadata={"department": "law", "level": 99}), vector)
    after = [*before[:5], changed, *before[6:50], *rows(70)[60:]]
    assert writer.sync(after) == LoadReport(inserted=11, kept=49, deleted=10)
    assert writer.counts() == {None: 60}
    found = client.collections.use(writer.name).query.fetch_objects(
        filters=Filter.by_property("m_department").equal("law")
    )
    assert [(item.properties["m_level"], str(item.uuid)) for item in found.objects] == [(99, row.id)]
    writer.drop()


def test_wrong_counts_are_repaired_once(client: weaviate.WeaviateClient) -> None:
    writer, wanted = writer_of(client), rows(30)
    writer.create(design_of(writer))
    writer.sync([*wanted[:20], *rows(35)[30:]])
    assert writer.reconcile({None: 30}, lambda: wanted) == LoadReport(inserted=10, kept=20, deleted=5)
    assert writer.counts() == {None: 30}
    with pytest.raises(CountMismatch, match="30 objects instead of 31"):
        writer.reconcile({None: 31}, lambda: wanted)
    writer.drop()


def test_tenants_hold_their_own_rows_and_lose_those_that_moved(client: weaviate.WeaviateClient) -> None:
    writer = writer_of(client, tenants=True, objects=7)
    writer.create(design_of(writer))
    acme, other = rows(20, "acme"), rows(10, "other-1")
    mixed = [row for pair in zip(acme, [*other, *other], strict=True) for row in pair][:30] + acme[15:]
    wanted = list({(row.tenant, row.id): (row, vector) for row, vector in mixed}.values())
    writer.sync(wanted)
    assert writer.counts() == {"acme": 20, "other-1": 10}
    moved = (replace(acme[0][0], tenant="other-1"), acme[0][1])
    writer.sync([moved, *acme[1:], *other])
    assert writer.counts() == {"acme": 19, "other-1": 11}
    assert writer.reconcile({"acme": 19, "other-1": 11}, list) is None
    writer.drop()


def test_every_quantisation_and_index_type_can_be_created(client: weaviate.WeaviateClient) -> None:
    made = []
    for kind, quantizations in (("hnsw", ("none", "rq", "pq", "bq")), ("flat", ("none", "rq", "bq"))):
        for quantization in quantizations:
            writer = writer_of(client)
            index = VectorIndex.model_validate({"type": kind, "quantization": quantization, "shards": 2})
            writer.create(replace(design_of(writer), vector_index=index))
            config = client.collections.use(writer.name).config.get()
            quantizer = config.vector_config[VECTOR].vector_index_config.quantizer
            made.append((kind, quantization, type(quantizer).__name__.strip("_").removesuffix("Config").lower()))
            writer.drop()
    assert [
        (kind, quantization) for kind, quantization, found in made if found != quantization.replace("none", "nonetype")
    ] == []


def test_an_object_that_the_server_refuses_is_named(client: weaviate.WeaviateClient) -> None:
    writer, wanted = writer_of(client), rows(3)
    writer.create(design_of(writer))
    row, vector = wanted[1]
    wrong = replace(row, metadata={"department": "hr", "level": "high"})
    with pytest.raises(LoadRefused, match=rf"refused chunk {row.id} of 0.md: .*m_level"):
        writer.sync([wanted[0], (wrong, vector), wanted[2]])
    writer.drop()


def test_a_wrong_key_and_a_dead_address_are_told_apart(weaviate_server: WeaviateServer) -> None:
    address = address_of(weaviate_server)
    with (
        pytest.raises(CredentialsRefused, match="the API key was refused"),
        connected(replace(address, api_key="wrong")),
    ):
        pass
    with pytest.raises(VectorStoreUnreachable), connected(replace(address, endpoint="http://127.0.0.1:9")):
        pass
    with pytest.raises(VectorStoreUnreachable), connected(replace(address, grpc_endpoint="http://127.0.0.1:9")):
        pass
