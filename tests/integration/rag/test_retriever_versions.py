"""A retriever follows an alias from version to version, and refuses vectors that its encoder did not make."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import weaviate
from tests.support.platform import WeaviateServer

from gradatim.api.ragindex import VectorIndex
from gradatim.rag.retrieve.candidates import Vector, Vectors
from gradatim.rag.retrieve.models import Models, QueryEncoder, Reranker
from gradatim.rag.retrieve.retriever import Retriever
from gradatim.rag.store.connection import VectorStoreAddress, connected
from gradatim.rag.store.errors import CollectionNotFound, EncoderMismatch, ManifestError
from gradatim.rag.store.manifest import EncoderInfo, RetrievalManifest
from gradatim.rag.store.rows import IndexRow
from gradatim.rag.store.schema import CollectionDesign
from gradatim.rag.store.writer import CollectionWriter, LoadSettings

DIMENSION = 8


@dataclass(frozen=True)
class HashEncoder:
    """Encodes a text by its hash: the nearest text is the same text. Enough where only identity matters."""

    digest: str

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self.encode(text) for text in texts])

    def encode(self, text: str) -> Vector:
        seed = int.from_bytes(hashlib.sha256((self.digest + text).encode()).digest()[:8], "big")
        return np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)


def digest_of(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def encoder_of(info: EncoderInfo) -> QueryEncoder:
    return HashEncoder(digest_of(info.uri))


def no_reranker(uri: str) -> Reranker:
    raise AssertionError(f"nothing here asks for {uri}")


MODELS = Models(encoder_of, no_reranker)


@dataclass
class Versions:
    """Builds versions by hand and points an alias at one of them."""

    client: weaviate.WeaviateClient
    address: VectorStoreAddress
    alias: str
    made: list[str]

    def build(self, model: str, texts: list[str]) -> str:
        encoder = HashEncoder(digest_of(model))
        manifest = RetrievalManifest(
            digest=digest_of(uuid.uuid4().hex),
            artifact_uri="file:///nowhere",
            encoder=EncoderInfo(uri=model, digest=encoder.digest, dimension=DIMENSION),
            vector_index=VectorIndex(),
            chunks=len(texts),
        )
        settings = LoadSettings(pause=lambda _: None, progress=lambda _: None)
        writer = CollectionWriter(self.client, f"Gver_{uuid.uuid4().hex[:10]}", manifest.vector_name, False, settings)
        writer.create(
            CollectionDesign(writer.name, manifest.vector_name, VectorIndex(), (), False, manifest.to_description())
        )
        rows = [
            (IndexRow(str(uuid.uuid4()), f"d{n}", "s", f"{n}.md", 0, 0, len(text), text), encoder.encode(text))
            for n, text in enumerate(texts)
        ]
        writer.sync(rows)
        self.made.append(writer.name)
        return writer.name

    def point(self, collection: str) -> None:
        if self.client.alias.exists(alias_name=self.alias):
            self.client.alias.update(alias_name=self.alias, new_target_collection=collection)
        else:
            self.client.alias.create(alias_name=self.alias, target_collection=collection)

    def retriever(self, max_age: float = 1000.0, models: Models = MODELS) -> Retriever:
        return Retriever.open(self.address, self.alias, models, max_age)


@pytest.fixture
def versions(weaviate_server: WeaviateServer) -> Iterator[Versions]:
    # The operator's key: workloads may not touch aliases.
    address = VectorStoreAddress(weaviate_server.endpoint, weaviate_server.grpc_endpoint, weaviate_server.operator_key)
    with connected(address) as client:
        found = Versions(client, address, f"Alias_{uuid.uuid4().hex[:10]}", [])
        yield found
        client.alias.delete(alias_name=found.alias)
        client.collections.delete(found.made)


def test_a_dropped_version_is_resolved_again_with_its_new_encoder(versions: Versions) -> None:
    old = versions.build("model-a", ["the old answer"])
    versions.point(old)
    with versions.retriever() as retriever:
        assert retriever.query("the old answer", 1, mode="vector")[0].text == "the old answer"
        new = versions.build("model-b", ["the new answer"])
        versions.point(new)
        versions.client.collections.delete(old)
        hit = retriever.query("the new answer", 1, mode="vector")[0]
        assert (hit.text, hit.score) == ("the new answer", pytest.approx(1.0, abs=1e-3))
        assert (retriever.collection, hit.version) == (new, retriever.manifest.digest)


def test_a_switched_alias_is_followed_after_its_age(versions: Versions) -> None:
    old, new = versions.build("model-a", ["first"]), versions.build("model-a", ["second"])
    versions.point(old)
    with versions.retriever(max_age=1000) as patient, versions.retriever(max_age=0) as eager:
        versions.point(new)
        assert patient.query("second", 1)[0].text == "first"
        assert eager.query("second", 1)[0].text == "second"


def test_an_encoder_of_another_digest_is_refused(versions: Versions) -> None:
    versions.point(versions.build("model-a", ["text"]))
    other = Models(lambda _: HashEncoder(digest_of("retrained")), no_reranker)
    with pytest.raises(EncoderMismatch, match="use the model that built it or rebuild the index"):
        versions.retriever(models=other)


def test_what_is_no_index_of_ours_is_refused(versions: Versions) -> None:
    with pytest.raises(CollectionNotFound):
        versions.retriever()
    name = f"Gver_{uuid.uuid4().hex[:10]}"
    versions.client.collections.create(name, description="made by hand")
    versions.made.append(name)
    versions.point(name)
    with pytest.raises(ManifestError, match="cannot be read"):
        versions.retriever()
