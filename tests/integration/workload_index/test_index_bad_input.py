"""What may be wrong around an index build, from end to end: a reason that says what to do, and no collection that looks finished."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.integration.workload_index.support import Bench, reasons, write_corpus

from gradatim.api.reasons import Reason
from gradatim.api.run import STORE_FULL_STATUS, RunResult
from gradatim.workloads.index.artifact import REJECTED_FILE, Artifact
from gradatim.workloads.index.reading import ParquetRows

DEAD = "http://127.0.0.1:9"


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 60_000_000)
    return out.getvalue()


BAD: dict[str, tuple[bytes, str]] = {
    "bomb.docx": (_bomb(), "ZipBomb"),
    "binary.txt": (b"\x00\x80\xfe" * 200, "Encoding"),
    "broken.pdf": (b"%PDF-1.7\nnot really a pdf", "Broken"),
    "large.md": (b"x" * 200_000, "TooLarge"),
}


def test_documents_of_every_bad_kind_are_named_with_reason_and_the_rest_is_indexed(bench: Bench) -> None:
    for name, (data, _) in BAD.items():
        (bench.corpus / name).write_bytes(data)
    config = bench.config()
    limits = config.limits.model_copy(update={"max_document_bytes": 100_000})
    result = bench.built(config=config.model_copy(update={"limits": limits}).sealed())
    assert result.index is not None
    assert (result.index.documents, result.index.rejected) == (8, len(BAD))
    assert reasons(result) == {reason: 1 for _, reason in BAD.values()}
    artifact = Artifact(bench.store, bench.store.path_of(result.index.uri))
    rows = [
        row for table in ParquetRows(bench.store, artifact.file(REJECTED_FILE)).groups() for row in table.to_pylist()
    ]
    assert {row["path"]: row["reason"] for row in rows} == {name: reason for name, (_, reason) in BAD.items()}
    assert all(row["source"] == "docs" and row["message"] for row in rows)


def _limited(bench: Bench, limit: int) -> subprocess.CompletedProcess[str]:
    """Run an attempt that may write no file of more than `limit` bytes, as on a disk that is full."""
    config = bench.config(run="full")
    file = bench.root / "full.json"
    file.write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    argv = [
        "sh",
        "-c",
        f'ulimit -f {limit // 512}; exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "gradatim.workloads",
        "index",
    ]
    return subprocess.run(
        [*argv, "--config", str(file)], env=os.environ, capture_output=True, text=True, timeout=200, check=False
    )


def test_a_full_disk_is_said_leaves_no_version_and_the_next_attempt_ends_well(bench: Bench) -> None:
    write_corpus(bench.corpus, count=120)
    status = _limited(bench, 102_400).returncode
    written = bench.store.read(f"{bench.config(run='full').attempt_path}/result.json")
    failed = RunResult.model_validate_json(written)
    assert (status, failed.failure, failed.reason) == (1, "Dependency", Reason.STORE_UNREACHABLE.value), failed.message
    assert failed.message.startswith("disk full: ")
    assert "free space in the artifact store or on the node" in failed.message
    assert bench.collections() == []
    assert not [
        path for path in bench.store.list(bench.config(run="full").object_path) if path.endswith("manifest.json")
    ]
    again = bench.built(config=bench.config(run="full", attempt_number=2))
    assert again.index is not None
    assert bench.collections() == [again.index.collection]


def test_a_disk_that_does_not_even_take_the_result_is_said_by_the_end_of_the_process(bench: Bench) -> None:
    done = _limited(bench, 0)
    assert done.returncode == STORE_FULL_STATUS, done.stderr
    last = done.stderr.strip().rsplit("\n", 1)[-1]
    assert last.endswith(f"the disk of the artifact store {bench.store.root} is full: free space there")
    assert not bench.store.exists(f"{bench.config(run='full').attempt_path}/result.json")


@pytest.mark.parametrize("part", ["endpoint", "grpc_endpoint"])
def test_a_dead_vector_store_is_named_and_tried_again(bench: Bench, part: str) -> None:
    result = bench.run(server=replace(bench.server, **{part: DEAD}))
    assert (result.failure, result.reason) == ("Dependency", Reason.VECTOR_STORE_UNREACHABLE.value), result.message
    assert "127.0.0.1:9" in result.message
    assert bench.collections() == []


CHANGES: dict[str, tuple[Callable[[Bench], dict[str, object]], Reason, str]] = {
    "a package that is not known": (
        lambda _: {"embedding": {"model": {"uri": "package://os"}}}, Reason.MODEL_NOT_FOUND, "embedding.model package://os",
    ),
    "a folder that is not there": (
        lambda bench: {"embedding": {"model": {"uri": f"file://{bench.root}/none"}}}, Reason.MODEL_NOT_FOUND, "no such folder",
    ),
    "a reranker that is none": (
        lambda bench: {"retrieval": {"rerank": {"model": {"uri": f"file://{bench.root}/none"}}}},
        Reason.MODEL_NOT_FOUND,
        "retrieval.rerank.model file://",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_an_unknown_model_is_named_with_its_field(bench: Bench, name: str) -> None:
    make, reason, says = CHANGES[name]
    result = bench.run(**make(bench))
    assert (result.failure, result.reason) == ("User", reason.value)
    assert says in result.message
    assert bench.collections() == []
