"""Checkpoints of an object: found by its next Run, trusted only where they are whole and of the same make, gone once a Run is done."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.workload_runs import DatasetRun, memory_file

from gradatim.api.run import ProgressDocument, Stamp
from gradatim.api.runstatus import Progress
from gradatim.rag.model import Document
from gradatim.workloads.context import timestamp
from gradatim.workloads.executor import LocalExecutor
from gradatim.workloads.index.build import Build, Digests
from gradatim.workloads.index.checkpoints import checkpoint_path, drop_checkpoints, vector_files
from gradatim.workloads.index.chunking import chunk_documents
from gradatim.workloads.index.files import FileContent, Read
from gradatim.workloads.index.identity import FileIdentity
from gradatim.workloads.index.parsing import parse_files
from gradatim.workloads.index.previous import Previous
from gradatim.workloads.index.reading import vector_array
from gradatim.workloads.index.resolve import ListedFile
from gradatim.workloads.index.tables import CHUNKS, DOCUMENTS, document_row, vectors_schema
from gradatim.workloads.store import ArtifactStore

FILES = [ListedFile(memory_file("a.md", b"Hello."), FileIdentity("docs", "a.md", "v1"))]


class Worker:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def read(self, file: FileContent) -> Read:
        self.done.append(f"read {file.path}")
        return Read((document_row(Document("d", file.source, file.path, file.data.decode()), file.key),))

    def cut(self, rows: list[dict[str, Any]]) -> pa.Table:
        self.done.append(f"cut {rows[0]['path']}")
        row = {"id": "c", "document": rows[0]["id"], "key": b"k" * 32, "text": rows[0]["text"], "tokens": 1}
        return pa.Table.from_pylist([row], schema=CHUNKS)


def build_of(run: DatasetRun, worker: Worker, encoder: str = "e", previous: Previous | None = None) -> Build:
    models: Any = SimpleNamespace(digest=encoder)
    rest: Any = None
    digests = Digests("parse", "chunk", "resolved")
    return Build(run.context(), rest, rest, models, digests, previous or Previous(), None, LocalExecutor(worker))


def cut(build: Build) -> list[str]:
    parsed = parse_files(build, FILES, ())
    judgement: Any = SimpleNamespace(rejected=frozenset(), summary=None)
    return chunk_documents(build, parsed.parts, judgement).parts


def test_another_run_of_the_object_goes_on_where_the_one_before_it_was_stopped(tmp_path: Path) -> None:
    run, worker = DatasetRun(tmp_path, {}), Worker()
    parts = cut(build_of(run, worker))
    assert (worker.done, parts) == (["read a.md", "cut a.md"], cut(build_of(run.but(run="d-r2"), worker)))
    assert worker.done == ["read a.md", "cut a.md"]


def test_chunks_of_another_encoder_are_cut_again_because_they_carry_the_keys_of_its_vectors(tmp_path: Path) -> None:
    run, worker = DatasetRun(tmp_path, {}), Worker()
    cut(build_of(run, worker))
    cut(build_of(run.but(run="d-r2"), worker, encoder="another"))
    assert worker.done == ["read a.md", "cut a.md", "cut a.md"]


class Lender(Previous):
    """A version that has the file, and chunks of its document from another time."""

    def has_file(self, key: bytes) -> bool:
        return True

    def documents_of(self, keys: Any) -> pa.Table:
        row = document_row(Document("d", "docs", "a.md", "Carried."), keys[0])
        return pa.Table.from_pylist([row | {"carried": True}], schema=DOCUMENTS)

    @property
    def digest(self) -> str:
        return "sha256:" + "1" * 64


def test_documents_that_a_version_lent_are_not_taken_for_those_of_another(tmp_path: Path) -> None:
    run, worker = DatasetRun(tmp_path, {}), Worker()
    lent = cut(build_of(run, worker, previous=Lender()))
    assert worker.done == ["cut a.md"]
    assert cut(build_of(run.but(run="d-r2"), worker)) != lent
    assert worker.done == ["cut a.md", "read a.md", "cut a.md"]


@pytest.mark.parametrize("torn", [b"", b"PAR1 and no more"], ids=["an empty file", "the beginning of one"])
@pytest.mark.parametrize("kind", ["documents-", "rejected-", "chunks-"])
def test_a_file_that_was_not_written_to_its_end_is_made_again(tmp_path: Path, kind: str, torn: bytes) -> None:
    run, worker = DatasetRun(tmp_path, {}), Worker()
    parts = cut(build_of(run, worker))
    for path in run.store.list(checkpoint_path(run.context())):
        if path.rpartition("/")[2].startswith(kind):
            run.store.write(path, torn)
    assert cut(build_of(run.but(run="d-r2"), worker)) == parts
    assert worker.done[2:] == (["cut a.md"] if kind == "chunks-" else ["read a.md"])
    assert [pq.read_table(run.store.open_input(path)).num_rows for path in parts] == [1]


def damaged_inside(data: bytes, where: str) -> bytes:
    """Return a Parquet file of which the beginning and the end are as they were."""
    start = 4 if where == "pages" else len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:start] + b"\xff" * 24 + data[start + 24 :]


@pytest.mark.parametrize("where", ["pages", "footer"])
@pytest.mark.parametrize("kind", ["documents-", "rejected-", "chunks-"])
def test_a_file_that_was_damaged_later_is_made_again(tmp_path: Path, kind: str, where: str) -> None:
    run, worker = DatasetRun(tmp_path, {}), Worker()
    parts = cut(build_of(run, worker))
    damaged = [p for p in run.store.list(checkpoint_path(run.context())) if p.rpartition("/")[2].startswith(kind)]
    for path in damaged:
        table = pq.read_table(run.store.open_input(path))
        if not len(table):  # without a row there is no page
            table = pa.Table.from_pylist([dict.fromkeys(table.column_names)], schema=table.schema)
            build_of(run, worker).write_table(path, table)
        run.store.write(path, damaged_inside(run.store.read(path), where))
        with pytest.raises((OSError, pa.ArrowException)):
            pq.read_table(run.store.open_input(path))
    assert cut(build_of(run.but(run="d-r2"), worker)) == parts
    assert worker.done[2:] == (["cut a.md"] if kind == "chunks-" else ["read a.md"])
    for path in damaged:
        pq.read_table(run.store.open_input(path))


def test_a_store_that_fails_does_not_look_like_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, worker = DatasetRun(tmp_path, {}), Worker()
    cut(build_of(run, worker))

    def fails(*_: object) -> bytes:
        raise OSError("When reading information for key: Network is unreachable")

    monkeypatch.setattr(ArtifactStore, "read", fails)
    with pytest.raises(OSError, match="Network"):
        cut(build_of(run.but(run="d-r2"), worker))
    assert len(worker.done) == 2


def test_vectors_are_found_whatever_their_files_are_called_and_torn_ones_are_none(tmp_path: Path) -> None:
    run = DatasetRun(tmp_path, {})
    build = build_of(run, Worker())
    columns = [pa.array([b"k" * 32], pa.binary(32)), vector_array(pa.array([1.0, 2.0]).to_numpy().reshape(1, 2))]
    build.write_table(build.checkpoint("vectors-1.parquet"), pa.Table.from_arrays(columns, schema=vectors_schema(2)))
    run.store.write(build.checkpoint("vectors-2.parquet"), b"")
    whole = run.store.read(build.checkpoint("vectors-1.parquet"))
    for number, where in ((3, "pages"), (4, "footer")):
        run.store.write(build.checkpoint(f"vectors-{number}.parquet"), damaged_inside(whole, where))
    found = list(vector_files(run.but(run="d-r2").context()))
    assert [rows.column("key").to_pylist() for rows in found] == [[b"k" * 32]]


@pytest.mark.parametrize("other", ["nobody", "a later attempt", "a Run that replaces it"])
def test_checkpoints_go_unless_another_process_continues_from_them(tmp_path: Path, other: str) -> None:
    run = DatasetRun(tmp_path, {})
    path = checkpoint_path(run.context(), "chunks-1.parquet")
    run.store.write(path, b"rows")
    if other == "a later attempt":
        later = run.but(number=2).config
        document = ProgressDocument(stamp=Stamp.of(later), heartbeat=timestamp(), progress=Progress(stage="Load"))
        run.store.write(f"{later.attempt_path}/progress.json", document.model_dump_json(by_alias=True).encode())
    elif other != "nobody":  # what the operator leaves where it cannot tell whether a process has ended
        request = b'{"run": "d-r1", "requested": "2026-01-01T00:00:00Z", "reason": "another Run has taken its place"}'
        run.store.write("_control/d-r1/stop.json", request)
    drop_checkpoints(run.context())
    assert run.store.exists(path) is (other != "nobody")
    drop_checkpoints(run.but(run="d-r2").context())
    assert not run.store.exists(path)
