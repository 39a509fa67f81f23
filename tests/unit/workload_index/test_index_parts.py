"""Pieces of the index workload by themselves: files to rows, documents to chunk rows, random reads, reasons, settings."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradatim.api.ragindex import MetadataField, MetadataType, RAGIndexSpec
from gradatim.api.run import IndexInputs, RunConfig, RunObject, StoreConfig, VectorStoreConfig
from gradatim.rag.chunk.chunker import ChunkedDocument
from gradatim.rag.model import Chunk, Document, document_id
from gradatim.rag.parse import TableForm
from gradatim.rag.store.rows import IndexRow, ParentSpan
from gradatim.workloads.executor import LocalExecutor
from gradatim.workloads.index.artifact import parquet_writer
from gradatim.workloads.index.cutting import CuttingTools, chunk_rows
from gradatim.workloads.index.files import FileContent, Read, read_file
from gradatim.workloads.index.judging import judge_documents, reason_counts
from gradatim.workloads.index.parsing import Parsed
from gradatim.workloads.index.reading import ParquetRows, VectorLibrary, vector_array, vectors_of
from gradatim.workloads.index.settings import IndexSettings, settings_of
from gradatim.workloads.index.tables import CHUNKS, Rejection, index_row, vectors_schema
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.parquetrows import KIND_KEY

KEY = b"k" * 32


class WordTokenizer:
    """Stands where only the tokenizer's digest is read."""

    digest = "words"
    additive = True

    def offsets(self, text: str) -> Any:
        raise AssertionError(text)

    def count(self, texts: Any) -> list[int]:
        raise AssertionError(texts)


def config(**changes: Any) -> RunConfig:
    spec = {
        "sources": [{"name": "docs", "source": {"path": "file:///docs"}}],
        "embedding": {"model": {"uri": "file:///m"}},
    }
    return RunConfig(
        workload="index",
        object=RunObject(kind="RAGIndex", namespace="n", name="x", uid="u"),
        run="r",
        attempt=1,
        index=RAGIndexSpec.model_validate(spec | changes),
        index_inputs=IndexInputs(collection_prefix="G0123456789_"),
        store=StoreConfig(root="file:///store/"),
        vector_store=VectorStoreConfig(endpoint="http://w:1", grpc_endpoint="http://w:2"),
    )


def settings(**changes: Any) -> IndexSettings:
    return settings_of(config(**changes))[1]


TENANTS = {"schema": {"metadata": [{"name": "customer"}]}, "tenancy": {"enabled": True, "field": "customer"}}


def test_a_file_becomes_rows_with_their_key() -> None:
    read = read_file(FileContent("docs", "a.txt", KEY, b"Hello.", (("team", "x"),)), settings())
    assert [(row["source"], row["path"], row["text"], row["file"]) for row in read.rows] == [
        ("docs", "a.txt", "Hello.", KEY)
    ]
    assert '"team":"x"' in read.rows[0]["metadata"]
    assert read.rejections == ()


