"""Readers: every format gives located rows, and what is wrong is rejected by itself with its place."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.workload_runs import memory_file

from gradatim.api.dataset import DataFormat, SchemaKind
from gradatim.api.run import StoreConfig
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables import cache
from gradatim.workloads.tables.columns import noted_kinds
from gradatim.workloads.tables.frames import decode
from gradatim.workloads.tables.jsonl import read_jsonl
from gradatim.workloads.tables.reader import BlockSize, Reader
from gradatim.workloads.tables.schema import Mapper, Place, RawRow, Reject, conform


@dataclass(frozen=True)
class FileTable:
    """What a file gave, its blocks joined."""

    table: pa.Table
    rejects: tuple[Reject, ...]


def _read(kind: str, path: str, data: bytes, **columns: str) -> FileTable:
    return _read_with(Mapper(SchemaKind(kind), columns), memory_file(path, data))


def _read_with(mapper: Mapper, file: SourceFile, form: DataFormat = DataFormat.AUTO, rows: int = 20_000) -> FileTable:
    with TemporaryDirectory() as folder:
        store = ArtifactStore.open(StoreConfig(root=f"file://{folder}/"), SecretFolder(None))
        reader = Reader(mapper, store, "cache", form, BlockSize(rows=rows))
        try:
            stored = reader.read(file)
        except FileRejected as error:
            return FileTable(mapper.block([]), (Reject(Place(file.source, file.path), error.reason, str(error)),))
        found = reader.read(file)
        assert (found.cached, found.blocks, found.kinds) == (True, stored.blocks, stored.kinds)
        schema = mapper.schema([stored.kinds])
        data = store.read(stored.path)
        tables = [
            conform(decode(data[frame.offset : frame.offset + frame.length]), stored.kinds, schema)
            for frame in stored.blocks
        ]
        rejects = tuple(cache.rejects_of(store, stored))
        return FileTable(pa.concat_tables(tables) if tables else schema.empty_table(), rejects)


def _rejects(found: FileTable) -> list[tuple[str, int | None]]:
    return [(reject.reason, reject.place.row) for reject in found.rejects]


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def test_json_lines_of_every_sort_keep_their_line_number() -> None:
    lines = [
        b'\xef\xbb\xbf{"text": "one", "lang": "en"}',
        b"",
        b'{"text": "two"',
        b'{"text": "caf\xe9"}',
        b'{"text": 3}',
        b'["text"]',
        b'{"text": "six", "score": NaN}',
        b'{"text": "\\ud800"}',
        b'{"text": "last", "lang": "de"}',
    ]
    found = _read("text", "a.jsonl", b"\n".join(lines))
    assert _rejects(found) == [
        ("BadJson", 3), ("WrongEncoding", 4), ("WrongType", 5), ("BadJson", 6), ("BadJson", 7), ("WrongEncoding", 8),
    ]  # fmt: skip
    rows = found.table.to_pylist()
    assert [(row["text"], row["row"], row["metadata.lang"]) for row in rows] == [("one", 1, "en"), ("last", 9, "de")]


def test_a_line_beyond_the_limit_is_skipped_unread_and_the_rest_goes_on() -> None:
    data = b'{"text": "a"}\n' + b"x" * 5000 + b'\n{"text": "b"}\n'
    found = list(read_jsonl(memory_file("a.jsonl", data), max_line=100))
    assert [getattr(item, "reason", "row") for item in found] == ["row", "LineTooLong", "row"]
    assert isinstance(found[1], Reject)
    assert found[1].place.row == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            b'{"text": "a\tb"}', "is not JSON: Invalid control character at character 12 of the line", id="a tab"
        ),
        pytest.param(
            b'{"text": "two', "is not JSON: Unterminated string starting at character 10 of the line", id="no end"
        ),
        pytest.param(b'{"text": }', "is not JSON: Expecting value at character 10 of the line", id="no value"),
        pytest.param(b'{"text": NaN}', "is not JSON: NaN is not a JSON number", id="a constant"),
    ],
)
def test_a_line_that_is_not_json_says_where(line: bytes, message: str) -> None:
    (found,) = read_jsonl(memory_file("a.jsonl", line + b"\n"))
    assert isinstance(found, Reject)
    assert found.message == message


def test_deeply_nested_json_is_one_bad_line() -> None:
    found = _read("text", "a.jsonl", b'{"text": "a"}\n' + b"[" * 200_000 + b"\n")
    assert _rejects(found) == [("BadJson", 2)]


def test_a_json_file_may_hold_one_array() -> None:
    data = json.dumps([{"text": "a"}, 5, {"text": "b"}]).encode()
    found = _read("text", "a.json", data)
    assert (found.table.column("row").to_pylist(), _rejects(found)) == ([1, 3], [("BadJson", 2)])


def test_csv_rows_are_counted_by_record_and_bad_ones_rejected() -> None:
    data = b'frage;antwort\n"mehr\nzeilig";a\nzu;viele;felder\nb;c\n' + b"caf\xe9;x\n"
    found = _read("instruction", "a.csv", data, instruction="frage", output="antwort")
    rows = [(row["instruction"], row["output"], row["input"], row["row"]) for row in found.table.to_pylist()]
    assert rows == [("mehr\nzeilig", "a", "", 1), ("b", "c", "", 3)]
    assert _rejects(found) == [("BadCsv", 2), ("WrongEncoding", 4)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_csv_rows_end_at_line_ends_only(encoding: str) -> None:
    texts = ["a\u0085b", "a\u2028b", "a\x0bb", "a\x1cb"]
    found = _read("text", "a.csv", "\r\n".join(["text", *texts]).encode(encoding))
    assert (found.table.column("text").to_pylist(), _rejects(found)) == (texts, [])


def test_parquet_keeps_metadata_types_and_numbers_rows() -> None:
    data = _parquet([{"prompt": "p", "chosen": "c", "rejected": "r", "score": 1.5, "tags": ["a", "b"]}])
    (row,) = _read("preference", "a.parquet", data).table.to_pylist()
    assert (row["row"], row["metadata.score"], row["metadata.tags"]) == (1, 1.5, '["a", "b"]')


def test_parquet_decimals_are_numbers() -> None:
    rows = [
        {"text": "a", "price": Decimal("19.90"), "parts": [Decimal("0.50")]},
        {"text": "b", "price": Decimal("20.00")},
    ]
    found = _read("text", "a.parquet", _parquet(rows)).table
    assert found.column("metadata.price").to_pylist() == [19.9, 20.0]
    assert found.column("metadata.parts").to_pylist() == ["[0.5]", None]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}], None),
        ('[{"role": "user", "content": "hi"}]', None),
        ([{"role": "robot", "content": "hi"}], "BadRole"),
        ([{"role": "user"}], "BadMessages"),
        ([], "BadMessages"),
        ("hi", "BadMessages"),
        ([{"role": "assistant", "content": "x", "tool_calls": [1]}], "BadMessages"),
    ],
    ids=[
        "a conversation",
        "JSON text",
        "an unknown role",
        "no content",
        "no message",
        "plain text",
        "members that would be lost",
    ],
)
def test_messages_are_checked(messages: object, reason: str | None) -> None:
    found = _read("chat", "a.jsonl", json.dumps({"messages": messages}).encode())
    assert [reject.reason for reject in found.rejects] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("a.jsonl", b'{"body": "x", "title": "y"}\n'),
        ("a.csv", b"body,title\nx,y\n"),
        ("a.parquet", _parquet([{"body": "x", "title": "y"}])),
    ],
    ids=["json lines", "csv", "parquet"],
)
def test_a_missing_column_names_file_column_and_what_there_is(path: str, data: bytes) -> None:
    with pytest.raises(WorkloadError, match=rf"data:{path} has no column text; it has body, title; map it"):
        _read("text", path, data)
    assert _read("text", path, data, text="body").table.column("text").to_pylist() == ["x"]


def test_a_value_missing_in_some_rows_is_null_there() -> None:
    found = _read("text", "a.jsonl", b'{"text": "x"}\n{"other": 1}\n')
    assert found.table.column("text").to_pylist() == ["x", None]


def _zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 50_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.pdf", b"%PDF-1.7 broken", "Broken"),
        ("a.docx", b"PK\x03\x04 broken", "Broken"),
        ("a.docx", _zip_bomb(), "ZipBomb"),
        ("a.txt", b"", "Empty"),
        ("a.txt", bytes(range(32)) * 50, "Encoding"),
        ("a.parquet", b"PAR1 broken", "BadParquet"),
        ("a.bin", b"\x7fELF", "UnsupportedFormat"),
        ("a.csv", b"", "Empty"),
        ("a.csv", b"a,a\n1,2\n", "BadCsv"),
        ("a.json", b"[1, ", "BadJson"),
    ],
    ids=[
        "a broken pdf", "a broken docx", "a zip bomb", "an empty file", "a binary file", "broken parquet", "an unknown format",
        "an empty csv", "a column named twice", "a broken array",
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_rejected_with_its_reason(path: str, data: bytes, reason: str) -> None:
    found = _read("documents", path, data)
    assert (found.table.num_rows, [reject.reason for reject in found.rejects]) == (0, [reason])
    assert found.rejects[0].place.file == path


def test_a_file_beyond_the_document_limit_is_rejected() -> None:
    found = _read_with(Mapper(SchemaKind.DOCUMENTS), memory_file("a.txt", b"x" * 101, limit=100))
    assert [reject.reason for reject in found.rejects] == ["TooLarge"]


def test_running_text_becomes_a_document_with_facts() -> None:
    (row,) = _read("documents", "a/b.md", b"# Title\n\nSome text.\n").table.to_pylist()
    assert (row["file"], row["chars"], row["replacement_ratio"], row["parser"]) == (
        "a/b.md",
        len(row["text"]),
        0.0,
        "markdown/1",
    )
    assert len(row["id"]) == 64


def test_running_text_has_no_columns_for_other_kinds() -> None:
    assert _rejects(_read("chat", "a.md", b"# Title")) == [("UnsupportedFormat", None)]


def test_a_format_set_by_the_user_wins_over_the_name() -> None:
    file = memory_file("a.txt", b'{"text": "x"}')
    assert _read_with(Mapper(SchemaKind.TEXT), file, DataFormat.JSONL).table.num_rows == 1


def test_metadata_of_different_types_meets_as_text_or_float() -> None:
    mapper = Mapper(SchemaKind.TEXT)
    files = [
        [{"text": "a", "v": 1, "w": 1, "x": 1, "y": True}, {"text": "b", "v": 1, "w": 1, "x": 2.5}],
        [{"text": "c", "v": 2.5, "w": "x", "x": "z", "y": False}],
    ]
    blocks = [mapper.block([mapper.map(RawRow(Place("data", "f", 1), row), "p") for row in rows]) for rows in files]
    kinds = [{name: noted_kinds(block.schema.field(name)) or frozenset() for name in _METADATA} for block in blocks]
    schema = mapper.schema(kinds)
    joined = pa.concat_tables([conform(block, own, schema) for block, own in zip(blocks, kinds, strict=True)])
    assert {name: joined.column(name).to_pylist() for name in _METADATA} == {
        "metadata.v": [1.0, 1.0, 2.5],
        "metadata.w": ["1", "1", "x"],
        "metadata.x": ["1.0", "2.5", "z"],  # numbers of one file meet before the text of another
        "metadata.y": [True, None, False],
    }


_METADATA = ("metadata.v", "metadata.w", "metadata.x", "metadata.y")
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(2**63, 2**64),
    st.floats(-9, 9),
    st.text("ab1.", max_size=3),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(_VALUES, min_size=1, max_size=20), st.integers(1, 7))
def test_a_column_is_the_same_however_its_file_is_cut(values: list[object], rows: int) -> None:
    data = b"\n".join(json.dumps({"text": "x", "m": value}).encode() for value in values)
    mapper = Mapper(SchemaKind.TEXT)
    whole, cut = (_read_with(mapper, memory_file("a.jsonl", data), rows=size).table for size in (100, rows))
    assert cut.schema.equals(whole.schema)
    assert cut.to_pylist() == whole.to_pylist()


def test_a_file_that_was_cut_off_in_the_cache_counts_as_missing(tmp_path: Path) -> None:
    store = ArtifactStore.open(StoreConfig(root=f"file://{tmp_path}/"), SecretFolder(None))
    reader = Reader(Mapper(SchemaKind.TEXT), store, "cache")
    file = memory_file("a.jsonl", b'{"text": "one"}\n{')
    stored = reader.read(file)
    data = store.read(stored.path)
    for length in (len(data) - 1, len(data) // 2, 0):
        store.write(stored.path, data[:length])
        assert cache.load(store, stored.path) is None
    assert reader.read(file) == stored
    assert store.read(stored.path) == data
