"""How an attempt is judged and what the engine does next, from tables and from any sequence of observations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.api.reasons import Reason
from gradatim.api.run import STORE_FULL_STATUS, ProgressDocument, RunResult, Stamp
from gradatim.api.runstatus import Attempt, Failure, Outcome, Progress, RunStatus
from gradatim.operator.clock import rfc3339
from gradatim.operator.runs import attempts
from gradatim.operator.runs.attempts import OVER, Rules, judged, may_retry, retry_delay
from gradatim.operator.runs.engine import KEPT_ATTEMPTS, advance
from gradatim.operator.runs.model import Discard, Evidence, Kill, Policy, RequestStop, Step, Submit
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = Stamp(uid="u", run="one-1", attempt=1, config_digest="sha256:0")
SETTINGS = RunSettings()
POLICY = Policy(max_retries=3, deadline=600)


def ago(seconds: float) -> str:
    """Return the moment so many seconds before now."""
    return rfc3339(NOW - timedelta(seconds=seconds))


def result(outcome: str, **more: Any) -> RunResult:
    """Return a result of the attempt."""
    return RunResult(stamp=STAMP, outcome=outcome, finished=ago(1), **more)


def heartbeat(seconds: float) -> ProgressDocument:
    """Return a progress document that old."""
    return ProgressDocument(stamp=STAMP, heartbeat=ago(seconds), progress=Progress(stage="Load"))


def attempt(outcome: Outcome = Outcome.RUNNING, **more: Any) -> Attempt:
    """Return the first attempt, recorded and started 60 seconds ago."""
    base: dict[str, Any] = {"recorded_at": ago(60), "started_at": ago(60)}
    if outcome is Outcome.RECORDED:
        base["started_at"] = None
    return Attempt(number=1, outcome=outcome, **(base | more))


RECORDED = attempt(Outcome.RECORDED)
RUNNING = attempt()
OLD = attempt(started_at=ago(5000), recorded_at=ago(5000))
OVERDUE = attempt(started_at=ago(630), recorded_at=ago(630))
OLD_RECORD = attempt(Outcome.RECORDED, recorded_at=ago(5000))
MISSED: dict[str, Any] = {
    "outcome": Outcome.FAILED,
    "failure": Failure.DEADLINE,
    "reason": "DeadlineExceeded",
    "message": "no result 600 s after the start: activeDeadlineSeconds",
    "finished_at": ago(0),
}


def seen(phase: Phase, ended: float | None = None, **more: Any) -> Evidence:
    """Return evidence of a phase; `ended` is how many seconds ago the process did."""
    message = more.pop("message", "")
    failure = more.pop("failure", None)
    lost = more.pop("lost", False)
    observed = Observed(phase, message, finished_at=None if ended is None else ago(ended), failure=failure, lost=lost)
    return Evidence(observed=observed, **more)


JUDGED: list[tuple[str, Attempt, Evidence, bool, dict[str, Any]]] = [
    ("an attempt that is not there yet stays recorded", RECORDED, seen(Phase.ABSENT), False, {}),
    ("one recorded long ago and never started stays recorded", OLD_RECORD, seen(Phase.ABSENT), False, {}),
    ("an attempt that cannot be seen stays as it is", RUNNING, Evidence(unknown=("x",)), False, {}),
    (
        "an attempt seen pending counts as started",
        RECORDED,
        seen(Phase.PENDING),
        False,
        {"outcome": Outcome.RUNNING, "started_at": ago(0)},
    ),
    (
        "the first heartbeat is kept",
        RUNNING,
        seen(Phase.RUNNING, progress=heartbeat(5)),
        False,
        {"heartbeat_at": ago(5)},
    ),
    (
        "a good result ends it although the process still runs",
        RUNNING,
        seen(Phase.RUNNING, result=result("Succeeded")),
        False,
        {"outcome": Outcome.SUCCEEDED, "finished_at": ago(1), "message": ""},
    ),
    (
        "a bad result waits for the end of the process",
        RUNNING,
        seen(Phase.RUNNING, result=result("Failed", failure=Failure.USER)),
        False,
        {},
    ),
    (
        "a bad result ends it with the process",
        RUNNING,
        seen(Phase.FAILED, 1, result=result("Failed", failure=Failure.DATA, reason="DataInvalid", message="row 3")),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.DATA,
            "reason": "DataInvalid",
            "message": "row 3",
            "finished_at": ago(0),
        },
    ),
    (
        "an unknown reason becomes that of its class",
        RUNNING,
        seen(Phase.FAILED, 1, result=result("Failed", failure=Failure.NODE_LOST, reason="Whatever")),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.NODE_LOST,
            "reason": "NodeLost",
            "message": "",
            "finished_at": ago(0),
        },
    ),
    (
        "a stop that was asked for is one",
        RUNNING,
        seen(Phase.SUCCEEDED, 1, result=result("Stopped")),
        True,
        {"outcome": Outcome.STOPPED, "finished_at": ago(1), "message": ""},
    ),
    (
        "a stop that nobody asked for is a preemption",
        RUNNING,
        seen(Phase.SUCCEEDED, 1, result=result("Stopped", message="signal")),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.PREEMPTED,
            "reason": "Preempted",
            "message": "signal",
            "finished_at": ago(0),
        },
    ),
    (
        "a stop after the deadline is its consequence",
        OVERDUE,
        seen(Phase.SUCCEEDED, 1, result=result("Stopped")),
        False,
        MISSED,
    ),
    (
        "a stop whose process nobody sees is waited for",
        RUNNING,
        Evidence(unknown=("runtime",), result=result("Stopped")),
        True,
        {},
    ),
    (
        "and is one past its fence: the cluster may be gone for good",
        OLD,
        Evidence(unknown=("runtime",), result=result("Stopped")),
        True,
        {"outcome": Outcome.STOPPED, "finished_at": ago(1), "message": ""},
    ),
    (
        "or a missed deadline, where nobody had asked for it",
        OLD,
        Evidence(unknown=("runtime",), result=result("Stopped")),
        False,
        MISSED,
    ),
    ("a process that has just ended may still get its result", RUNNING, seen(Phase.SUCCEEDED, 3), False, {}),
    (
        "a process that ended without a result lost its node",
        RUNNING,
        seen(Phase.FAILED, 30, message="gone"),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.NODE_LOST,
            "reason": "NodeLost",
            "message": "its process ended without a result. gone",
            "finished_at": ago(0),
        },
    ),
    (
        "signs of too little memory are believed",
        RUNNING,
        seen(Phase.FAILED, 30, message="worker killed: OOM"),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.OUT_OF_MEMORY,
            "reason": "OutOfMemory",
            "message": "its process ended without a result. worker killed: OOM",
            "finished_at": ago(0),
        },
    ),
    (
        "a process that could not write its result into a full store says so by its exit code",
        RUNNING,
        seen(Phase.FAILED, 30, message=f"Job entrypoint command failed with exit code {STORE_FULL_STATUS}"),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.DEPENDENCY,
            "reason": "StoreUnreachable",
            "message": "the disk of the artifact store is full, so that it could not even write its result: free space there",
            "finished_at": ago(0),
        },
    ),
    (
        "what the runtime knows about the failure counts",
        RUNNING,
        seen(Phase.FAILED, 30, failure=Failure.OUT_OF_MEMORY),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.OUT_OF_MEMORY,
            "reason": "OutOfMemory",
            "message": "its process ended without a result.",
            "finished_at": ago(0),
        },
    ),
    (
        "an end without a time is timed from now",
        RUNNING,
        seen(Phase.ABSENT),
        False,
        {"finished_at": ago(0)},
    ),
    (
        "while the store is silent an ended attempt stays open",
        RUNNING,
        seen(Phase.FAILED, 3000, unknown=("store",), unread=True),
        False,
        {},
    ),
    (
        "a stop from outside counts as a lost node",
        RUNNING,
        seen(Phase.STOPPED, 30),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.NODE_LOST,
            "reason": "HeartbeatLost",
            "message": "it was stopped, for want of a sign of life or from outside",
            "finished_at": ago(0),
        },
    ),
    (
        "a forced stop that was asked for is a stop",
        RUNNING,
        seen(Phase.STOPPED, 30),
        True,
        {"outcome": Outcome.STOPPED, "finished_at": ago(30)},
    ),
    (
        "so is one on a node that died meanwhile",
        RUNNING,
        seen(Phase.STOPPED, 30, failure=Failure.NODE_LOST, message="node metal-7 does not answer"),
        True,
        {"outcome": Outcome.STOPPED, "finished_at": ago(30)},
    ),
    (
        "and one whose node died before it could be forced",
        RUNNING,
        seen(Phase.FAILED, 30, failure=Failure.NODE_LOST, message="gone"),
        True,
        {"outcome": Outcome.STOPPED, "finished_at": ago(30)},
    ),
    (
        "an end of its own is no stop, although one was asked for",
        RUNNING,
        seen(Phase.FAILED, 30, failure=Failure.OUT_OF_MEMORY, message="killed"),
        True,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.OUT_OF_MEMORY,
            "reason": "OutOfMemory",
            "message": "its process ended without a result. killed",
            "finished_at": ago(0),
        },
    ),
    (
        "one on a dead node that nobody asked for has lost its node",
        RUNNING,
        seen(Phase.STOPPED, 30, failure=Failure.NODE_LOST, message="node metal-7 does not answer"),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.NODE_LOST,
            "reason": "NodeLost",
            "message": "its process ended without a result. node metal-7 does not answer",
            "finished_at": ago(0),
        },
    ),
    (
        "a result that cannot be ours fails it once the process has ended",
        RUNNING,
        seen(Phase.SUCCEEDED, 1, rejected="forged"),
        False,
        {
            "outcome": Outcome.FAILED,
            "failure": Failure.USER,
            "reason": "ResultRejected",
            "message": "forged",
            "finished_at": ago(0),
        },
    ),
    (
        "nobody waits for ever for an attempt that is out of sight",
        OLD,
        Evidence(unknown=("runtime",)),
        False,
        {
            "outcome": Outcome.GONE,
            "failure": Failure.DEADLINE,
            "reason": "DeadlineExceeded",
            "message": "no result 600 s after the start: activeDeadlineSeconds",
            "finished_at": ago(0),
        },
    ),
    (
        "one that was never seen to start is tried again",
        OLD_RECORD,
        Evidence(unknown=("runtime",)),
        False,
        {
            "outcome": Outcome.GONE,
            "failure": Failure.DEPENDENCY,
            "reason": "RuntimeUnreachable",
            "message": "it was never seen to start",
            "finished_at": ago(0),
        },
    ),
    (
        "with the store out of sight too nothing is given up",
        OLD,
        Evidence(unknown=("runtime", "store"), unread=True),
        False,
        {},
    ),
]


@pytest.mark.parametrize(
    ("before", "evidence", "asked", "changes"), [c[1:] for c in JUDGED], ids=[c[0] for c in JUDGED]
)
def test_an_attempt_as_the_evidence_shows_it(
    before: Attempt, evidence: Evidence, asked: bool, changes: dict[str, Any]
) -> None:
    assert judged(before, evidence, Rules(POLICY, SETTINGS, NOW, asked)) == before.model_copy(update=changes)


@pytest.mark.parametrize("outcome", sorted(OVER))
def test_an_attempt_that_is_over_never_changes(outcome: Outcome) -> None:
    over = attempt(outcome, finished_at=ago(10))
    for _, _, evidence, asked, _ in JUDGED:
        assert judged(over, evidence, Rules(POLICY, SETTINGS, NOW, asked)) == over


SILENT: list[tuple[str, Attempt, Evidence, bool]] = [
    ("a fresh heartbeat is a sign of life", OLD, seen(Phase.RUNNING, progress=heartbeat(5)), False),
    ("an old one is not", OLD, seen(Phase.RUNNING, progress=heartbeat(500)), True),
    ("none since the start is not either", OLD, seen(Phase.RUNNING), True),
    ("none yet is fine", RUNNING, seen(Phase.RUNNING), False),
    ("one that waits for room owes none", OLD, seen(Phase.PENDING), False),
    ("one that waits again after its first heartbeat does", OLD, seen(Phase.PENDING, progress=heartbeat(500)), True),
    (
        "a node that does not answer shortens the patience",
        OLD,
        seen(Phase.RUNNING, progress=heartbeat(61), lost=True),
        True,
    ),
    (
        "a node that has been silent for a moment does not",
        OLD,
        seen(Phase.RUNNING, progress=heartbeat(59), lost=True),
        False,
    ),
    ("nothing is known while the store is silent", OLD, seen(Phase.RUNNING, unread=True), False),
    ("nothing is known while the runtime is silent", OLD, Evidence(), False),
    ("an attempt that was not started owes none", OLD_RECORD, seen(Phase.ABSENT), False),
]


@pytest.mark.parametrize(("one", "evidence", "expected"), [c[1:] for c in SILENT], ids=[c[0] for c in SILENT])
def test_signs_of_life(one: Attempt, evidence: Evidence, expected: bool) -> None:
    assert attempts.silent(one, evidence, Rules(POLICY, SETTINGS, NOW)) is expected


def failed(*failures: Failure) -> list[Attempt]:
    """Return failed attempts of these classes."""
    return [Attempt(number=n, outcome=Outcome.FAILED, failure=f) for n, f in enumerate(failures, 1)]


LOST, OOM = Failure.NODE_LOST, Failure.OUT_OF_MEMORY
RETRY: list[tuple[str, list[Attempt], bool]] = [
    ("the first loss is retried", failed(LOST), True),
    ("as often as allowed", failed(LOST, LOST, LOST), True),
    ("and no more", failed(LOST, LOST, LOST, LOST), False),
    ("memory once", failed(OOM), True),
    ("not twice", failed(OOM, OOM), False),
    ("memory between losses counts for itself", failed(LOST, OOM), True),
    ("a user's mistake never", failed(Failure.USER), False),
    ("bad data never", failed(Failure.DATA), False),
    ("a missed deadline never", failed(Failure.DEADLINE), False),
    ("what was stopped on request does not count", [*failed(LOST), attempt(Outcome.STOPPED), *failed(LOST)], True),
    ("a good attempt is not retried", [attempt(Outcome.SUCCEEDED)], False),
]


@pytest.mark.parametrize(("tried", "expected"), [c[1:] for c in RETRY], ids=[c[0] for c in RETRY])
def test_whether_another_attempt_follows(tried: list[Attempt], expected: bool) -> None:
    assert may_retry(tried, 3) is expected


def test_waits_grow_with_the_failures_up_to_the_cap() -> None:
    waits = [retry_delay(failed(*[LOST] * n), SETTINGS) for n in (1, 2, 3, 7, 20)]
    assert waits == [5.0, 10.0, 20.0, 300.0, 300.0]


def run(*tried: Attempt, **more: Any) -> RunStatus:
    """Return an active Run."""
    return RunStatus(name="one-1", trigger="generation", spec_digest="sha256:1", attempts=list(tried), **more)


def step(state: RunStatus, evidence: Evidence, *, stop: str | None = None, suspended: bool = False) -> Step:
    """Advance once."""
    return advance(state, evidence, Policy(3, 600, suspended), SETTINGS, NOW, stop=stop)


def test_an_attempt_is_submitted_only_when_it_is_recorded_and_proven_absent() -> None:
    assert step(run(RECORDED), seen(Phase.ABSENT)) == Step(
        run(RECORDED),
        (Submit(1),),
        reason=Reason.IN_PROGRESS,
        message="attempt 1 is being handed to the runtime",
        requeue=1.0,
    )
    assert step(run(RECORDED), Evidence(unknown=("x",))).actions == ()
    assert step(run(RUNNING), seen(Phase.ABSENT)).actions == ()


def test_a_stop_is_asked_for_then_forced_after_the_grace() -> None:
    asked = step(run(RUNNING), seen(Phase.RUNNING), stop="suspended", suspended=True)
    assert asked == Step(
        run(RUNNING, stop_requested_at=ago(0), stop_reason="suspended"),
        (RequestStop("suspended"),),
        message="stopping: suspended",
        requeue=1.0,
    )
    waiting = run(RUNNING, stop_requested_at=ago(100), stop_reason="suspended")
    assert step(waiting, seen(Phase.RUNNING), stop="suspended").actions == (RequestStop("suspended"),)
    late = run(RUNNING, stop_requested_at=ago(121), stop_reason="suspended")
    assert step(late, seen(Phase.RUNNING), stop="suspended").actions == (Kill(1),)


def test_an_attempt_that_never_started_is_stopped_without_being_submitted() -> None:
    found = step(run(RECORDED), seen(Phase.ABSENT), stop="suspended", suspended=True)
    never = RECORDED.model_copy(update={"outcome": Outcome.STOPPED, "finished_at": ago(0)})
    assert found == Step(run(never), message="suspended", requeue=0.0)


def test_a_stopped_run_waits_while_suspended_and_resumes_without_a_retry() -> None:
    stopped = run(attempt(Outcome.STOPPED), stop_requested_at=ago(50), stop_reason="suspended")
    assert step(stopped, Evidence(), stop="suspended", suspended=True).run == stopped
    resumed = step(stopped, Evidence()).run
    assert resumed == run(attempt(Outcome.STOPPED), Attempt(number=2, recorded_at=ago(0)))


def test_a_superseded_run_ends_and_stands_for_no_spec() -> None:
    found = step(run(attempt(Outcome.STOPPED)), Evidence(), stop="the spec has changed")
    ended = run(attempt(Outcome.STOPPED)).model_copy(update={"done": True, "spec_digest": None})
    assert found == Step(ended, reason=Reason.IN_PROGRESS, message="the spec has changed", requeue=0.0)


def test_a_retry_waits_then_is_recorded() -> None:
    broken = Attempt(number=1, outcome=Outcome.FAILED, failure=LOST, message="gone")
    first = step(run(broken), Evidence())
    later = rfc3339(NOW + timedelta(seconds=5))
    assert (first.run, first.requeue) == (run(broken, not_before=later), 5.0)
    assert first.run is not None
    assert step(first.run, Evidence()).run == first.run
    due = run(broken, not_before=ago(1))
    assert step(due, Evidence()).run == run(broken, Attempt(number=2, recorded_at=ago(0)))


@pytest.mark.parametrize(
    ("one", "evidence", "reason"),
    [(OVERDUE, seen(Phase.RUNNING, progress=heartbeat(1)), "DeadlineExceeded"), (OLD, seen(Phase.RUNNING), None)],
    ids=["past its deadline", "past its fence"],
)
def test_an_attempt_past_its_deadline_is_ended(one: Attempt, evidence: Evidence, reason: str | None) -> None:
    found = step(run(one), evidence)
    if reason is not None:
        assert (found.actions, found.reason) == ((Kill(1),), reason)
    else:
        assert found.run is not None
        assert (found.run.done, found.failure) == (True, Failure.DEADLINE)


def test_a_silent_attempt_is_ended() -> None:
    quiet = attempt(started_at=ago(300), recorded_at=ago(300), heartbeat_at=ago(299))
    found = step(run(quiet), seen(Phase.RUNNING))
    assert (found.actions, found.reason) == ((Kill(1),), Reason.HEARTBEAT_LOST)


def test_an_attempt_on_a_lost_node_is_ended_for_that() -> None:
    quiet = attempt(started_at=ago(300), recorded_at=ago(300))
    found = step(run(quiet), seen(Phase.RUNNING, message="node metal-7 does not answer", lost=True))
    assert (found.actions, found.reason) == ((Kill(1),), Reason.NODE_LOST)
    assert found.message == "node metal-7 does not answer; no sign of life either, stopping the attempt"
    lives = seen(Phase.RUNNING, message="node metal-7 does not answer", lost=True, progress=heartbeat(3))
    found = step(run(quiet), lives)
    assert (found.actions, found.message) == ((), "attempt 1 may be running: node metal-7 does not answer")


def test_what_falls_out_of_status_is_removed_from_the_runtime_before() -> None:
    tried = [Attempt(number=n, outcome=Outcome.STOPPED) for n in range(3, 3 + KEPT_ATTEMPTS)]
    found = step(run(*tried), Evidence())
    assert found.run is not None
    assert [a.number for a in found.run.attempts] == list(range(4, 4 + KEPT_ATTEMPTS))
    assert (found.actions, found.held) == ((Discard(3),), run(*tried))
    few = step(run(*tried[:-1]), Evidence())
    assert (few.actions, few.held) == ((), None)


def test_a_good_result_ends_the_run_and_is_handed_on() -> None:
    good = result("Succeeded")
    found = step(run(RUNNING), seen(Phase.SUCCEEDED, 1, result=good))
    assert (found.finished, found.failure, found.reason) == (good, None, Reason.SUCCEEDED)
    assert found.run is not None
    assert (found.run.done, found.run.succeeded) == (True, True)


def test_exhausted_retries_say_how_often_it_was_tried() -> None:
    found = step(run(*failed(LOST, LOST, LOST, LOST)), Evidence())
    assert (found.failure, found.reason) == (LOST, Reason.USER_ERROR)
    assert found.message.startswith("4 attempts failed, the last:")


OBSERVATIONS = st.one_of(
    st.just(Evidence(unknown=("runtime",))),
    st.just(Evidence(unknown=("runtime", "store"), unread=True)),
    st.builds(seen, st.sampled_from(Phase), st.sampled_from([None, 0, 30, 3000])),
    st.builds(
        lambda phase, outcome, failure: seen(
            phase, 1, result=result(outcome, failure=failure if outcome == "Failed" else None)
        ),
        st.sampled_from(Phase),
        st.sampled_from(["Succeeded", "Unchanged", "Stopped", "Failed"]),
        st.sampled_from(Failure),
    ),
    st.builds(lambda phase: seen(phase, 1, rejected="forged"), st.sampled_from(Phase)),
)
MOVES = st.lists(
    st.tuples(OBSERVATIONS, st.integers(0, 900), st.sampled_from([None, "suspended", "the spec has changed"])),
    max_size=25,
)


@pytest.mark.timeout(20)  # many examples on a busy machine
@settings(max_examples=60, deadline=None)
@given(MOVES, st.integers(0, 3))
def test_from_any_observations_no_attempt_follows_one_that_is_not_over(
    moves: list[tuple[Evidence, int, str | None]], retries: int
) -> None:
    now, state = NOW, run(Attempt(number=1, recorded_at=ago(0)))
    submitted: dict[int, int] = {}
    for evidence, seconds, stop in moves:
        now += timedelta(seconds=seconds)
        before, policy = state, Policy(retries, 600, stop == "suspended")
        found = advance(before, evidence, policy, SETTINGS, now, stop=stop)
        assert found.run is not None
        state = found.run
        if before.done:
            assert found == Step(before), "a finished Run never changes"
        assert all(a.outcome in OVER for a in state.attempts[:-1])
        assert len(state.attempts) <= KEPT_ATTEMPTS
        for old in before.attempts:
            new = next((a for a in state.attempts if a.number == old.number), old)
            assert old.outcome not in OVER or new == old, "an attempt that is over never changes"
        for action in found.actions:
            assert action in {Submit(before.attempts[-1].number), Kill(before.attempts[-1].number)} or isinstance(
                action, RequestStop
            ), "only the attempt that was recorded before this pass is acted upon"
            if isinstance(action, Submit):
                assert evidence.observed == Observed(Phase.ABSENT) or evidence.observed is not None
                assert evidence.observed.phase is Phase.ABSENT
                assert before.attempts[-1].outcome is Outcome.RECORDED
                submitted[action.attempt] = submitted.get(action.attempt, 0) + 1
        counted = [a for a in state.attempts if a.outcome in {Outcome.FAILED, Outcome.GONE}]
        assert len(counted) <= retries + 1


@pytest.mark.timeout(20)
@settings(max_examples=30, deadline=None)
@given(MOVES)
def test_what_is_seen_twice_is_decided_twice_alike(moves: list[tuple[Evidence, int, str | None]]) -> None:
    state = run(Attempt(number=1, recorded_at=ago(0)))
    for evidence, _, stop in moves:
        first = advance(state, evidence, POLICY, SETTINGS, NOW, stop=stop)
        assert advance(state, evidence, POLICY, SETTINGS, NOW, stop=stop) == first
        assert first.run is not None
        state = first.run
