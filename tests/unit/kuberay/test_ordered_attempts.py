"""A workload that KubeRay starts: the frozen file of a Run, the attempt that was ordered, and what happens when it is started again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.workload_runs import DatasetRun

from gradatim.api.run import RunResult
from gradatim.workloads import validate
from gradatim.workloads.__main__ import LOG_COPY_ENV, main, start_logging

assert validate  # the program imports it when it needs it, which takes longer than a test may


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Give the root logger back as it was: the program sets it up for its process."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers.clear()
    yield
    for handler in root.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def run(tmp_path: Path) -> DatasetRun:
    """Return a Run whose frozen config says attempt 1, as that of every Run does."""
    made = DatasetRun(tmp_path, {}).with_files({"rows.jsonl": [{"text": "one"}, {"text": "two"}]})
    (tmp_path / "config.json").write_text(made.config.model_dump_json(by_alias=True, exclude_none=True))
    return made


def start(run: DatasetRun, number: int, digest: str | None = None) -> int:
    """Start the program as the RayJob's entrypoint does."""
    file = str(run.folder / "config.json")
    wanted = run.config.digest if digest is None else digest
    return main(["validate", "--config", file, "--attempt", str(number), "--digest", wanted])


def test_the_attempt_that_was_ordered_runs_with_the_frozen_config(run: DatasetRun) -> None:
    assert start(run, 2) == 0
    found = run.but(number=2).written()
    assert (found.outcome, found.stamp.attempt) == ("Succeeded", 2)
    assert not run.store.exists(f"{run.config.attempt_path}/result.json")


def test_a_config_that_was_exchanged_is_refused_before_anything_is_written(
    run: DatasetRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(run, 1, "sha256:" + "0" * 64) == 2
    assert "not the one that this attempt was ordered with" in capsys.readouterr().err
    assert not run.store_root.exists()


def test_a_finished_attempt_that_is_started_again_changes_nothing(run: DatasetRun) -> None:
    assert start(run, 1) == 0
    path = f"{run.config.attempt_path}/result.json"
    before = run.store.read(path)
    (run.data / "rows.jsonl").write_text("not json")
    assert start(run, 1) == 0
    assert run.store.read(path) == before


def test_an_attempt_that_a_queue_stopped_goes_on_when_it_is_started_again(run: DatasetRun) -> None:
    context = run.context()
    stopped = context.result("Stopped", message="stopped: signal SIGTERM")
    path = f"{run.config.attempt_path}/result.json"
    run.store.write(path, stopped.model_dump_json(by_alias=True, exclude_none=True).encode())
    assert start(run, 1) == 0
    assert RunResult.model_validate_json(run.store.read(path)).outcome == "Succeeded"


def test_a_result_with_another_stamp_stops_nobody(run: DatasetRun) -> None:
    path = f"{run.config.attempt_path}/result.json"
    forged = (
        run.context()
        .result("Stopped")
        .model_copy(update={"stamp": run.context().stamp.model_copy(update={"uid": "x"})})
    )
    run.store.write(path, forged.model_dump_json(by_alias=True, exclude_none=True).encode())
    assert start(run, 1) == 0
    assert run.written().stamp.uid == "uid-1"


def test_the_log_is_copied_to_the_pods_log(run: DatasetRun, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = run.folder / "pod.log"
    monkeypatch.setenv(LOG_COPY_ENV, str(copy))
    logging.getLogger().handlers.clear()
    start_logging()
    assert start(run, 1) == 0
    assert "gradatim.workloads Succeeded" in copy.read_text()


def test_a_log_that_cannot_be_copied_stops_nothing(
    run: DatasetRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(LOG_COPY_ENV, str(run.folder / "no" / "folder"))
    logging.getLogger().handlers.clear()
    assert start(run, 1) == 0
    assert "no copy of the log" in capsys.readouterr().err
