"""Damaged and hostile tables end in rejects that name their place, never in another exception or the end of the process."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

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
from gradatim.workloads.sources import FileRejected
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.formats import format_of
from gradatim.workloads.tables.reader import Reader
from gradatim.workloads.tables.schema import Mapper, Reject


def _parquet(**columns: Sequence[object]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), out)
    return out.getvalue()


PARQUET = _parquet(text=["a", "b", None], n=[1, 2, 3], marks=[[1], [2, 3], None])


def _outcome(path: str, data: bytes, kind: SchemaKind = SchemaKind.TEXT) -> tuple[str, ...]:
    """Return the reason why the file is refused, or those of its rows; whatever is read must be writable."""
    file = memory_file(path, data)
    reader = Reader(Mapper(kind), ArtifactStore.open(StoreConfig(root="file:///nowhere/"), SecretFolder(None)), "cache")
    try:
        items = list(reader.parse(file, format_of(file, DataFormat.AUTO)))
    except FileRejected as error:
        return (error.reason,)
    except WorkloadError as error:
        return (error.reason.value,)
    rejects = tuple(item.reason for item in items if isinstance(item, Reject))
    for item in items:
        json.dumps(item.message if isinstance(item, Reject) else item.to_pylist(), default=str)
    return rejects


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.csv", b"text,b\r1,2\r", "BadCsv"),
        ("a.csv", b"text,caf\xe9\n1,2\n", "WrongEncoding"),
        ("a.csv", b"\xff\xfet", "WrongEncoding"),
        ("a.jsonl", b'{"text": "a", "half \\ud800": 1}', "WrongEncoding"),
        ("a.jsonl", b'{"text": "a", "metadata": {"half \\ud800": 1}}', "WrongEncoding"),
        ("a.parquet", PARQUET.replace(b"\x18\x01n", b"\x18\x01\xc9"), "WrongEncoding"),
        # Levels that do not fit the schema: pyarrow ends the process when asked for such a column's metadata.
        ("a.parquet", PARQUET.replace(b"5\x02\x18\x05marks", b"5\x00\x18\x05marks"), "BadParquet"),
    ],
)
def test_what_contradicts_itself_is_refused(path: str, data: bytes, reason: str) -> None:
    assert data != PARQUET
    assert _outcome(path, data) == (reason,)


SEEDS = {
    "a.csv": b'text,b\n1,2\n"x""y",3\n',
    "b.csv": "text;bü\n1;2\n".encode("utf-16"),
    "a.tsv": b"\xef\xbb\xbftext\tb\n1\t2\n",
    "a.jsonl": b'{"text":"a","n":1.5}\n{"text":"b","x":{"y":[1,null]}}\n',
    "a.json": b'[{"text":"a"},{"text":"b\\ud83d"}]',
    "a.parquet": PARQUET,
    "a.md": b"---\ntitle: x\n---\n# A\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    "a.html": b"<html><body><h1>A</h1><table><tr><td>x<td>y</table><ul><li>a</ul></body></html>",
}
TOKENS = (
    b"\x00",
    b"\r",
    b'"',
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"[",
    b"<?",
    b"<!--",
    b"9" * 400,
)


@pytest.mark.timeout(30)  # hundreds of files, not one
@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(SEEDS)),
    kind=st.sampled_from([SchemaKind.TEXT, SchemaKind.DOCUMENTS]),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 20), st.binary(max_size=8) | st.sampled_from(TOKENS)),
        min_size=1,
        max_size=6,
    ),
)
def test_damaged_tables_raise_nothing_but_rejects(
    name: str, kind: SchemaKind, edits: list[tuple[float, int, bytes]]
) -> None:
    data = bytearray(SEEDS[name])
    for place, length, content in edits:
        at = int(place * len(data))
        data[at : at + length] = content
    _outcome(name, bytes(data), kind)
