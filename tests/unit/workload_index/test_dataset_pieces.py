"""A Dataset as the source of an index: read in pieces whatever its size, with every row or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.workload_runs import DatasetRun
from tests.unit.workload_index.test_index_parts import settings

from gradatim.api.common import NamedSource
from gradatim.api.reasons import Reason
from gradatim.api.run import ResolvedDataset
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.executor import LocalExecutor
from gradatim.workloads.index.build import Build, Digests
from gradatim.workloads.index.files import FileContent, Read, read_file
from gradatim.workloads.index.parsing import Parsed, file_parts, parse_files
from gradatim.workloads.index.previous import Previous
from gradatim.workloads.index.resolve import ListedFile, resolve_sources
from gradatim.workloads.sources import Sources
from gradatim.workloads.tables import artifact, parquetrows

ROWS = [{"text": f"Row {number} of the table." if number != 5 else " ", "team": "x"} for number in range(10)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetRun:
    """Return a Run over a Dataset whose rows lie in groups of four, under a profile whose documents have ten bytes at most."""
    monkeypatch.setattr(artifact, "ROW_GROUP", 4)
    made = DatasetRun(tmp_path, {"schemaKind": "text"}).with_files({"rows.jsonl": ROWS}).execute()
    assert made.dataset is not None
    found = ResolvedDataset(name="table", digest=made.dataset.digest, uri=made.dataset.uri)
    limits = {"maxDocumentBytes": 10}
    return DatasetRun(tmp_path, {}, run="x-r1", limits=limits, datasets=[found])


def file_of(run: DatasetRun) -> Path:
    (found,) = run.store_root.rglob("all.parquet")
    return found


def pieces(run: DatasetRun) -> list[ListedFile]:
    """List the Dataset as an index does."""
    named = NamedSource.model_validate({"name": "papers", "source": {"datasetRef": {"name": "table"}}})
    with Sources(ctx := run.context()) as sources:
        resolved = resolve_sources(ctx, [named], sources)
    assert resolved.rejections == ()
    return [piece for file in resolved.files for piece in file.pieces()]


class Reader:
    """Reads files as a worker does."""

    def read(self, file: FileContent) -> Read:
        return read_file(file, settings())


def parsed(run: DatasetRun) -> tuple[Build, Parsed]:
    rest: Any = None
    digests = Digests("parse", "chunk", "resolved")
    build = Build(run.context(), rest, rest, rest, digests, Previous(), None, LocalExecutor(Reader()))
    return build, parse_files(build, pieces(run), ())


def rows_of(build: Build, parts: tuple[str, ...]) -> Iterator[tuple[str, int, str]]:
    for part in parts:
        for row in pq.read_table(build.ctx.store.open_input(part)).to_pylist():
            yield row["path"], row["row"], row["text"]


def test_a_dataset_beyond_the_limit_of_documents_gives_every_row_with_its_place(run: DatasetRun) -> None:
    build, found = parsed(run)
    assert list(rows_of(build, found.parts)) == [
        ("data/rows.jsonl", number + 1, row["text"]) for number, row in enumerate(ROWS) if number != 5
    ]
    assert [(item.path, item.row, item.reason) for item in found.rejections] == [("all.parquet", 6, "Empty")]


def test_every_piece_is_a_part_of_its_own_and_named_by_its_rows(run: DatasetRun) -> None:
    found = pieces(run)
    names = [file.identity.content.rpartition("#")[2] for file in found]
    assert names == ["1-4", "5-8", "9-10"]
    assert [len(part.files) for part in file_parts(found, "parse")] == [1, 1, 1]


def damage(data: bytes) -> bytes:
    """Overwrite the middle, where a page is."""
    return data[:40] + b"\xff" * 40 + data[80:]


def without_text(data: bytes) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"title": ["a"], "prompt": ["b"]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda data: data[:-8], "papers:all.parquet of * bytes cannot be read: * rerun the Dataset", id="cut off"),
        pytest.param(damage, "papers:all.parquet of * bytes cannot be read: * rerun the Dataset", id="a broken page"),
        pytest.param(without_text, "papers:all.parquet has no column text or content to index; it has title, prompt", id="no text"),
    ],
)  # fmt: skip
def test_a_dataset_that_cannot_be_read_whole_ends_the_run(run: DatasetRun, change: Any, says: str) -> None:
    file = file_of(run)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(WorkloadError) as caught:
        parsed(run)
    assert (caught.value.failure, caught.value.reason) == (Failure.DATA, Reason.DATA_INVALID)
    at = 0
    for piece in says.split("*"):
        at = caught.value.message.index(piece, at)


def test_a_text_that_repeats_often_in_a_dataset_is_no_zip_bomb(
    run: DatasetRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquetrows, "SMALL_BYTES", 1000)
    table = pa.table({"text": ["word " * 1000] * 800})
    file = file_of(run)
    pq.write_table(table.replace_schema_metadata(pq.read_schema(file).metadata), file, compression="zstd")
    _, found = parsed(run)
    assert (found.documents, found.rejections) == (800, ())
