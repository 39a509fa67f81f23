"""Addresses and files that attack the workload: the whole attempt ends with a reason, in bounded memory, and nothing was asked or unpacked.

The API server's part is in `test_hostile_manifests`; what it lets through by shape (a number as a host, a name that resolves inwards) ends here.

Tested elsewhere: archives, entities, nesting and lying directories of every parser (`unit/rag/test_parse_hostile`), redirects, sizes, slow
servers and rebinding (`workloads/test_http_source`), links and climbs in repositories (`workloads/test_git_source`), private S3 endpoints
(`workloads/test_s3_sources`), address ranges and claims (`unit/workloads/test_source_rules`), Secrets (`unit/workloads/test_workload_secrets`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.workload_runs import DatasetRun

INSIDE = [
    "169.254.169.254", "127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "localhost", "[::1]", "[::]",
    "[::ffff:169.254.169.254]", "[::ffff:7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[fd00:ec2::254]", "[fe80::1]",
]  # fmt: skip
MEMBERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "http": lambda host: {"http": {"urls": [f"http://{host}/latest/meta-data/"]}},
    "git over https": lambda host: {"git": {"url": f"https://{host}/a.git"}},
    "git over ssh": lambda host: {"git": {"url": f"ssh://{host}/a.git"}},
    "git's own": lambda host: {"git": {"url": f"git://{host}/a.git"}},
    "s3": lambda host: {"s3": {"uri": "s3://bucket/a", "endpoint": f"http://{host}:9000"}},
}


@pytest.fixture
def run(tmp_path: Path) -> DatasetRun:
    """A Dataset of documents under the limits of a profile that says nothing about networks."""
    return DatasetRun(tmp_path, {"schemaKind": "documents"})


@pytest.mark.parametrize("member", MEMBERS)
def test_no_source_reaches_the_cluster_s_own_network(run: DatasetRun, member: str) -> None:
    for number, host in enumerate(INSIDE):
        found = run.but(run=f"d-r{number}").with_spec(source=MEMBERS[member](host)).execute()
        assert (found.outcome, found.reason) == ("Failed", "SourceNotAllowed"), (host, found.message)
        assert "private address" in found.message, host


def zipped(**members: bytes) -> bytes:
    """Return a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def parquet(rows: int, **options: Any) -> bytes:
    """Return rows of one long text that compresses to almost nothing."""
    out = io.BytesIO()
    text = pa.array(["x" * 1_000_000] * rows)
    pq.write_table(pa.table({"text": text}), out, compression="zstd", **options)
    return out.getvalue()


def wide(columns: int) -> bytes:
    """Return a Parquet file with very many columns."""
    out = io.BytesIO()
    pq.write_table(pa.table({f"c{n}": [1] for n in range(columns)}), out)
    return out.getvalue()


BOMB = b"0" * 60_000_000
NESTED = b'{"text": ' + b"[" * 500_000 + b"]" * 500_000 + b"}\n"
FILES: list[tuple[str, str, bytes, str]] = [
    ("a docx that unpacks a thousandfold", "a.docx", zipped(**{"word/document.xml": BOMB}), "ZipBomb"),
    ("a sheet, which is no known format", "a.xlsx", zipped(**{"xl/workbook.xml": BOMB}), "ZipBomb"),
    ("json lines packed with gzip", "a.jsonl.gz", gzip.compress(BOMB), "UnsupportedFormat"),
    ("a csv that is gzip", "a.csv", gzip.compress(BOMB, mtime=0), "WrongEncoding"),
    ("a csv that is gzip and has a carriage return", "a.csv", gzip.compress(BOMB, mtime=0x0D), "WrongEncoding"),
    ("json lines that are gzip", "a.jsonl", gzip.compress(BOMB), "WrongEncoding"),
    ("text that is bzip2", "a.txt", bz2.compress(BOMB), "Encoding"),
    ("parquet that unpacks a thousandfold", "a.parquet", parquet(150, use_dictionary=False), "ZipBomb"),
    ("parquet whose dictionary does", "a.parquet", parquet(2000), "ZipBomb"),
    ("parquet cut short", "a.parquet", parquet(2)[:-20], "BadParquet"),
    ("an array without end", "a.json", b"[" * 1_000_000, "BadJson"),
    ("a row nested without end", "a.jsonl", NESTED, "BadJson"),
    ("a number of a million digits", "a.jsonl", b'{"text": ' + b"9" * 1_000_000 + b"}\n", "BadJson"),
    ("a null character in a header", "a.csv", b"te\0xt,b\n1,2\n", "no column text"),
    ("a csv that is half a character of UTF-16", "a.csv", b"\xff\xfet", "WrongEncoding"),
    ("a csv whose lines end with carriage returns", "a.csv", b"text,b\r1,2\r3,4\r", "end lines with a line feed"),
    ("a csv of a million columns", "a.csv", b",".join(b"c%d" % n for n in range(200_000)) + b"\n1,2\n", "BadCsv"),
]  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "data", "reason"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_hostile_file_ends_the_attempt_with_a_reason(run: DatasetRun, name: str, data: bytes, reason: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = run.with_files({name: data}).execute()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    assert (found.outcome, found.failure) == ("Failed", "Data"), found.message
    assert reason in found.message
    assert grown < 600  # MiB


def test_a_hostile_file_among_good_ones_is_counted_and_the_rest_goes_on(run: DatasetRun) -> None:
    good = {f"{n}.md": f"# Title {n}\n\nSome text." for n in range(40)}
    found = run.with_files(good | {"bomb.docx": zipped(**{"word/document.xml": BOMB})})
    result = found.with_spec(validation={"onFailure": "quarantine"}).execute()
    assert (result.outcome, [r.name for r in result.rejections]) == ("Succeeded", ["ZipBomb"])
