"""Kueue's Workload in our conditions: its name, its reasons, its place, and what a wait means for an attempt's deadlines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.runstatus import Attempt, Failure, Outcome, RunStatus
from gradatim.operator.clock import rfc3339
from gradatim.operator.conditions import merged
from gradatim.operator.jobstatus import queueing as shown
from gradatim.operator.runs import waiting
from gradatim.operator.runs.attempts import Rules, judged, past_deadline, silent
from gradatim.operator.runs.engine import advance
from gradatim.operator.runs.model import Evidence, Kill, Policy, RequestStop
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.runtimes.kueue import place_in, queueing, unseen, workload_name
from gradatim.operator.runtimes.queueing import Queueing, Said
from gradatim.operator.settings import RunSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = RunSettings(queue_deadline=1000.0)
POLICY = Policy(max_retries=3, deadline=600)
WAITS, GOES = unseen("team-a", suspended=True), unseen("team-a", suspended=False)
IN_QUEUE, STARTING = Observed(Phase.PENDING, queueing=WAITS), Observed(Phase.PENDING, queueing=GOES)
NEVER = Said(False, "NotEvicted")


def ago(seconds: float) -> str:
    """Return the moment so many seconds before now."""
    return rfc3339(NOW - timedelta(seconds=seconds))


def workload(*conditions: tuple[str, str, str, str], active: bool = True) -> dict[str, Any]:
    """Return a Workload with conditions (type, status, reason, message)."""
    names = ("type", "status", "reason", "message")
    return {
        "spec": {"active": active},
        "status": {"conditions": [dict(zip(names, c, strict=True)) for c in conditions]},
    }


@pytest.mark.parametrize(
    ("job", "uid", "limit", "name"),
    [
        ("papers-0123456789-a1", "5f0a7e3c-0000-4000-8000-000000000001", 253, "rayjob-papers-0123456789-a1-63f57"),
        ("a" * 47, "5f0a7e3c-0000-4000-8000-000000000002", 253, f"rayjob-{'a' * 47}-c8bf7"),
        ("a" * 47, "5f0a7e3c-0000-4000-8000-000000000002", 63, f"rayjob-{'a' * 47}-c8bf7"),
    ],
    ids=["a usual name", "our longest name", "our longest name with short Workload names"],
)
def test_the_workload_is_named_as_kueue_names_it(job: str, uid: str, limit: int, name: str) -> None:
    assert workload_name(job, uid, limit) == name


ROWS: list[tuple[str, dict[str, Any], int | None, Queueing]] = [
    (
        "nothing decided yet",
        workload(),
        None,
        Queueing("q", Said(True, "Pending"), Said(False, "Pending"), NEVER),
    ),
    (
        "no quota, third in line",
        workload(("QuotaReserved", "False", "Pending", "insufficient quota for cpu")),
        2,
        Queueing("q", Said(True, "Pending", "place 3, insufficient quota for cpu"), Said(False, "Pending"), NEVER),
    ),
    (
        "far behind, the place is coarse",
        workload(("QuotaReserved", "False", "Pending", "")),
        1234,
        Queueing("q", Said(True, "Pending", "more than 1000 before it"), Said(False, "Pending"), NEVER),
    ),
    (
        "quota, but a check is open",
        workload(("QuotaReserved", "True", "QuotaReserved", ""), ("Admitted", "False", "UnsatisfiedChecks", "budget")),
        None,
        Queueing("q", Said(True, "UnsatisfiedChecks", "budget"), Said(False, "UnsatisfiedChecks", "budget"), NEVER),
    ),
    (
        "admitted",
        workload(("QuotaReserved", "True", "QuotaReserved", ""), ("Admitted", "True", "Admitted", "The workload is admitted")),
        None,
        Queueing("q", Said(False, "Admitted"), Said(True, "Admitted", "The workload is admitted"), NEVER),
    ),
    (
        "evicted by preemption",
        workload(
            ("QuotaReserved", "False", "Pending", "Preempted to accommodate a workload"),
            ("Admitted", "False", "NoReservation", "The workload has no reservation"),
            ("Evicted", "True", "Preempted", "Preempted to accommodate a workload"),
        ),
        0,
        Queueing(
            "q",
            Said(True, "Pending", "place 1, Preempted to accommodate a workload"),
            Said(False, "NoReservation", "The workload has no reservation"),
            Said(True, "Preempted", "Preempted to accommodate a workload"),
        ),
    ),
    (
        "deactivated",
        workload(("Evicted", "True", "Deactivated", "requeuing limit"), active=False),
        None,
        Queueing(
            "q",
            Said(True, "Deactivated", "Kueue has deactivated its Workload; set spec.active of it to let it go on"),
            Said(False, "Deactivated"),
            Said(True, "Deactivated", "requeuing limit"),
        ),
    ),
    (
        "a reason that is no word",
        workload(("QuotaReserved", "False", "no word!", "x\ny")),
        None,
        Queueing("q", Said(True, "Pending", "xy"), Said(False, "Pending"), NEVER),
    ),
]  # fmt: skip


def test_a_missing_workload_is_explained_by_what_kueue_needs() -> None:
    assert unseen("q", suspended=True).queued.message == (
        "Kueue has not taken it up yet; it needs the integration ray.io/rayjob"
    )
    assert unseen("q", suspended=True, priority="high").queued.message == (
        "Kueue has not taken it up yet; it needs the integration ray.io/rayjob and the WorkloadPriorityClass high"
    )
    assert unseen("q", suspended=False, priority="high") == unseen("q", suspended=False)


@pytest.mark.parametrize(("body", "place", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_a_workload_says(body: dict[str, Any], place: int | None, expected: Queueing) -> None:
    assert queueing("q", body, place) == expected


def test_a_place_is_found_by_name_and_nonsense_is_none() -> None:
    items = [{"metadata": {"name": "a"}, "positionInLocalQueue": 4}, {"metadata": {"name": "b"}}]
    assert [place_in({"items": items}, name) for name in ("a", "b", "c")] == [4, None, None]
    assert place_in({}, "a") is None


def attempt(**members: Any) -> Attempt:
    """Return a running attempt."""
    return Attempt.model_validate(
        {"number": 1, "outcome": "Running", "recordedAt": ago(300), "startedAt": ago(300)} | members
    )


def rules(seconds: float = 0.0, *, asked: bool = False) -> Rules:
    """Return the rules as they are some seconds from now."""
    return Rules(POLICY, SETTINGS, NOW + timedelta(seconds=seconds), asked)


def test_time_in_a_queue_is_not_the_attempts() -> None:
    recorded = Attempt(number=1, recorded_at=ago(10))
    queued = judged(recorded, Evidence(observed=IN_QUEUE), rules())
    assert (queued.outcome, queued.started_at, queued.waiting_since) == (Outcome.RUNNING, ago(0), ago(0))
    later = judged(queued, Evidence(observed=IN_QUEUE), rules(900))
    assert (later, past_deadline(later, rules(900))) == (queued, False)
    going = judged(later, Evidence(observed=STARTING), rules(950))
    assert (going.waiting_since, going.waited_seconds, going.resumed_at) == (None, 950, ago(-950))
    assert [past_deadline(going, rules(s)) for s in (950 + 599, 950 + 601)] == [False, True]


def test_an_eviction_is_no_failure_and_no_retry() -> None:
    running = attempt(heartbeatAt=ago(200))
    evicted = judged(running, Evidence(observed=IN_QUEUE), rules())
    assert (evicted.outcome, evicted.number, evicted.waiting_since) == (Outcome.RUNNING, 1, ago(0))
    assert not silent(evicted, Evidence(observed=IN_QUEUE), rules(500))
    back = judged(evicted, Evidence(observed=Observed(Phase.RUNNING, queueing=GOES)), rules(500))
    assert (back.outcome, back.waited_seconds) == (Outcome.RUNNING, 500)
    assert not silent(back, Evidence(observed=Observed(Phase.RUNNING, queueing=GOES)), rules(600))
    assert silent(back, Evidence(observed=Observed(Phase.RUNNING, queueing=GOES)), rules(700))


def test_what_cannot_be_seen_goes_on_as_it_was() -> None:
    queued = attempt(waitingSince=ago(100))
    assert waiting.followed(queued, None, NOW) == queued
    assert waiting.waited(queued, NOW) == 100
    assert waiting.elapsed(queued, NOW) == 200


def test_a_wait_has_a_deadline_of_its_own() -> None:
    queued = attempt(startedAt=ago(1001), waitingSince=ago(1001))
    run = RunStatus(name="r", trigger="generation", attempts=[queued])
    step = advance(run, Evidence(observed=IN_QUEUE), POLICY, SETTINGS, NOW)
    assert (step.actions, step.reason) == ((Kill(1),), Reason.DEADLINE_EXCEEDED)
    assert "waited more than 1000 s in a queue" in step.message
    gone = Observed(Phase.ABSENT, finished_at=ago(60))
    ended = judged(queued, Evidence(observed=gone), rules())
    assert (ended.outcome, ended.failure) == (Outcome.FAILED, Failure.DEADLINE)
    assert "in a queue" in (ended.message or "")


def test_one_that_waits_is_stopped_without_asking_it() -> None:
    run = RunStatus(name="r", trigger="generation", attempts=[attempt(waitingSince=ago(5))])
    asked = advance(run, Evidence(observed=IN_QUEUE), POLICY, SETTINGS, NOW, stop="suspended")
    assert asked.actions == (RequestStop("suspended"),)
    assert asked.run is not None
    killed = advance(asked.run, Evidence(observed=IN_QUEUE), POLICY, SETTINGS, NOW, stop="suspended")
    assert killed.actions == (Kill(1),)
    assert killed.run is not None
    gone = Evidence(observed=Observed(Phase.ABSENT, finished_at=ago(60)))
    stopped = advance(killed.run, gone, Policy(3, 600, suspended=True), SETTINGS, NOW, stop="suspended").run
    assert stopped is not None
    assert [a.outcome for a in stopped.attempts] == [Outcome.STOPPED]


def test_the_three_conditions_carry_kueues_own_reasons_and_end_with_the_run() -> None:
    run = RunStatus(name="r", trigger="generation", attempts=[attempt()])
    evicted = queueing("q", ROWS[5][1], 0)
    verdicts = shown(Observed(Phase.PENDING, queueing=evicted), run, [])
    found = merged([], verdicts, generation=1, now=ago(0))
    assert {c.type: (c.status, c.reason) for c in found} == {
        "Queued": ("True", "Pending"),
        "Admitted": ("False", "NoReservation"),
        "Evicted": ("True", "Preempted"),
    }
    assert shown(None, run, found) == []
    over = shown(None, run.model_copy(update={"done": True}), found)
    assert [(v.type, v.status, v.reason) for v in over] == [
        (ConditionType.QUEUED, False, "RunEnded"),
        (ConditionType.ADMITTED, False, "RunEnded"),
        (ConditionType.EVICTED, False, "RunEnded"),
    ]
    assert shown(Observed(Phase.RUNNING), run, []) == []


def test_a_process_that_reports_success_without_a_result_accuses_the_store() -> None:
    ended = Observed(Phase.SUCCEEDED, finished_at=ago(60))
    found = judged(attempt(startedAt=ago(100)), Evidence(observed=ended), rules())
    assert (found.failure, found.reason) == (Failure.DEPENDENCY, "StoreNotReadable")
    assert "same store" in (found.message or "")
    unread = judged(attempt(startedAt=ago(100)), Evidence(observed=ended, unread=True), rules())
    assert unread.outcome is Outcome.RUNNING


def test_a_running_attempt_of_which_nothing_shows_accuses_the_store() -> None:
    run = RunStatus(name="r", trigger="generation", attempts=[attempt(startedAt=ago(300))])
    step = advance(run, Evidence(observed=Observed(Phase.RUNNING)), POLICY, SETTINGS, NOW)
    assert (step.actions, step.reason) == ((Kill(1),), Reason.STORE_NOT_READABLE)
    assert step.run is not None
    gone = Evidence(observed=Observed(Phase.ABSENT, finished_at=ago(60)))
    after = advance(step.run, gone, POLICY, SETTINGS, NOW).run
    assert after is not None
    assert (after.attempts[0].failure, after.attempts[0].reason) == (Failure.DEPENDENCY, "StoreNotReadable")


def test_a_runtime_that_started_late_owes_its_first_sign_later() -> None:
    late = Observed(Phase.RUNNING, started_at=ago(30))
    assert not silent(attempt(), Evidence(observed=late), rules())
    assert silent(attempt(), Evidence(observed=late), rules(200))
