"""What recognition of text changes in an index build, and that it changes nothing where it is off."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.reasons import Reason
from gradatim.api.run import IndexInputs, RunConfig, RunObject, StoreConfig, VectorStoreConfig
from gradatim.api.runstatus import Failure
from gradatim.rag.model import Document, RecognisedPage
from gradatim.rag.ocr import PageText, Pixels, engine
from gradatim.rag.parse import ParseOptions
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.executor import Place
from gradatim.workloads.index.artifact import parquet_writer
from gradatim.workloads.index.identity import FileIdentity, parse_digest, resolved_digest
from gradatim.workloads.index.judging import recognition_facts
from gradatim.workloads.index.previous import Previous
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.index.settings import settings_of
from gradatim.workloads.index.tables import (
    CHUNKS,
    DOCUMENTS,
    REJECTED,
    Rejection,
    document_of,
    document_row,
    rejections_to_table,
)
from gradatim.workloads.index.weights import ModelAt
from gradatim.workloads.index.worker import Recipe, Worker
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore

KEY = b"k" * 32
PAGES = (RecognisedPage(1, 0.9), RecognisedPage(3, 0.7))


def spec_of(**changes: Any) -> RAGIndexSpec:
    base = {
        "sources": [{"name": "docs", "source": {"path": "file:///docs"}}],
        "embedding": {"model": {"uri": "file:///models/a"}},
    }
    return RAGIndexSpec.model_validate(base | changes)


def config(**changes: Any) -> RunConfig:
    return RunConfig(
        workload="index",
        object=RunObject(kind="RAGIndex", namespace="n", name="x", uid="u"),
        run="r",
        attempt=1,
        index=spec_of(**changes),
        index_inputs=IndexInputs(collection_prefix="G0123456789_"),
        store=StoreConfig(root="file:///store/"),
        vector_store=VectorStoreConfig(endpoint="http://w:1", grpc_endpoint="http://w:2"),
    )


def test_digests_of_builds_without_it_change_only_on_purpose() -> None:
    files = [FileIdentity("docs", "a.md", "sha256:1"), FileIdentity("docs", "b.md", "sha256:2", (("team", "x"),))]
    off, on = spec_of(), spec_of(parsing={"ocr": True})
    parse, resolved = parse_digest(off, ParseOptions().digest()), resolved_digest(files, off, ["encoder"])
    assert parse == "sha256:024d2a48179d723de95e5eaaffce146b636fe25b0036367c07546fb9dfdd0b61"
    assert resolved == "sha256:4db7dd3a561e67c50cb5aaa998cca38fd4d4c8621625e5ef03925a786028ad0a"
    with_engine = {parse_digest(on, ParseOptions(ocr=name).digest()) for name in ("a/1", "a/2")}
    assert len({parse, *with_engine}) == 3


def test_settings_name_the_engine_with_its_weights_and_only_where_it_is_asked_for() -> None:
    assert settings_of(config())[1].parse.ocr == ""
    found = settings_of(config(parsing={"ocr": True}))[1].parse.ocr
    assert found == engine.identity()
    assert [part.partition("/")[0] for part in found.split("+")] == ["rapidocr", "onnxruntime", "models", "layout"]


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not installed."""
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "rapidocr" else real(name, package)

    monkeypatch.setattr(engine, "find_spec", find)
    engine.identity.cache_clear()


def test_a_missing_extra_is_told_before_any_work(without_the_extra: None) -> None:
    assert settings_of(config())[1].parse.ocr == ""
    with pytest.raises(
        WorkloadError, match=r"parsing\.ocr: .*rapidocr is missing.*pip install 'gradatim\[ocr\]'"
    ) as caught:
        settings_of(config(parsing={"ocr": True}))
    assert (caught.value.failure, caught.value.reason) == (Failure.USER, Reason.INVALID_SPEC)


def test_a_worker_has_an_engine_where_the_run_has_one(tmp_path: Path) -> None:
    for asked in (False, True):
        settings = settings_of(config(parsing={"ocr": asked}))[1]
        worker = Worker(Recipe(settings, ModelAt(tmp_path, "", "sha256:m", ()), "sha256:e"), Place())
        assert (worker.ocr is not None) == asked
        assert worker.ocr is None or worker.ocr.engine.identity == settings.parse.ocr


