"""What processes of one Run leave to each other: nobody removes what a later one works with, and nothing stays of those that were killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.workload_runs import DatasetRun

from gradatim.workloads import context as contexts
from gradatim.workloads.__main__ import attempt
from gradatim.workloads.tables import selection
from gradatim.workloads.workfolder import work_folder

from .test_takeover import begin


@pytest.fixture
def run(tmp_path: Path) -> DatasetRun:
    """Return a Run of two rows."""
    return DatasetRun(tmp_path, {}).with_files({"rows.jsonl": [{"text": "one"}, {"text": "two"}]})


def leave(run: DatasetRun, *names: str) -> None:
    """Write files of other processes below the Run's `work`."""
    for name in names:
        run.store.write(f"{run.config.run_path}/work/{name}", b"rows")


def left(run: DatasetRun) -> list[str]:
    """Return everything that lies below the Run's `work`, files that are being written too."""
    folder = run.store_root / run.config.run_path / "work"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("number", "process"), [(2, 1), (1, 2)], ids=["a later attempt", "a later process of the same attempt"]
)
def test_an_attempt_leaves_the_files_of_the_one_that_took_over(
    run: DatasetRun, monkeypatch: pytest.MonkeyPatch, number: int, process: int
) -> None:
    deduplicate = selection.deduplicate

    def taken_over(found: selection.Selection) -> None:
        assert left(run) != []
        begin(run.but(number=number), process)
        leave(run, "later/rows.blocks")
        deduplicate(found)

    monkeypatch.setattr(selection, "deduplicate", taken_over)
    monkeypatch.setattr(
        contexts.RunContext, "_beat", lambda _: None
    )  # it would write over the document that is begun here
    assert attempt(run.context()) is None
    assert left(run) == ["later/rows.blocks"]


def test_what_killed_processes_left_goes_with_the_next_one(run: DatasetRun) -> None:
    begin(run)
    leave(run, "a1-0123/rows.blocks", "a1-0123/rejected/read-0.arrow", "a1-4567/.rows.blocks.89ab.part~")
    leave(run, "rows.blocks")  # as an earlier release did
    assert run.but(number=2).execute().outcome == "Succeeded"
    assert left(run) == []


def test_two_processes_of_one_attempt_write_to_folders_of_their_own(run: DatasetRun) -> None:
    with run.context() as one, work_folder(one) as first, run.context() as two, work_folder(two) as second:
        assert first != second
        assert first.startswith(f"{run.config.run_path}/work/a1-")


def test_what_began_during_the_look_is_not_swept(run: DatasetRun, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(run, "a1-0123/rows.blocks")
    context = run.context()

    def look(*_: object) -> str:
        leave(run, "a2-4567/rows.blocks")
        return ""

    monkeypatch.setattr(contexts, "taken_over", look)
    with work_folder(context):
        assert left(run) == ["a2-4567/rows.blocks"]


@pytest.mark.parametrize("answers", [True, False], ids=["a later one has begun", "the store does not answer"])
def test_nothing_is_swept_unless_nobody_has_taken_over(
    run: DatasetRun, monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    def look(*_: object) -> str:
        if answers:
            return "attempt 2 of this Run has begun"
        raise OSError("away")

    monkeypatch.setattr(contexts, "taken_over", look)
    leave(run, "a2-4567/rows.blocks")
    with work_folder(run.context()):
        assert left(run) == ["a2-4567/rows.blocks"]
    assert left(run) == ["a2-4567/rows.blocks"]


def test_a_file_that_its_owner_removes_meanwhile_is_no_failure(
    run: DatasetRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(run, "a1-0123/rows.blocks", "a1-4567/rows.blocks")
    context = run.context()
    delete = type(context.store).delete

    def gone(store: object, prefix: str) -> None:
        delete(context.store, prefix)
        if prefix.endswith("a1-0123"):
            raise FileNotFoundError(prefix)

    monkeypatch.setattr(type(context.store), "delete", gone)
    with work_folder(context):
        assert left(run) == []
