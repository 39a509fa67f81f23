"""Status speaks of what serves: what was read of it, how old it is, what a pin holds back; and times that workloads write are bounded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.gitops_life import RunLife
from tests.unit.operator_review.conftest import DIGEST, NOW

from gradatim.api.dataset import DatasetStatus
from gradatim.api.meta import Condition
from gradatim.api.ragindex import RAGIndexStatus
from gradatim.api.reasons import ConditionType
from gradatim.api.run import IndexOutput, RunResult, Stamp
from gradatim.api.runstatus import Attempt, Failure, Outcome, ReasonCount, RunStatus, ValidationSummary
from gradatim.operator import jobstatus
from gradatim.operator.clock import rfc3339, within
from gradatim.operator.conditions import find
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import plan
from gradatim.operator.ragindex.status import status
from gradatim.operator.ragindex.versions import stale_in
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

SETTINGS = RunSettings()
Make = Callable[..., World]
OTHER = "sha256:" + "2" * 64
STALE = rfc3339(NOW - timedelta(days=2))
BEGAN = "2026-03-01T11:00:00Z"
GATED = {
    "refresh": {"schedule": "0 3 * * *", "maxStalenessSeconds": 86_400},
    "evaluation": {
        "questions": {"path": "file:///q"},
        "gates": [{"name": "g", "metric": "ndcg@10", "threshold": {"min": 0.5}}],
    },
}


def after(
    seen: World, outcome: Any = "Succeeded", digest: str = DIGEST, finished: str = "", **more: Any
) -> RAGIndexStatus:
    """Return the status after a pass that finds the active Run ended."""
    run = RunStatus(name="docs-2", trigger="schedule", generation=1, created=BEGAN, attempts=[Attempt(number=1)])
    known = seen.status.run
    assert known is not None
    collection = f"G0123456789_{digest[-10:]}"
    output = IndexOutput(
        digest=digest,
        resolved_digest=digest,
        uri="file:///store/team/ragindex/docs/u/versions/2",
        collection=collection,
        encoder_digest=DIGEST,
        documents=1,
        chunks=1,
    )
    result = RunResult(
        stamp=Stamp(uid="u", run="docs-2", attempt=1, config_digest=""),
        outcome=outcome,
        finished=finished or rfc3339(NOW),
        failure=Failure.USER if outcome == "Failed" else None,
        index=None if outcome == "Failed" else output,
        **more,
    )
    seen = dataclasses.replace(
        seen,
        status=seen.status.model_copy(update={"run": run.model_copy(update={"spec_digest": known.spec_digest})}),
        around=dataclasses.replace(seen.around, profile=None),  # the frozen inputs are not at stake
        evidence=Evidence(observed=Observed(Phase.SUCCEEDED), result=result),
    )
    return status(seen, plan(seen, SETTINGS), SETTINGS, identity=seen.status.store)


def said(found: RAGIndexStatus | DatasetStatus, kind: ConditionType) -> str:
    """Return status and reason of a condition."""
    known = find(found.conditions, kind)
    return "" if known is None else f"{known.status} {known.reason}"


CHECKS = [
    pytest.param(
        {"outcome": "Succeeded", "digest": OTHER}, {}, False, id="a version that its gate refuses is no check"
    ),
    pytest.param({"outcome": "Failed"}, {}, False, id="nor is a Run that fails"),
    pytest.param({"outcome": "Unchanged"}, {}, True, id="sources that are found unchanged are one"),
    pytest.param({"outcome": "Succeeded"}, {}, True, id="so is what serves, though its gates are stricter now"),
    pytest.param({"outcome": "Succeeded", "digest": OTHER}, {"evaluation": None}, True, id="and a version that serves"),
]


@pytest.mark.parametrize(("end", "spec", "fresh"), CHECKS)
def test_age_of_what_serves(world: Make, end: dict[str, Any], spec: dict[str, Any], fresh: bool) -> None:
    old = [
        Condition(type="Degraded", status="True", reason="Stale", message="old", last_transition_time=STALE),
    ]
    seen = world(spec=GATED | spec, status={"last_checked": STALE, "conditions": old})
    found = after(seen, **end)
    assert found.last_checked == (rfc3339(NOW) if fresh else STALE)
    assert said(found, ConditionType.DEGRADED) == ("False Succeeded" if fresh else "True Stale")


@pytest.mark.parametrize(
    ("text", "first", "expected"),
    [
        ("2026-03-01T11:59:59.25+00:00", BEGAN, "2026-03-01T11:59:59.25+00:00"),
        ("2026-03-01T12:00:01Z", BEGAN, rfc3339(NOW)),
        ("9999-12-31T23:59:59-14:00", BEGAN, rfc3339(NOW)),
        ("0001-01-01T00:00:00+14:00", BEGAN, BEGAN),
        ("0001-01-01T00:00:00+14:00", None, "0001-01-01T00:00:00+14:00"),
        ("2026-03-01T11:00:00Z", "2026-03-01T13:00:00Z", rfc3339(NOW)),
    ],
    ids=[
        "between",
        "a moment ahead",
        "the last of all days",
        "the first of all days",
        "without a beginning",
        "a clock behind",
    ],
)
def test_a_time_of_others_is_bounded(text: str, first: str | None, expected: str) -> None:
    assert within(text, first, NOW) == expected


@pytest.mark.parametrize(
    ("finished", "ended"),
    [("9999-12-31T23:59:59-14:00", rfc3339(NOW)), ("0001-01-01T00:00:00Z", BEGAN)],
    ids=["in the far future", "in the far past"],
)
@pytest.mark.parametrize("outcome", ["Succeeded", "Unchanged"])
def test_a_result_that_says_it_ended(world: Make, outcome: str, finished: str, ended: str) -> None:
    found = after(world(spec={"refresh": GATED["refresh"]}), outcome, OTHER, finished)
    assert found.run is not None
    assert (found.run.attempts[-1].finished_at, found.last_checked) == (ended, ended)
    assert [v.created for v in found.history if v.digest == OTHER] == ([ended] if outcome == "Succeeded" else [])


@pytest.mark.parametrize("kind", ["Dataset", "RAGIndex"])
def test_a_schedule_goes_on_after_a_result_from_the_future(kind: str) -> None:
    life = RunLife(kind).serving()
    life.status["run"]["attempts"][-1]["finishedAt"] = "9999-12-31T23:59:59Z"  # as an earlier release had it
    first = life.status["run"]["name"]
    life.ticked()
    assert (life.status["run"]["trigger"], life.status["run"]["name"] != first) == ("schedule", True)


def test_what_an_old_status_says_of_its_last_check_overflows_nowhere(world: Make) -> None:
    for text, left in (("9999-12-31T23:59:59-14:00", 86_400.0), ("0001-01-01T00:00:00+14:00", -6e10)):
        found = stale_in(world(spec=GATED, status={"last_checked": text}))
        assert found is not None
        assert found.total_seconds() == pytest.approx(left, rel=0.1)


REJECTED = [ReasonCount(name="Unreadable", count=3)]


def test_what_was_rejected_in_what_serves_stays_while_it_is_unchanged(world: Make) -> None:
    seen = world(status={"rejections": REJECTED})
    assert after(seen, "Unchanged").rejections == REJECTED
    assert after(seen, "Succeeded", OTHER).rejections == []
    assert after(seen, "Failed", rejections=[ReasonCount(name="x", count=1)]).rejections == REJECTED


@pytest.mark.parametrize(
    ("outcome", "validation", "kept"),
    [("Unchanged", None, True), ("Unchanged", ValidationSummary(), False), ("Succeeded", None, False)],
    ids=["nothing was read", "the same rows were read anew", "others were read"],
)
def test_rejections_of_a_dataset(outcome: Any, validation: ValidationSummary | None, kept: bool) -> None:
    stamp = Stamp(uid="u", run="r", attempt=1, config_digest="")
    result = RunResult(stamp=stamp, outcome=outcome, finished=BEGAN, validation=validation)
    assert jobstatus.rejections(result, REJECTED) == (REJECTED if kept else [])


def test_what_a_dataset_has_brought_is_taken_for_what_a_failed_run_was_given_until_something_changes(
    world: Make,
) -> None:
    around = {"upstream": {"papers": OTHER}}
    seen = world(spec={"refresh": {"onChange": True, "schedule": "0 * * * *"}})
    seen = dataclasses.replace(seen, around=dataclasses.replace(seen.around, **around))
    failed = Attempt(number=1, outcome=Outcome.FAILED, failure=Failure.DEPENDENCY, finished_at=rfc3339(NOW))
    assert seen.status.run is not None
    run = seen.status.run.model_copy(update={"trigger": "upstream", "succeeded": False, "attempts": [failed]})
    given = seen.status.model_copy(update={"run": run, "upstream": {"papers": OTHER}})

    def due(**more: Any) -> str | None:
        trigger = plan(dataclasses.replace(seen, status=given, **more), SETTINGS).decision.trigger
        return None if trigger is None else trigger.cause

    assert due() is None
    assert due(now=NOW + timedelta(hours=1)) == "schedule"
    assert due(around=dataclasses.replace(seen.around, upstream={"papers": DIGEST})) == "upstream"


def pinned(life: RunLife, number: int) -> RunLife:
    """Pin the version built as that number, and let the operator look."""
    digest = next(v["digest"] for v in life.status["history"] if v["label"] == f"v{number}")
    return life.changed(versions={"pin": {"digest": digest}}).passed().passed().passed()


def shown(life: RunLife) -> dict[str, str]:
    """Return status and reason of the conditions that a pin is about."""
    found = {c["type"]: f"{c['status']} {c['reason']}" for c in life.status["conditions"]}
    return {name: found[name] for name in ("Ready", "Current", "Stalled", "Reconciling")}


CALM = {"Ready": "True Succeeded", "Stalled": "False Succeeded", "Reconciling": "False Succeeded"}


def test_a_pin_is_current_until_something_newer_is_held_back() -> None:
    life = pinned(RunLife("RAGIndex").serving(), 1)
    assert shown(life) == CALM | {"Current": "True Succeeded"}
    life.changed(chunking={"maxTokens": 128}).passed()
    assert shown(life) == CALM | {"Current": "False Pinned"}
    assert life.status["reasonText"] == "Pinned"
    before = dict(life.status)
    assert life.passed().status == before
    life.changed(chunking={}).passed()
    assert shown(life) == CALM | {"Current": "True Succeeded"}


def test_a_pin_on_an_older_version_is_not_current_and_its_end_is() -> None:
    life = RunLife("RAGIndex").serving().ticked().succeeded()
    assert [v["label"] for v in life.status["history"]] == ["v2", "v1"]
    assert shown(pinned(life, 1)) == CALM | {"Current": "False Pinned"}
    life.changed(versions={}).passed().passed().passed()
    assert shown(life) == CALM | {"Current": "True Succeeded"}
    assert life.status["run"]["trigger"] == "schedule", "nothing was started for it"


def test_a_failure_is_not_hidden_by_a_pin_and_not_taken_for_one() -> None:
    life = pinned(RunLife("RAGIndex").serving().changed(chunking={"maxTokens": 128}).running().succeeded(0.1), 1)
    assert shown(life)["Current"] == "False GateFailed"
    life.changed(versions={}).passed()
    assert shown(life)["Current"] == "False GateFailed"