@pytest.mark.parametrize(("place", "used"), [(3, 3), (64, 8)], ids=["what the worker has", "eight of many"])
def test_a_worker_reads_pages_with_its_own_threads_and_eight_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, used: int
) -> None:
    given: list[int] = []

    class Models:
        def __init__(self, threads: int) -> None:
            given.append(threads)

        def read(self, image: Pixels) -> PageText:
            return PageText("")

    monkeypatch.setattr(engine, "_Models", Models)
    settings = settings_of(config(parsing={"ocr": True}))[1]
    worker = Worker(Recipe(settings, ModelAt(tmp_path, "", "sha256:m", ()), "sha256:e"), Place(threads=place))
    assert worker.ocr is not None
    worker.ocr.engine.read(np.zeros((2, 2, 3), np.uint8))
    assert given == [used]


def document(pages: tuple[RecognisedPage, ...] = PAGES) -> Document:
    return Document("d", "docs", "a.pdf", "a\n\n\n\nc", {}, (0, 3, 5), "p/1", recognised=pages)


def test_recognised_pages_survive_a_row() -> None:
    table = pa.Table.from_pylist([document_row(document(), KEY), document_row(document(()), KEY)], schema=DOCUMENTS)
    assert [document_of(row) for row in table.to_pylist()] == [document(), document(())]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        pytest.param(PAGES, (2, 0.8, 0.7), id="mean and worst"),
        pytest.param((), (0, None, None), id="no page, no confidence"),
    ],
)
def test_facts_that_expectations_may_use(pages: tuple[RecognisedPage, ...], expected: tuple[object, ...]) -> None:
    row = document_row(document(pages), KEY)
    assert tuple(recognition_facts(row).values()) == expected
    del row["recognised"]  # an artifact of the release before
    assert tuple(recognition_facts(row).values()) == (0, None, None)


@pytest.mark.parametrize("column", [True, False], ids=["with the column", "written by the release before"])
def test_documents_are_carried_over(column: bool, tmp_path: Path) -> None:
    store = ArtifactStore.open(StoreConfig(root=f"file://{tmp_path}/"), SecretFolder(None))
    schema = DOCUMENTS if column else DOCUMENTS.remove(DOCUMENTS.get_field_index("recognised"))
    rows = [document_row(document(), KEY)]
    for name, kind, content in (("d", schema, rows), ("c", CHUNKS, []), ("r", REJECTED, [])):
        with parquet_writer(store, f"{name}.parquet", kind) as write:
            write(pa.Table.from_pylist(content, schema=kind))
    previous = Previous(None, ParquetRows(store, "d.parquet"), ParquetRows(store, "c.parquet"))
    previous.index_rows(ParquetRows(store, "r.parquet"))
    table = previous.documents_of([KEY])
    assert table.schema.equals(DOCUMENTS)
    assert [document_of(row) for row in table.to_pylist()] == [document(PAGES if column else ())]


def test_a_file_of_which_a_row_was_refused_is_read_again_wherever_a_dataset_found_the_row(tmp_path: Path) -> None:
    store = ArtifactStore.open(StoreConfig(root=f"file://{tmp_path}/"), SecretFolder(None))
    other = b"o" * 32
    refused = Rejection("docs", "wiki/a.csv", "parse", "WrongType", "level is no number", row=7, file=KEY)
    judged = Rejection("docs", "b.md", "validate", "length", "fails length")
    rows = [document_row(document(), KEY), document_row(document(), other)]
    tables = (
        ("d", pa.Table.from_pylist(rows, schema=DOCUMENTS)),
        ("c", CHUNKS.empty_table()),
        ("r", rejections_to_table([refused, judged])),
    )
    for name, table in tables:
        with parquet_writer(store, f"{name}.parquet", table.schema) as write:
            write(table)
    previous = Previous(None, ParquetRows(store, "d.parquet"), ParquetRows(store, "c.parquet"))
    previous.index_rows(ParquetRows(store, "r.parquet"))
    assert [previous.has_file(key) for key in (KEY, other, b"n" * 32)] == [False, True, False]
