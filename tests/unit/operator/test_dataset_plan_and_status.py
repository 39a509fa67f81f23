"""A Dataset from what was read: what starts, what is kept, what status says."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import Dataset, DatasetStatus, DatasetVersion
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import DatasetOutput, ResolvedDataset, RunResult, Stamp, canonical_digest
from gradatim.api.runstatus import Attempt, Failure, Outcome, RunStatus, ValidationSummary
from gradatim.operator.clock import rfc3339
from gradatim.operator.dataset.plan import HISTORY, IGNORED, World, plan, refs
from gradatim.operator.dataset.status import status
from gradatim.operator.observing import Surrounding
from gradatim.operator.runs.lifecycle import Block
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runs.triggers import spec_digest
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = "2026-01-01T00:00:00Z"
PROFILE = ComputeProfile.model_validate(
    {
        "metadata": {"name": "default", "uid": "p"},
        "spec": {
            "runtime": {"type": "rayCluster", "rayCluster": {"address": "http://ray", "sharedTrust": True}},
            "artifactStore": {"root": "file:///s/{namespace}/"},
        },
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": AT}]},
    }
)
RUNNING = Attempt(number=1, outcome=Outcome.RUNNING, started_at=rfc3339(NOW), recorded_at=rfc3339(NOW))
ENDED = Attempt(number=1, outcome=Outcome.SUCCEEDED, finished_at=AT)


def version(number: int) -> DatasetVersion:
    """Return the n-th snapshot."""
    digest = canonical_digest(number)
    return DatasetVersion(digest=digest, uri=f"file:///s/a/dataset/one/u/snapshots/{number}/", rows=number)


def world(*history: int, **more: Any) -> World:
    """Return a Dataset with those snapshots, newest first, whose last Run is done."""
    spec = {"source": {"path": "file:///d"}} | more.pop("spec", {})
    metadata = {"name": "one", "namespace": "a", "uid": "u", "generation": 1, "creationTimestamp": AT}
    dataset = Dataset.model_validate({"metadata": metadata, "spec": spec})
    digest = spec_digest(dataset.spec, IGNORED)
    run = {"done": True, "succeeded": True, "attempts": [ENDED], "spec_digest": digest} | more.pop("run", {})
    known = RunStatus(name="run-1", trigger=run.pop("trigger", "generation"), generation=1, **run)
    versions = [version(n) for n in history]
    found = DatasetStatus(history=versions, active=versions[0] if versions else None, run=known)
    around = more.pop("around", Surrounding(PROFILE, {}))
    base: dict[str, Any] = {"evidence": Evidence(), "granted": True, "now": NOW}
    return World(dataset=dataset, status=more.pop("status", found), around=around, **(base | more))


def ends(outcome: Any = "Succeeded", number: int = 9, **more: Any) -> dict[str, Any]:
    """Return what makes the active Run of a world end."""
    output = DatasetOutput(
        digest=canonical_digest(number), uri=f"file:///s/a/dataset/one/u/snapshots/{number}/", rows=9
    )
    result = RunResult(
        stamp=Stamp(uid="u", run="run-1", attempt=1, config_digest="c"),
        outcome=outcome,
        finished=rfc3339(NOW),
        dataset=output if outcome == "Succeeded" else None,
        **more,
    )
    observed = Observed(Phase.SUCCEEDED, finished_at=rfc3339(NOW))
    config = plan(world(status=DatasetStatus()), RunSettings()).decision.start
    active = {"done": False, "succeeded": False, "attempts": [RUNNING]}
    return {"run": active, "evidence": Evidence(config=config, observed=observed, result=result)}


def told(given: World) -> dict[str, tuple[str, str]]:
    """Return the conditions after a pass."""
    found = status(given, plan(given, RunSettings()), RunSettings(), identity=None)
    return {c.type: (c.status, c.reason) for c in found.conditions}


def test_a_new_dataset_starts_a_run_with_frozen_inputs() -> None:
    new = world(status=DatasetStatus(), spec={"suspend": False, "activeDeadlineSeconds": 100})
    found = plan(new, RunSettings())
    assert found.decision.start is not None
    run = found.decision.step.run
    assert run is not None
    assert (run.trigger, [a.outcome for a in run.attempts], run.config_digest) == (
        "generation",
        [Outcome.RECORDED],
        found.decision.start.digest,
    )
    assert found.decision.start.store.root == "file:///s/a/"
    assert found.decision.start.deadline_seconds == 100
    assert plan(new, RunSettings()) == found, "the same world gives the same plan"


BLOCKS: list[tuple[str, dict[str, Any], Reason | None]] = [
    ("nothing", {}, None),
    ("a missing profile", {"around": Surrounding(None, {})}, Reason.PROFILE_NOT_FOUND),
    (
        "an upstream Dataset that is not ready",
        {"around": Surrounding(PROFILE, {}, block=Block(Reason.WAITING_FOR_DATASET, "x"))},
        Reason.WAITING_FOR_DATASET,
    ),
    ("a full profile", {"granted": False}, Reason.CONCURRENCY_LIMIT),
]


@pytest.mark.parametrize(("more", "reason"), [c[1:] for c in BLOCKS], ids=[c[0] for c in BLOCKS])
def test_a_run_is_held_back_by(more: dict[str, Any], reason: Reason | None) -> None:
    decision = plan(world(status=DatasetStatus(), **more), RunSettings()).decision
    assert (decision.block.reason if decision.block else None) == reason
    assert (decision.start is None) == (reason is not None)


def test_suspended_datasets_start_nothing() -> None:
    assert plan(world(status=DatasetStatus(), spec={"suspend": True}), RunSettings()).decision.start is None


def test_references_are_found_in_order_and_once() -> None:
    twin = {"datasetRef": {"name": "eval"}}
    spec = {
        "source": {"datasetRef": {"name": "raw"}},
        "decontaminate": [{"name": "e", "source": twin}, {"name": "f", "source": twin}],
    }
    assert refs(world(spec=spec).dataset) == ["raw", "eval"]
    around = Surrounding(
        PROFILE,
        {},
        datasets=tuple(
            ResolvedDataset(name=n, digest=canonical_digest(n), uri=f"file:///{n}") for n in ("raw", "eval")
        ),
    )
    start = plan(world(status=DatasetStatus(), spec=spec, around=around), RunSettings()).decision.start
    assert start is not None
    assert [d.name for d in start.datasets] == ["raw", "eval"]


def retired(number: int, seconds: float) -> DatasetVersion:
    """Return the n-th snapshot, which was retired so long ago."""
    return version(number).model_copy(update={"retired_at": rfc3339(NOW - timedelta(seconds=seconds))})


def holding(*history: DatasetVersion, **more: Any) -> World:
    """Return a world with those snapshots."""
    found = world(*range(100, 100 + len(history)), **more)
    status = found.status.model_copy(update={"history": list(history), "active": history[0]})
    return dataclasses.replace(found, status=status)


NEW = tuple(version(n) for n in (5, 4, 3))
DAY = 86_400
KEPT: list[tuple[str, World, dict[str, Any]]] = [
    ("a new snapshot goes first", world(2, 1, **ends()), {"kept": "9 2 1"}),
    ("the oldest is retired when there are too many", world(3, 2, 1, **ends()), {"kept": "9 3 2 1r", "wait": 600}),
    ("the same content is the same snapshot", world(3, 9, 1, **ends()), {"kept": "9 3 1"}),
    ("an unchanged Run brings none", world(2, 1, **ends("Unchanged")), {"kept": "2 1"}),
    ("a failed Run brings none", world(2, 1, **ends("Failed", failure=Failure.USER)), {"kept": "2 1"}),
    ("it stays for its grace", holding(*NEW, retired(2, 500)), {"kept": "5 4 3 2r", "wait": 100}),
    ("then it goes unless it is read", holding(*NEW, retired(2, 601)), {"kept": "5 4 3", "spare": "2r"}),
    ("after a week it goes in any case", holding(*NEW, retired(2, 8 * DAY)), {"kept": "5 4 3", "drop": "2r"}),
    (
        "nothing goes while a Run may publish it again",
        holding(*NEW, retired(2, 8 * DAY), run={"done": False, "succeeded": False, "attempts": [RUNNING]}),
        {"kept": "5 4 3 2r"},
    ),
    (
        "what status has no room for goes at once",
        holding(*(version(n) for n in (19, 18, 17)), *(retired(n, 5) for n in range(16, 9, -1)), **ends(number=20)),
        {"kept": "20 19 18 17r 16r 15r 14r 13r 12r 11r", "drop": "10r", "wait": 595},
    ),
]


def named(versions: tuple[DatasetVersion, ...]) -> str:
    """Return the numbers of snapshots, r for those that are retired."""
    return " ".join(v.uri.rstrip("/").rpartition("/")[2] + ("r" if v.retired_at else "") for v in versions)


@pytest.mark.parametrize(("given", "expected"), [c[1:] for c in KEPT], ids=[c[0] for c in KEPT])
def test_snapshots(given: World, expected: dict[str, Any]) -> None:
    found = plan(given, RunSettings())
    said = {"kept": named(found.history), "drop": named(found.drop), "spare": named(found.spare), "wait": found.requeue}
    assert said == {"drop": "", "spare": "", "wait": None} | expected
    assert len(found.history) <= HISTORY


NO_CRON = {"refresh": {"schedule": "0 25 * * *"}}
GOOD = {"Ready": ("True", "Succeeded"), "Current": ("True", "Succeeded"), "Stalled": ("False", "Succeeded")}
BAD = ValidationSummary(success=False, evaluated=2, failed=1, rows=10, rejected=3)
SAYS: list[tuple[str, World, dict[str, tuple[str, str]]]] = [
    ("a finished Run", world(**ends()), GOOD | {"SourcesResolved": ("True", "Succeeded")}),
    (
        "a finished Run beside a schedule that is none",
        world(**ends(), spec=NO_CRON),
        GOOD | {"Stalled": ("True", "InvalidSpec"), "Reconciling": ("False", "Succeeded")},
    ),
    (
        "a first Run beside one",
        world(run={"done": False, "succeeded": False, "attempts": [RUNNING]}, spec=NO_CRON),
        {"Stalled": ("True", "InvalidSpec"), "Ready": ("Unknown", "InProgress")},
    ),
    (
        "bad data with an older snapshot",
        world(1, **ends("Failed", failure=Failure.DATA, reason="DataInvalid", validation=BAD)),
        {
            "Ready": ("True", "Succeeded"),
            "Current": ("False", "DataInvalid"),
            "Stalled": ("True", "DataInvalid"),
            "DataValid": ("False", "DataInvalid"),
        },
    ),
    (
        "bad data without one",
        world(**ends("Failed", failure=Failure.DATA, reason="DataInvalid")),
        {"Ready": ("False", "DataInvalid"), "Stalled": ("True", "DataInvalid")},
    ),
    (
        "a source that cannot be reached",
        world(1, **ends("Failed", failure=Failure.USER, reason="SourceUnreachable")),
        {"SourcesResolved": ("False", "SourceUnreachable"), "Current": ("False", "SourceUnreachable")},
    ),
]


@pytest.mark.parametrize(("given", "expected"), [c[1:] for c in SAYS], ids=[c[0] for c in SAYS])
def test_the_conditions_after(given: World, expected: dict[str, tuple[str, str]]) -> None:
    found = told(given)
    assert {k: found[k] for k in expected} == expected


@pytest.mark.parametrize(
    "refresh",
    [{"schedule": "0 25 * * *"}, {"schedule": "0 3 * * *", "timeZone": "Mars/X"}],
    ids=["an hour that no day has", "a time zone that is none"],
)
def test_a_schedule_that_is_none_starts_nothing_and_stops_nothing(refresh: dict[str, str]) -> None:
    idle = plan(world(1, spec={"refresh": refresh}), RunSettings())
    assert (idle.decision.start, idle.next_refresh) == (None, None)
    assert idle.schedule_problem is not None
    ended = plan(world(1, **ends(), spec={"refresh": refresh}), RunSettings())
    assert ended.new is not None
    asked = plan(world(status=DatasetStatus(), spec={"refresh": refresh}), RunSettings())
    assert asked.decision.start is not None


def test_inputs_that_do_not_fit_into_the_run_contract_hold_a_run_back_and_stop_no_other() -> None:
    root = PROFILE.spec.artifact_store.model_copy(update={"root": "file:///" + "d" * 1000 + "/{namespace}/"})
    odd = PROFILE.model_copy(update={"spec": PROFILE.spec.model_copy(update={"artifact_store": root})})
    metadata = {"name": "one", "namespace": "n" * 63, "uid": "u", "generation": 1, "creationTimestamp": AT}
    new = world(status=DatasetStatus(), around=Surrounding(odd, {}))
    new = dataclasses.replace(
        new, dataset=Dataset.model_validate({"metadata": metadata, "spec": new.dataset.spec.to_manifest()})
    )
    found = plan(new, RunSettings())
    assert (found.decision.start, found.decision.step.run) == (None, None)
    assert found.decision.block is not None
    assert (found.decision.block.reason, found.decision.block.stalled) == (Reason.INVALID_SPEC, True)
    assert "root" in found.decision.block.message
    assert "pydantic" not in found.decision.block.message
    unread = plan(world(status=DatasetStatus(), spec={"source": {"datasetRef": {"name": "gone"}}}), RunSettings())
    assert unread.decision.block is not None
    assert "gone" in unread.decision.block.message


def test_a_failure_is_remembered_until_the_next_run_and_changes_nothing_meanwhile() -> None:
    first = world(1, **ends("Failed", failure=Failure.DATA, reason="DataInvalid"))
    written = status(first, plan(first, RunSettings()), RunSettings(), identity=None)
    again = world(status=written, now=NOW + timedelta(hours=1))
    assert status(again, plan(again, RunSettings()), RunSettings(), identity=None) == written


def test_every_condition_is_set_at_first_sight() -> None:
    held = world(status=DatasetStatus(), around=Surrounding(None, {}))
    kinds = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.SUSPENDED}
    kinds |= {ConditionType.CURRENT, ConditionType.SOURCES_RESOLVED, ConditionType.DATA_VALID}
    assert set(told(held)) == {k.value for k in kinds}
