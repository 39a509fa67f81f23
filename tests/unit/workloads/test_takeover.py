"""Two processes in one Run's folder: the younger one goes on, the older one notices, ends and writes nothing more."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.support.workload_runs import DatasetRun

from gradatim.api.run import ProgressDocument, RunConfig, Stamp
from gradatim.api.runstatus import Progress
from gradatim.workloads import context as contexts
from gradatim.workloads.__main__ import ResultWriter, attempt
from gradatim.workloads.context import timestamp
from gradatim.workloads.errors import StopRequested
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.takeover import next_process, taken_over

AFTER = "attempt 2 of this Run has begun"


@pytest.fixture
def run(tmp_path: Path) -> DatasetRun:
    """Return a Run of two rows."""
    return DatasetRun(tmp_path, {}).with_files({"rows.jsonl": [{"text": "one"}, {"text": "two"}]})


def begin(run: DatasetRun, process: int = 1, stamp: dict[str, object] | None = None) -> None:
    """Write the progress document of a process of the Run's attempt."""
    stamped = Stamp.of(run.config).model_copy(update=stamp or {})
    document = ProgressDocument(stamp=stamped, heartbeat=timestamp(), progress=Progress(stage="Load"), process=process)
    run.store.write(f"{run.config.attempt_path}/progress.json", document.model_dump_json(by_alias=True).encode())


def progress(run: DatasetRun) -> ProgressDocument:
    """Return the progress document of the Run's attempt."""
    return ProgressDocument.model_validate_json(run.store.read(f"{run.config.attempt_path}/progress.json"))


def written(run: DatasetRun) -> bool:
    """Return whether the attempt has left a result."""
    return run.store.exists(f"{run.config.attempt_path}/result.json")


def test_nobody_else_is_no_takeover(run: DatasetRun) -> None:
    assert taken_over(run.store, run.config, 1) == ""
    begin(run)
    assert taken_over(run.store, run.config, 1) == ""


def test_an_earlier_attempt_or_process_is_none_either(run: DatasetRun) -> None:
    begin(run)
    assert taken_over(run.store, run.but(number=2).config, 1) == ""
    assert taken_over(run.store, run.config, 2) == ""


def test_a_later_attempt_is_one_even_if_others_between_never_began(run: DatasetRun) -> None:
    begin(run.but(number=12))
    assert taken_over(run.store, run.config, 1) == "attempt 12 of this Run has begun"


def test_so_is_a_later_process_of_the_same_attempt(run: DatasetRun) -> None:
    begin(run, 3)
    assert taken_over(run.store, run.config, 2) == "process 3 of this attempt has begun"
    assert next_process(run.store, run.config) == 4


@pytest.mark.parametrize("stamp", [{"uid": "x"}, {"run": "other"}, {"config_digest": "sha256:0"}, {"attempt": 7}])
def test_a_document_with_another_stamp_is_no_sign(run: DatasetRun, stamp: dict[str, object]) -> None:
    begin(run.but(number=2), stamp=stamp)
    begin(run, 9, stamp)
    assert (taken_over(run.store, run.config, 1), next_process(run.store, run.config)) == ("", 1)


def test_a_document_that_is_none_is_no_sign(run: DatasetRun) -> None:
    run.store.write(f"{run.but(number=2).config.attempt_path}/progress.json", b"not json")
    run.store.write(f"{run.config.run_path}/attic/progress.json", b"{}")
    assert taken_over(run.store, run.config, 1) == ""


def test_an_attempt_that_starts_after_a_later_one_writes_nothing(run: DatasetRun) -> None:
    begin(run.but(number=2))
    assert attempt(run.context()) is None
    assert run.store.list(run.config.run_path) == [f"{run.but(number=2).config.attempt_path}/progress.json"]


def test_an_attempt_that_a_later_one_takes_over_from_ends_without_a_result(
    run: DatasetRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(contexts, "PROGRESS_GAP_SECONDS", 0.01)
    monkeypatch.setattr(contexts, "TAKEOVER_POLL_SECONDS", 0.0)
    context = run.context()
    with context:
        begin(run.but(number=2))
        until = time.monotonic() + 1.5
        while not context.stop_reason and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(StopRequested, match=AFTER):
            context.check_stop()
    heard = progress(run).heartbeat
    context.close()
    assert progress(run).heartbeat == heard
    assert not ResultWriter(context).write(context.result("Stopped"))
    assert not written(run)


def test_a_result_is_not_written_once_the_folder_is_anothers(run: DatasetRun) -> None:
    context = run.context()
    with context:
        begin(run, 2)  # the cluster has started the attempt again somewhere else
        assert not ResultWriter(context).write(context.result("Succeeded"))
    assert (written(run), progress(run).process) == (False, 2)


def test_an_attempt_that_is_started_again_is_the_next_process(run: DatasetRun) -> None:
    begin(run, 4)
    assert run.execute().outcome == "Succeeded"
    assert progress(run).process == 5


def test_a_store_that_does_not_answer_takes_nothing_over(run: DatasetRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> str:
        raise OSError("away")

    monkeypatch.setattr(contexts, "taken_over", fails)
    monkeypatch.setattr(contexts, "next_process", fails)
    context = run.context()
    with context:
        assert not context.look_for_takeover()
        context.check_stop()
    assert ResultWriter(context).write(context.result("Succeeded"))


@pytest.mark.parametrize("faults", [1, 2, 3], ids=["the first look", "its progress too", "the next look too"])
def test_a_store_that_fails_at_the_start_leaves_the_number_open_until_it_answers(
    run: DatasetRun, monkeypatch: pytest.MonkeyPatch, faults: int
) -> None:
    left = [OSError("away")] * faults

    def fails_first(store: ArtifactStore, config: RunConfig) -> int:
        if left:
            raise left.pop()
        return next_process(store, config)

    monkeypatch.setattr(contexts, "next_process", fails_first)
    begin(run, 4)  # an earlier process of the attempt, which is gone
    context = run.context()
    with context:
        assert progress(run).process == (5 if faults == 1 else 4)
        assert not context.look_for_takeover()
        context.check_stop()
    assert ResultWriter(context).write(context.result("Succeeded"))
    assert (written(run), progress(run).process) == (True, 5)


def test_what_an_earlier_release_wrote_counts_as_the_process_before(run: DatasetRun) -> None:
    begin(run)
    path = f"{run.config.attempt_path}/progress.json"
    document = json.loads(run.store.read(path))
    del document["process"]
    run.store.write(path, json.dumps(document).encode())
    assert next_process(run.store, run.config) == 1
