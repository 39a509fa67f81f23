"""What goes into a collection and comes back: rows, typed metadata, pieces, counts, the manifest, the definition."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gradatim.api.ragindex import MetadataField, MetadataType, Retrieval, VectorIndex
from gradatim.rag.store.connection import VectorStoreAddress
from gradatim.rag.store.diff import CountDifference, Limits, count_differences, pieces
from gradatim.rag.store.errors import ManifestError, VectorStoreError
from gradatim.rag.store.manifest import EncoderInfo, RetrievalManifest, read_manifest, vector_name
from gradatim.rag.store.rows import (
    IndexRow,
    MetadataError,
    ParentSpan,
    fingerprint,
    from_properties,
    size_of,
    to_properties,
    typed_metadata,
)
from gradatim.rag.store.schema import CollectionDesign, create_arguments

DIGEST = "sha256:" + "0123456789abcdef" * 4
FULL = IndexRow(
    id="5ca7eb2d-bb2d-5056-b63b-daa314f1ad57",
    document_id="d1",
    source="handbook",
    uri="a/b.pdf",
    index=3,
    start=10,
    end=42,
    text="Ünïcode text",
    page=2,
    row=7,
    headings=("One", "Two"),
    metadata={"department": "hr", "published": datetime(2024, 5, 1, tzinfo=UTC), "level": 3, "public": False},
    parent=ParentSpan("p1", "c1", 0, 90, "the whole window"),
    tenant="acme",
)


def test_a_row_comes_back_from_its_properties() -> None:
    found = to_properties(FULL)
    assert found["m_published"] == "2024-05-01T00:00:00+00:00"
    returned = {**found, "m_published": datetime(2024, 5, 1, tzinfo=UTC), "m_absent": None}
    assert from_properties(FULL.id, returned, "acme") == FULL


def test_a_bare_row_comes_back_too() -> None:
    bare = IndexRow("c", "d", "s", "u", 0, 0, 4, "text")
    assert from_properties("c", to_properties(bare)) == bare


def test_the_fingerprint_changes_with_every_property_but_itself() -> None:
    base = to_properties(FULL)
    assert fingerprint(base) == base["fingerprint"]
    for name in base.keys() - {"fingerprint"}:
        changed = {**base, name: "other"}
        assert fingerprint(changed) != base["fingerprint"], name


def test_the_size_counts_all_texts_and_the_vector() -> None:
    parent = ParentSpan("p", "c", 0, 9, "ä" * 1000)
    row = IndexRow(
        "c",
        "d",
        "ä" * 10,
        "ä" * 20,
        0,
        0,
        4,
        "ä" * 100,
        headings=("ä" * 30, "ä"),
        metadata={"team": "ä" * 40},
        parent=parent,
    )
    assert size_of(row, 384) == 2 * (10 + 20 + 100 + 30 + 1 + 40 + 1000) + 4 * 384 + 512


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        pytest.param("text", ("a", "b"), "a, b", id="a list becomes text"),
        pytest.param("text", 5, "5", id="a number may be text"),
        pytest.param("int", "42", 42, id="digits are a whole number"),
        pytest.param("int", 42.0, 42, id="a whole float is a whole number"),
        pytest.param("number", "2.5", 2.5, id="digits with a point are a number"),
        pytest.param("boolean", "Yes", True, id="yes is true"),
        pytest.param("boolean", 0, False, id="zero is false"),
        pytest.param("date", "2024-05-01", datetime(2024, 5, 1, tzinfo=UTC), id="a day is its first moment in UTC"),
        pytest.param(
            "date", "2024-05-01T02:00:00+02:00", datetime(2024, 5, 1, tzinfo=UTC), id="a time with zone becomes UTC"
        ),
    ],
)
def test_metadata_takes_the_type_of_the_schema(kind: str, value: object, expected: object) -> None:
    fields = (MetadataField(name="f", type=MetadataType(kind)),)
    assert typed_metadata({"f": value, "undeclared": 1}, fields) == {"f": expected}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", "many"),
        ("int", 2.5),
        ("int", True),
        ("int", 2**60),
        ("number", "nan"),
        ("boolean", "maybe"),
        ("date", "soon"),
        ("date", 5),
    ],
)
def test_metadata_of_another_type_is_refused_by_name(kind: str, value: object) -> None:
    fields = (MetadataField(name="when", type=MetadataType(kind)),)
    with pytest.raises(MetadataError, match=f"metadata field when must be of type {kind}"):
        typed_metadata({"when": value}, fields)


def test_empty_metadata_is_absent() -> None:
    fields = (MetadataField(name="d", type=MetadataType.DATE), MetadataField(name="n", type=MetadataType.INT))
    assert typed_metadata({"d": " ", "n": None}, fields) == {}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [(None, "a", 5), (None, "b", 5), (None, "c", 1)], [(None, ["a", "b"]), (None, ["c"])], id="by bytes"
        ),
        pytest.param([(None, n, 1) for n in "abcd"], [(None, ["a", "b", "c"]), (None, ["d"])], id="by number"),
        pytest.param(
            [(None, "a", 99), (None, "b", 1)], [(None, ["a"]), (None, ["b"])], id="an oversized one goes alone"
        ),
        pytest.param(
            [("x", "a", 4), ("y", "b", 4), ("x", "c", 4)], [("x", ["a", "c"]), ("y", ["b"])], id="one tenant per piece"
        ),
        pytest.param(
            [(n, n, 9) for n in "pqrstu"],
            [("p", ["p"]), ("q", ["q"]), ("r", ["r"]), ("s", ["s"]), ("t", ["t"]), ("u", ["u"])],
            id="many tenants do not pile up",
        ),
    ],
)
def test_pieces_stay_within_their_limits(
    items: list[tuple[str | None, str, int]], expected: list[tuple[str | None, list[str]]]
) -> None:
    assert sorted(pieces(items, Limits(bytes=10, objects=3)), key=lambda piece: piece[1]) == expected


def test_many_tenants_are_sent_before_all_of_them_are_read() -> None:
    taken: list[str] = []

    def items() -> object:
        for name in "abcdefgh":
            taken.append(name)
            yield name, name, 9

    first = next(iter(pieces(items(), Limits(bytes=10, objects=3))))  # type: ignore[arg-type]
    assert first == ("a", ["a"])
    assert taken == list("abcde")


def test_counts_are_compared_by_tenant() -> None:
    assert count_differences({"a": 2, "b": 1}, {"a": 2, "b": 1}) == ()
    found = count_differences({"a": 2, "b": 1}, {"a": 3, "c": 4})
    assert found == (CountDifference("a", 2, 3), CountDifference("b", 1, 0), CountDifference("c", 0, 4))
    assert str(found[0]) == "tenant a: 3 objects instead of 2"
    assert str(CountDifference(None, 1, 0)) == "0 objects instead of 1"


def manifest(**changes: object) -> RetrievalManifest:
    values: dict[str, object] = {
        "digest": DIGEST,
        "artifact_uri": "file:///store/ns/x",
        "encoder": EncoderInfo(uri="file:///m", digest=DIGEST, dimension=384),
        "vector_index": VectorIndex(),
        "retrieval": Retrieval(alpha=0.3),
    }
    return RetrievalManifest.model_validate(values | changes)


def test_the_manifest_travels_in_the_description() -> None:
    sent = manifest(fields=[MetadataField(name="department")], tenant_field="department", chunks=5)
    assert read_manifest("Gx", sent.to_description()) == sent
    assert sent.vector_name == vector_name(DIGEST) == "e_01234567"


@pytest.mark.parametrize(
    ("description", "message"),
    [
        pytest.param(None, "carries no retrieval manifest", id="none"),
        pytest.param("A hand-made collection", "cannot be read", id="prose"),
        pytest.param('{"format": "gradatim.dev/index/v9"}', "cannot be read (format", id="a later format"),
        pytest.param("x" * 70_000, "carries no retrieval manifest", id="far too long"),
    ],
)
def test_anything_else_in_a_description_is_refused(description: str | None, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest("Gx", description)
    assert message in str(caught.value)


def test_the_largest_manifest_can_be_read_again() -> None:
    fields = [MetadataField(name=f"{'f' * 60}{n}", type=MetadataType.BOOLEAN) for n in range(32)]
    big = manifest(artifact_uri="ü" * 2048, fields=fields, tenant_field=fields[0].name)
    assert read_manifest("Gx", big.to_description()) == big


def test_a_definition_names_every_property_and_the_vector() -> None:
    design = CollectionDesign(
        name="Gx",
        vector_name="e_01234567",
        vector_index=VectorIndex(
            type="hnsw", distance="dot", ef_construction=64, max_connections=16, quantization="rq"
        ),
        fields=(
            MetadataField(name="department"),
            MetadataField(name="published", type=MetadataType.DATE),
            MetadataField(name="note", filterable=False),
        ),
        tenants=False,
        description="{}",
    )
    made = create_arguments(design)
    by_name = {item.name: item for item in made["properties"]}
    assert [name for name, item in by_name.items() if item.indexSearchable] == ["text"]
    assert {name for name, item in by_name.items() if item.indexFilterable} == {
        "document", "source", "uri", "parent", "page", "row", "m_department", "m_published",
    }  # fmt: skip
    assert by_name["m_published"].indexRangeFilters is True
    vector = made["vector_config"][0]
    assert (vector.name, vector.vectorIndexConfig.distance.value) == ("e_01234567", "dot")
    assert (vector.vectorIndexConfig.efConstruction, vector.vectorIndexConfig.maxConnections) == (64, 16)


def test_an_address_needs_scheme_and_host_and_hides_its_key() -> None:
    address = VectorStoreAddress("https://weaviate.example", "http://weaviate.example:50051", "very-secret")
    assert "very-secret" not in repr(address)
    found = address.parameters()
    assert (found.http.port, found.http.secure, found.grpc.port, found.grpc.secure) == (443, True, 50051, False)
    with pytest.raises(VectorStoreError, match="is not an address"):
        VectorStoreAddress("weaviate:8080", "http://weaviate:50051").parameters()
    with pytest.raises(VectorStoreError, match="one host and port"):
        VectorStoreAddress("https://weaviate.example", "https://weaviate.example:443").parameters()