@pytest.mark.parametrize(
    ("path", "data", "spec", "reason"),
    [
        pytest.param("a.txt", b" \n", {}, "Empty", id="white space only"),
        pytest.param("a.exe", b"MZ", {}, "Unsupported", id="an unknown kind"),
        pytest.param("a.parquet", b"PAR1", {}, "Broken", id="a torn Parquet file"),
        pytest.param("a.txt", b"text", TENANTS, "MissingTenant", id="no tenant"),
        pytest.param(
            "a.md", b"---\ncustomer: no good\n---\ntext", TENANTS, "TenantName", id="a tenant that cannot be one"
        ),
        pytest.param(
            "a.md", b'---\ncustomer: "acme\\n"\n---\ntext', TENANTS, "TenantName", id="a tenant with a final line end"
        ),
        pytest.param(
            "a.md",
            b"---\nlevel: high\n---\ntext",
            {"schema": {"metadata": [{"name": "level", "type": "int"}]}},
            "WrongType",
            id="a wrong type",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_a_rejection(path: str, data: bytes, spec: dict[str, Any], reason: str) -> None:
    read = read_file(FileContent("docs", path, KEY, data), settings(**spec))
    assert read.rows == ()
    assert [(item.reason, item.path, item.stage) for item in read.rejections] == [(reason, path, "parse")]


def test_a_source_decides_the_tenant_of_its_files() -> None:
    read = read_file(
        FileContent("docs", "a.md", KEY, b"---\ncustomer: rival\n---\ntext", (("customer", "acme"),)),
        settings(**TENANTS),
    )
    assert [row["metadata"] for row in read.rows] == ['{"customer":"acme"}']


def test_declared_columns_of_a_table_become_metadata() -> None:
    spec = {"schema": {"metadata": [{"name": "level", "type": "int"}]}}
    read = read_file(FileContent("docs", "t.csv", KEY, b"note,level\nfirst,1\nsecond,x\n"), settings(**spec))
    assert [(row["row"], row["text"], row["metadata"]) for row in read.rows] == [(1, "first", '{"level":"1"}')]
    assert [(item.row, item.reason) for item in read.rejections] == [(2, "WrongType")]


OF_A_DATASET = {KIND_KEY: b"text"}


def parquet(rows: list[dict[str, Any]] | pa.Table, metadata: dict[bytes, bytes] | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
    pq.write_table(table.replace_schema_metadata(metadata), sink, **options)
    return sink.getvalue()


def read_parquet(data: bytes, **spec: Any) -> Read:
    return read_file(FileContent("docs", "train.parquet", KEY, data), settings(**spec))


def test_rows_of_a_dataset_keep_the_place_that_they_were_found_at() -> None:
    rows = [
        {"text": "one", "source": "wiki", "file": "a.csv", "row": 7, "metadata.team": "x", "chars": 3},
        {"text": "", "source": "wiki", "file": "a.csv", "row": 8, "metadata.team": "y", "chars": 0},
    ]
    read = read_parquet(parquet(rows, OF_A_DATASET))
    found = read.rows[0]
    assert (found["path"], found["row"], found["metadata"]) == ("wiki/a.csv", 7, '{"team":"x"}')
    assert found["id"] == document_id("docs", "wiki/a.csv", 7)
    assert [(item.row, item.reason) for item in read.rejections] == [(2, "Empty")]


@pytest.mark.parametrize("row", [{}, {"row": "second"}], ids=["no row", "a row that is no number"])
@pytest.mark.parametrize("metadata", [None, OF_A_DATASET], ids=["anybody's", "said to be a Dataset's"])
def test_rows_that_no_dataset_placed_are_named_by_their_file(
    row: dict[str, Any], metadata: dict[bytes, bytes] | None
) -> None:
    data = parquet([{"text": "same", "source": "wiki", "file": "a.csv", **row} for _ in range(3)], metadata)
    found = read_parquet(data).rows
    assert len({item["id"] for item in found}) == 3
    assert [(item["path"], item["row"]) for item in found][1:] == [("train.parquet", 2), ("train.parquet", 3)]


def test_columns_of_every_plain_type_become_metadata() -> None:
    row = {
        "text": "x", "published": date(2024, 1, 2), "seen": datetime(2024, 1, 2, 3, tzinfo=UTC), "price": Decimal("1.50"),
        "tags": ["a", "b"], "source": "wiki", "level": 3, "raw": b"no", "none": [], "vector": [0.5] * 8, "year": Decimal("2020.00"),
        "took": timedelta(hours=1), "object": {"a": 1}, "nothing": math.nan,
    }  # fmt: skip
    fields = {"published": "date", "price": "number", "tags": "text", "none": "text", "year": "int"}
    spec = {"schema": {"metadata": [{"name": name, "type": kind} for name, kind in fields.items()]}}
    metadata = json.loads(read_parquet(parquet([row]), **spec).rows[0]["metadata"])
    assert metadata == {
        "published": "2024-01-02", "seen": "2024-01-02T03:00:00+00:00", "price": 1.5, "tags": ["a", "b"],
        "source": "wiki", "level": 3, "year": 2020, "took": "1:00:00",
    }  # fmt: skip


WHOLE = parquet([{"text": "caf\u00e9"}, {"text": "b"}], use_dictionary=False, compression="none")
FAR_OFF = pa.table({"text": ["x"], "day": pa.array([10**7], pa.int32()).cast(pa.date32())})
REPEATED = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 80, pa.int32()), pa.array(["x" * 10**6]))})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(WHOLE[:-8] + b"\xff" * 4 + WHOLE[-4:], "Broken", id="a footer of another length"),
        pytest.param(WHOLE[:4] + b"\xff" * 12 + WHOLE[16:], "Broken", id="a page that cannot be read"),
        pytest.param(WHOLE.replace("\u00e9".encode(), b"\xe9\xe9"), "Broken", id="text that is not UTF-8"),
        pytest.param(parquet(FAR_OFF), "Broken", id="a day after the year 9999"),
        pytest.param(parquet(REPEATED, store_schema=False), "ZipBomb", id="one text eighty times"),
    ],
)
def test_a_damaged_or_hostile_parquet_file_is_a_rejection(data: bytes, reason: str) -> None:
    read = read_parquet(data)
    assert read.rows == ()
    assert [(item.reason, item.path, item.file) for item in read.rejections] == [(reason, "train.parquet", KEY)]


