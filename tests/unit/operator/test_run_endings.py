"""As what a Run counts that has ended: by its record, whether or not it left a result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gradatim.api.run import RunResult, Stamp
from gradatim.api.runstatus import Attempt, Failure, Outcome, RunStatus
from gradatim.operator.clock import rfc3339
from gradatim.operator.metrics import Metrics
from gradatim.operator.runs.ending import ending
from gradatim.operator.runs.engine import advance
from gradatim.operator.runs.model import Evidence, Policy, Step
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHANGED = "the spec has changed"


def ago(seconds: float) -> str:
    """Return the moment so many seconds before now."""
    return rfc3339(NOW - timedelta(seconds=seconds))


def run(*tried: Attempt, **more: Any) -> RunStatus:
    """Return an active Run."""
    return RunStatus(name="one-1", trigger="generation", spec_digest="sha256:1", attempts=list(tried), **more)


def attempt(outcome: Outcome = Outcome.RUNNING, started: float = 60, **more: Any) -> Attempt:
    """Return an attempt that started so many seconds ago."""
    return Attempt(number=1, outcome=outcome, recorded_at=ago(started), started_at=ago(started), **more)


def lost(failure: Failure = Failure.NODE_LOST) -> Attempt:
    """Return an attempt that failed without a result."""
    return attempt(Outcome.FAILED, failure=failure, finished_at=ago(30))


def result(outcome: str, **more: Any) -> Evidence:
    """Return what is seen of a process that has ended and left a result."""
    stamp = Stamp(uid="u", run="one-1", attempt=1, config_digest="sha256:0")
    return seen(Phase.SUCCEEDED, result=RunResult(stamp=stamp, outcome=outcome, finished=ago(1), **more))


def seen(phase: Phase, failure: Failure | None = None, **more: Any) -> Evidence:
    """Return what is seen of a process that ended half a minute ago."""
    return Evidence(observed=Observed(phase, finished_at=ago(30), failure=failure), **more)


STOPPED = attempt(Outcome.STOPPED)
CASES: list[tuple[str, RunStatus, Evidence, str | None, Outcome | None]] = [
    ("a result", run(attempt()), result("Succeeded"), None, Outcome.SUCCEEDED),
    ("a result that nothing had to be built", run(attempt()), result("Unchanged"), None, Outcome.UNCHANGED),
    ("a result that says why it failed", run(attempt()), result("Failed", failure=Failure.DATA), None, Outcome.FAILED),
    ("a result that cannot be its own", run(attempt()), seen(Phase.SUCCEEDED, rejected="x"), None, Outcome.FAILED),
    ("a stop by its deadline", run(attempt(started=630)), result("Stopped"), None, Outcome.FAILED),
    ("a death after its deadline", run(attempt(started=630)), seen(Phase.STOPPED), None, Outcome.FAILED),
    ("no trace past its fence", run(attempt(started=5000)), Evidence(unknown=("runtime",)), None, Outcome.FAILED),
    ("an image that nobody has", run(attempt()), seen(Phase.FAILED, Failure.USER), None, Outcome.FAILED),
    (
        "too little memory a second time",
        run(lost(Failure.OUT_OF_MEMORY), attempt()),
        seen(Phase.FAILED, Failure.OUT_OF_MEMORY),
        None,
        Outcome.FAILED,
    ),
    ("the last retry without a sign of life", run(lost(), attempt()), seen(Phase.STOPPED), None, Outcome.FAILED),
    ("a loss that is tried again", run(attempt()), seen(Phase.STOPPED), None, None),
    ("a process that runs", run(attempt()), seen(Phase.RUNNING), None, None),
    ("a stop for another spec", run(STOPPED), Evidence(), CHANGED, Outcome.STOPPED),
    ("a loss while it was stopped for another spec", run(lost()), Evidence(), CHANGED, Outcome.STOPPED),
    ("a stop that is not over", run(attempt()), seen(Phase.RUNNING), CHANGED, None),
    ("a stop of a Run that goes on", run(STOPPED), Evidence(), None, None),
    ("an end of before", run(STOPPED, done=True), Evidence(), None, None),
]


@pytest.mark.parametrize(("before", "evidence", "stop", "counts"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_how_a_run_ends_with(before: RunStatus, evidence: Evidence, stop: str | None, counts: Outcome | None) -> None:
    assert ending(before, advance(before, evidence, Policy(1, 600), RunSettings(), NOW, stop=stop)) is counts


def test_a_suspended_run_is_not_over() -> None:
    step = advance(run(STOPPED), Evidence(), Policy(1, 600, suspended=True), RunSettings(), NOW, stop="suspended")
    assert ending(run(STOPPED), step) is None


def test_a_run_that_status_did_not_name_before_has_not_ended_now() -> None:
    over = Step(run(attempt(Outcome.SUCCEEDED), done=True, succeeded=True))
    assert ending(None, over) is None
    assert ending(run(attempt()).model_copy(update={"name": "one-0"}), over) is None


def test_every_ending_is_served_before_the_first_run_has_ended() -> None:
    samples = [s for m in Metrics().finished.collect() for s in m.samples if s.name == "gradatim_runs_finished_total"]
    outcomes = ("Succeeded", "Unchanged", "Failed", "Stopped")
    assert {(s.labels["kind"], s.labels["outcome"]): s.value for s in samples} == {
        (plural, outcome): 0.0 for plural in ("datasets", "ragindices") for outcome in outcomes
    }
