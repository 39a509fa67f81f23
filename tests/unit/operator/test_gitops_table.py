"""One meaning of status for GitOps tools: every row of the table in the API documentation, and the flat state."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gradatim.api.meta import Condition, State
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.runstatus import Attempt, Outcome, Progress, RunStatus
from gradatim.operator import jobstatus
from gradatim.operator.conditions import Verdict, find, is_true, merged, reason_of
from gradatim.operator.events import body_of, changes
from gradatim.operator.jobstatus import Facts
from gradatim.operator.runs.lifecycle import Block, Decision
from gradatim.operator.runs.model import Step

C = ConditionType
GATE = (Reason.GATE_FAILED, "ndcg@10 is 0.4, misses min 0.5 by 0.1")
UNREACHABLE: dict[str, Any] = {
    "unknown": ("Weaviate answered with status 500",),
    "unknown_reason": Reason.VECTOR_STORE_UNREACHABLE,
}


def run(trigger: str = "generation", *, done: bool = True, succeeded: bool = True) -> RunStatus:
    """Return a Run."""
    return RunStatus(name="one-1", trigger=trigger, done=done, succeeded=done and succeeded)


def facts(state: RunStatus | None, *, serving: bool = True, **more: Any) -> Facts:
    """Return facts about an object with that Run."""
    decision = Decision(
        Step(run=state, reason=Reason.IN_PROGRESS, message="attempt 1 is running"),
        block=more.pop("block", None),
        behind=more.pop("behind", False),
    )
    base: dict[str, Any] = {"suspended": False, "failed": None}
    return Facts(decision=decision, serving=serving, serving_message="v1", **(base | more))


def told(found: list[Verdict]) -> dict[str, str]:
    """Return each condition as `status/reason`."""
    return {v.type.value: f"{'Unknown' if v.status is None else v.status}/{v.reason.value}" for v in found}


CALM = {"Reconciling": "False/Succeeded", "Stalled": "False/Succeeded", "Suspended": "False/NotSuspended"}
OK = {"Ready": "True/Succeeded"}
NARROW = Block(Reason.CONCURRENCY_LIMIT, "full")
ABSENT = Block(Reason.PROFILE_NOT_ALLOWED, "not for you", stalled=True)
ROWS: list[tuple[str, Facts, dict[str, str]]] = [
    ("steady", facts(run()), CALM | OK | {"Current": "True/Succeeded"}),
    (
        "new generation in progress, old one serving",
        facts(run(done=False)),
        CALM | OK | {"Reconciling": "True/InProgress", "Current": "False/InProgress"},
    ),
    (
        "new generation while a scheduled refresh of the old one ends",
        facts(run("schedule", done=False), behind=True),
        CALM | OK | {"Reconciling": "True/InProgress"},
    ),
    (
        "new generation between the end of the old Run and its own",
        facts(run(succeeded=False), behind=True),
        CALM | OK | {"Reconciling": "True/InProgress"},
    ),
    (
        "gate failed for this generation",
        facts(run(), failed=GATE),
        CALM | OK | {"Stalled": "True/GateFailed", "Current": "False/GateFailed"},
    ),
    ("scheduled refresh running", facts(run("schedule", done=False)), CALM | OK),
    ("upstream refresh running", facts(run("upstream", done=False)), CALM | OK),
    (
        "scheduled refresh failed",
        facts(run("schedule", succeeded=False), failed=(Reason.SOURCE_UNREACHABLE, "gone")),
        CALM | OK | {"Current": "False/SourceUnreachable"},
    ),
    (
        "gate failed for a scheduled refresh",
        facts(run("schedule"), failed=GATE),
        CALM | OK | {"Current": "False/GateFailed"},
    ),
    (
        "dependency unreachable",
        facts(run(), **UNREACHABLE),
        CALM | OK | {"Reconciling": "True/VectorStoreUnreachable", "Current": "True/Succeeded"},
    ),
    (
        "dependency unreachable past its deadline",
        facts(run(), **UNREACHABLE, overdue=True),
        CALM | OK | {"Stalled": "True/VectorStoreUnreachable", "Current": "True/Succeeded"},
    ),
    (
        "suspended",
        facts(run(), suspended=True),
        CALM | OK | {"Suspended": "True/Suspended", "Current": "True/Succeeded"},
    ),
    (
        "suspended with a Run of this generation stopped",
        facts(run(done=False), suspended=True),
        CALM | OK | {"Suspended": "True/Suspended", "Current": "False/InProgress"},
    ),
    (
        "suspended with a dependency unreachable",
        facts(run(), suspended=True, **UNREACHABLE, overdue=True),
        CALM | OK | {"Suspended": "True/Suspended", "Current": "True/Succeeded"},
    ),
    (
        "the first Run in progress",
        facts(run(done=False), serving=False),
        CALM | {"Reconciling": "True/InProgress", "Ready": "Unknown/InProgress", "Current": "Unknown/InProgress"},
    ),
    (
        "the first Run failed",
        facts(run(succeeded=False), serving=False, failed=(Reason.DATA_INVALID, "row 3")),
        CALM | {"Stalled": "True/DataInvalid", "Ready": "False/DataInvalid", "Current": "False/DataInvalid"},
    ),
    (
        "waiting for a slot",
        facts(None, serving=False, block=NARROW),
        CALM
        | {"Reconciling": "True/ConcurrencyLimit", "Ready": "False/ConcurrencyLimit"}
        | {"Current": "Unknown/ConcurrencyLimit"},
    ),
    (
        "somebody has to act",
        facts(None, serving=False, block=ABSENT),
        CALM
        | {"Stalled": "True/ProfileNotAllowed", "Ready": "False/ProfileNotAllowed"}
        | {"Current": "Unknown/ProfileNotAllowed"},
    ),
    (
        "something to put right beside a Run of this generation",
        facts(run(done=False), beside=(Reason.INVALID_SPEC, "no cron line")),
        CALM | OK | {"Stalled": "True/InvalidSpec", "Current": "False/InProgress"},
    ),
    (
        "something to put right beside the first Run",
        facts(run(done=False), serving=False, beside=(Reason.INVALID_SPEC, "no cron line")),
        CALM | {"Stalled": "True/InvalidSpec", "Ready": "Unknown/InProgress", "Current": "Unknown/InProgress"},
    ),
    (
        "suspended before the first Run",
        facts(None, serving=False, suspended=True, behind=True),
        CALM | {"Suspended": "True/Suspended", "Ready": "False/Suspended"},
    ),
]


@pytest.mark.parametrize(("given", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_the_conditions_of(given: Facts, expected: dict[str, str]) -> None:
    found = told(jobstatus.common(given, []))
    assert found == expected
    assert not (found["Reconciling"].startswith("True") and found["Stalled"].startswith("True"))


PASSES: list[tuple[str, list[bool], Condition | None, list[str]]] = [
    ("never suspended", [False, False], None, ["False/NotSuspended", "False/NotSuspended"]),
    (
        "suspended and resumed",
        [False, True, False, False],
        None,
        ["False/NotSuspended", "True/Suspended", "False/Resumed", "False/Resumed"],
    ),
    ("suspended from the start", [True, False], None, ["True/Suspended", "False/Resumed"]),
    (
        "called resumed by an earlier release, which an upgrade does not rewrite",
        [False, False],
        Condition(type="Suspended", status="False", reason="Resumed", last_transition_time="2026-01-01T00:00:00Z"),
        ["False/Resumed", "False/Resumed"],
    ),
]


@pytest.mark.parametrize(("passes", "first", "expected"), [r[1:] for r in PASSES], ids=[r[0] for r in PASSES])
def test_suspended_of_an_object(passes: list[bool], first: Condition | None, expected: list[str]) -> None:
    known, found = [] if first is None else [first], []
    for suspended in passes:
        verdicts = jobstatus.common(facts(run(), suspended=suspended), known)
        known = merged(known, verdicts, generation=1, now="2026-03-01T00:00:00Z")
        found.append(told(verdicts)["Suspended"])
    assert found == expected


STATES: list[tuple[str, Facts, bool, State]] = [
    ("serving", facts(run()), False, State.READY),
    ("serving what is too old", facts(run()), True, State.DEGRADED),
    ("building the first version", facts(run(done=False), serving=False), False, State.RUNNING),
    ("building the next version", facts(run(done=False)), False, State.READY),
    ("suspended", facts(run(), suspended=True), False, State.SUSPENDED),
    ("waiting for a slot", facts(None, serving=False, block=NARROW), False, State.QUEUED),
    ("waiting for a person", facts(None, serving=False, block=ABSENT), False, State.FAILED),
    (
        "failed",
        facts(run(succeeded=False), serving=False, failed=(Reason.USER_ERROR, "")),
        False,
        State.FAILED,
    ),
]


@pytest.mark.parametrize(("given", "degraded", "expected"), [r[1:] for r in STATES], ids=[r[0] for r in STATES])
def test_the_flat_state_while(given: Facts, degraded: bool, expected: State) -> None:
    assert jobstatus.state(jobstatus.common(given, []), given.decision.step.run, degraded=degraded) is expected


def progress(percent: int, stage: str = "Load") -> Progress:
    """Return progress in a stage."""
    return Progress(stage=stage, percent=percent)


THROTTLED: list[tuple[str, Progress | None, Progress | None, float, Progress | None]] = [
    ("the first is written", None, progress(1), 0, progress(1)),
    ("a new stage is written", progress(1), progress(1, "Eval"), 0, progress(1, "Eval")),
    ("little more is not", progress(10), progress(14), 99, progress(10)),
    ("much more too early is not", progress(10), progress(60), 29, progress(10)),
    ("much more after the interval is", progress(10), progress(15), 30, progress(15)),
    ("none any more is written", progress(10), None, 0, None),
]


@pytest.mark.parametrize(
    ("old", "new", "seconds", "expected"), [r[1:] for r in THROTTLED], ids=[r[0] for r in THROTTLED]
)
def test_progress(old: Progress | None, new: Progress | None, seconds: float, expected: Progress | None) -> None:
    assert jobstatus.throttled(old, new, seconds=seconds, interval=30) == expected


TEXTS: list[tuple[str, Progress | None, RunStatus | None, str | None]] = [
    ("nothing ran", None, None, None),
    ("stage and percent", progress(40), run(done=False), "Load 40%"),
    (
        "an attempt without progress",
        None,
        run(done=False).model_copy(update={"attempts": [Attempt(number=1)]}),
        "Recorded",
    ),
    (
        "how it ended",
        None,
        run().model_copy(update={"attempts": [Attempt(number=1, outcome=Outcome.UNCHANGED)]}),
        "Unchanged",
    ),
    ("that it failed", None, run(succeeded=False), "Failed"),
]


@pytest.mark.parametrize(("at", "state", "expected"), [r[1:] for r in TEXTS], ids=[r[0] for r in TEXTS])
def test_the_progress_column_shows(at: Progress | None, state: RunStatus | None, expected: str | None) -> None:
    assert jobstatus.text(at, state) == expected


THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def condition(kind: str, status: str, reason: str = "Succeeded", when: str = THEN) -> Condition:
    """Return a condition."""
    return Condition(type=kind, status=status, reason=reason, last_transition_time=when, observed_generation=1)


def test_a_transition_time_moves_with_the_status_alone() -> None:
    known = [condition("Ready", "True"), condition("Foreign", "True")]
    same = merged(known, [Verdict(C.READY, True, Reason.PROMOTED, "v2")], generation=2, now=NOW)
    assert [(c.type, c.status, c.reason, c.last_transition_time, c.observed_generation) for c in same] == [
        ("Ready", "True", "Promoted", THEN, 2),
        ("Foreign", "True", "Succeeded", THEN, 1),
    ]
    other = merged(known, [Verdict(C.READY, None, Reason.PENDING)], generation=2, now=NOW)
    assert (other[0].status, other[0].last_transition_time) == ("Unknown", NOW)
    assert merged(same, [Verdict(C.READY, True, Reason.PROMOTED, "v2")], generation=2, now="later") == same


def test_a_message_is_cut_and_an_unknown_reason_replaced() -> None:
    found = merged([], [Verdict(C.STALLED, True, Reason.USER_ERROR, "x" * 5000)], generation=1, now=NOW)
    assert (len(found[0].message), found[0].message[-1]) == (1024, "…")
    assert reason_of("Nonsense", Reason.USER_ERROR) is Reason.USER_ERROR
    assert reason_of("GateFailed", Reason.USER_ERROR) is Reason.GATE_FAILED
    assert reason_of(None, Reason.USER_ERROR) is Reason.USER_ERROR
    assert (find(found, C.STALLED), find(found, C.READY)) == (found[0], None)
    assert (is_true(found, C.STALLED), is_true(found, C.READY)) == (True, False)


TOLD: list[tuple[str, list[Condition], list[Condition], list[str]]] = [
    ("a first Unknown is not worth an event", [], [condition("Ready", "Unknown")], []),
    ("a first False is, of Ready alone", [], [condition("Ready", "False"), condition("Stalled", "False")], ["Ready"]),
    ("the first good news is", [condition("Ready", "Unknown")], [condition("Ready", "True")], ["Ready"]),
    ("the same again is not", [condition("Ready", "True")], [condition("Ready", "True", when=NOW)], []),
    (
        "another reason is",
        [condition("Stalled", "True", "DataInvalid")],
        [condition("Stalled", "True", "GateFailed")],
        ["Stalled"],
    ),
    (
        "being behind while a Run is under way is not",
        [condition("Current", "True")],
        [condition("Current", "False", "InProgress")],
        [],
    ),
    (
        "what several conditions say for one reason is told once, by the most specific",
        [condition(c, "Unknown", "Pending") for c in ("Ready", "Stalled", "Evaluated", "DataValid")],
        [condition(c, s, "GateFailed") for c, s in (("Ready", "False"), ("Stalled", "True"), ("Evaluated", "False"))]
        + [condition("DataValid", "False", "DataInvalid")],
        ["DataValid", "Evaluated"],
    ),
    ("what nobody asked for is not", [], [condition("DataValid", "True", "NotRequested")], []),
    ("conditions of progress are not", [], [condition("Reconciling", "True")], []),
    ("being suspended is", [], [condition("Suspended", "True")], ["Suspended"]),
    ("not being suspended is not, at first", [], [condition("Suspended", "False", "NotSuspended")], []),
    ("being resumed is", [condition("Suspended", "True")], [condition("Suspended", "False", "Resumed")], ["Suspended"]),
]


@pytest.mark.parametrize(("old", "new", "expected"), [r[1:] for r in TOLD], ids=[r[0] for r in TOLD])
def test_events(old: list[Condition], new: list[Condition], expected: list[str]) -> None:
    assert [c.type for c in changes(old, new)] == expected


def test_the_same_event_has_the_same_name_and_bad_news_is_a_warning() -> None:
    about = {"kind": "Dataset", "metadata": {"name": "one", "uid": "u", "namespace": "a", "resourceVersion": "7"}}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    bad = body_of(about, condition("Stalled", "True", "DataInvalid"), now)
    assert (
        bad["metadata"]["name"] == body_of(about, condition("Stalled", "True", "DataInvalid"), now)["metadata"]["name"]
    )
    kinds = {
        "bad": bad["type"],
        "good": body_of(about, condition("Ready", "True"), now)["type"],
        "waiting": body_of(about, condition("Ready", "False", "ConcurrencyLimit"), now)["type"],
        "pinned": body_of(about, condition("Current", "False", "Pinned"), now)["type"],
    }
    assert kinds == {"bad": "Warning", "good": "Normal", "waiting": "Normal", "pinned": "Normal"}