def test_chunks_become_rows_and_the_first_of_a_parent_carries_it() -> None:
    spec = {"schema": {"metadata": [{"name": "published", "type": "date"}]}}
    document = Document("d", "docs", "a.md", "abcdefgh", {"published": "2024-01-02"}, row=3)

    def chunk(name: str, start: int, end: int, parent: str | None) -> Chunk:
        return Chunk(name, "d", start // 2, start, end, document.text[start:end], 1, parent, ("H",), 2)

    cut = ChunkedDocument((chunk("c1", 0, 2, "p"), chunk("c2", 2, 4, "p")), (chunk("p", 0, 4, None),))
    rows = chunk_rows(document, cut, settings(**spec), CuttingTools(WordTokenizer(), "sha256:e"))
    table = pa.Table.from_pylist(rows, schema=CHUNKS)
    found = [index_row(row, frozenset({"published"})) for row in table.to_pylist()]
    assert [(row.id, row.parent) for row in found] == [
        ("c1", ParentSpan("p", "c1", 0, 4, "abcd")),
        ("c2", ParentSpan("p", "c1", 0, 4, None)),
    ]
    assert isinstance(found[0], IndexRow)
    assert (found[0].row, found[0].page, found[0].headings, str(found[0].metadata["published"])) == (
        3, 2, ("H",), "2024-01-02 00:00:00+00:00",
    )  # fmt: skip
    assert len({row["key"] for row in rows}) == 2


def store_of(folder: Path) -> ArtifactStore:
    return ArtifactStore.open(StoreConfig(root=f"file://{folder}/"), SecretFolder(None))


def test_rows_are_taken_in_any_order_across_row_groups(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    with parquet_writer(store, "x/rows.parquet", pa.schema([("n", pa.int64())])) as write:
        for start in range(0, 10_000, 2500):
            write(pa.table({"n": list(range(start, start + 2500))}))
    rows = ParquetRows(store, "x/rows.parquet")
    assert rows.rows == 10_000
    assert rows.take([9999, 0, 5000, 5000, 2499], ["n"]).column(0).to_pylist() == [9999, 0, 5000, 5000, 2499]
    assert rows.take([], ["n"]).num_rows == 0


def test_vectors_are_found_by_key_in_the_first_file_that_has_them(tmp_path: Path) -> None:
    store, library = store_of(tmp_path), VectorLibrary()
    for name, keys, base in (("a", ["1", "2"], 0.0), ("b", ["2", "3"], 10.0)):
        vectors = (np.arange(4, dtype=np.float32) + base).reshape(2, 2)
        table = pa.Table.from_arrays(
            [pa.array([key.encode() * 32 for key in keys], pa.binary(32)), vector_array(vectors)],
            schema=vectors_schema(2),
        )
        with parquet_writer(store, f"{name}.parquet", table.schema) as write:
            write(table)
        library.add(ParquetRows(store, f"{name}.parquet"))
    taken = library.take([b"3" * 32, b"2" * 32, b"1" * 32], 2)
    assert taken.tolist() == [[12.0, 13.0], [2.0, 3.0], [0.0, 1.0]]
    assert b"9" * 32 not in library
    assert vectors_of(vector_array(taken)).tolist() == taken.tolist()


def test_reasons_are_counted_with_places_and_the_rarest_are_joined() -> None:
    many = [Rejection("s", f"{n}.md", "parse", f"R{n:02}", "m", row=n) for n in range(25)]
    counts = reason_counts([*many, *many[:1] * 6])
    assert (counts[0].name, counts[0].count, len(counts[0].examples)) == ("R00", 7, 5)
    assert (len(counts), counts[-1].name, counts[-1].count) == (20, "Other", 6)
    assert counts[0].examples[0] == "s:0.md row 0"


def test_documents_that_could_not_be_read_count_among_those_that_were_given() -> None:
    build: Any = SimpleNamespace(
        spec=RAGIndexSpec.model_validate(
            {
                "sources": [{"name": "a", "source": {"path": "file:///d"}}],
                "embedding": {"model": {"uri": "package://m"}},
                "validation": {"onFailure": "quarantine", "maxRejectedFraction": 0.5},
            }
        ),
        ctx=SimpleNamespace(config=SimpleNamespace(suite=None)),
    )
    broken = tuple(Rejection("a", f"{n}.pdf", "parse", "Damaged", "is damaged") for n in range(2))
    found = judge_documents(build, Parsed((), 3, broken)).summary
    assert (found.rejected, found.rows) == (2, 5)


def test_settings_carry_what_workers_need() -> None:
    found = settings(**TENANTS, parsing={"maxPages": 7, "tables": "text"})
    assert found.parse.tables is TableForm.TEXT
    assert settings().parse.tables is TableForm.MARKDOWN
    assert (found.parse.max_pages, found.parse.metadata_columns, found.tenant_field) == (7, ("customer",), "customer")
    assert found.dates == frozenset()
    assert found.tenant_problem("acme") is None
    assert IndexSettings(
        found.parse, found.chunk, found.embedding, (MetadataField(name="d", type=MetadataType.DATE),), None
    ).dates == {"d"}


def test_a_local_executor_calls_in_order_and_only_when_asked() -> None:
    taken: list[int] = []

    class Doubler:
        def double(self, number: int) -> int:
            return number * 2

    def numbers() -> Any:
        for number in range(3):
            taken.append(number)
            yield number

    results = LocalExecutor(Doubler()).map("double", numbers())
    assert (next(results), taken) == (0, [0])
    assert list(results) == [2, 4]
