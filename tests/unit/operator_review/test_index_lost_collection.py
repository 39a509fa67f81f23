"""The collection that serves has vanished from the vector store: status says so, and it is loaded again from its artifact, whatever else is due."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.operator_review.conftest import COLLECTION, DIGEST

from gradatim.api.meta import Condition
from gradatim.api.ragindex import RAGIndexStatus
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import IndexOutput, RunResult, Stamp
from gradatim.api.runstatus import Attempt, Failure, Outcome, RunStatus
from gradatim.operator.clock import rfc3339
from gradatim.operator.conditions import find
from gradatim.operator.ragindex.model import Aliases, World
from gradatim.operator.ragindex.plan import Plan, plan
from gradatim.operator.ragindex.status import status
from gradatim.operator.runs.lifecycle import Block
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

SETTINGS = RunSettings()
LOST = Aliases(collection=None, present=False, known=True)
MINUTE_AGO, TEN_MINUTES_AGO, LONG_AGO = "2026-03-01T11:59:00Z", "2026-03-01T11:50:00Z", "2026-02-01T12:00:00Z"
OTHER = "sha256:" + "2" * 64
PIN = {"versions": {"pin": {"digest": DIGEST}}}
Make = Callable[..., World]


def after_restore(seen: World, ended: str, failure: Failure | None = None) -> RunStatus:
    """Return a finished restore."""
    assert seen.status.run is not None
    outcome = Outcome.SUCCEEDED if failure is None else Outcome.FAILED
    attempt = Attempt(number=1, outcome=outcome, failure=failure, message="why" if failure else None, finished_at=ended)
    update = {"trigger": "restore", "succeeded": failure is None, "attempts": [attempt], "created": ended}
    return seen.status.run.model_copy(update=update)


def started(seen: World) -> str | None:
    """Return why a Run starts now."""
    trigger = plan(seen, SETTINGS).decision.trigger
    return None if trigger is None else trigger.cause


@pytest.mark.parametrize(
    ("ended", "failure", "again"),
    [
        pytest.param(LONG_AGO, None, True, id="lost again long after a restore"),
        pytest.param(TEN_MINUTES_AGO, None, False, id="one that did not bring it back is not repeated at once"),
        pytest.param(TEN_MINUTES_AGO, Failure.DEPENDENCY, True, id="one that failed as the store was down is, soon"),
        pytest.param(MINUTE_AGO, Failure.DEPENDENCY, False, id="but not at once"),
        pytest.param(TEN_MINUTES_AGO, Failure.DATA, False, id="one whose artifact is damaged is repeated later"),
        pytest.param(LONG_AGO, Failure.DATA, True, id="since somebody may have brought the artifact back"),
    ],
)
@pytest.mark.parametrize("spec", [{}, PIN], ids=["", "pinned"])
def test_a_restore_is_repeated(
    world: Make, spec: dict[str, Any], ended: str, failure: Failure | None, again: bool
) -> None:
    seen = world(aliases=LOST, spec=spec, status={"run": after_restore(world(), ended, failure)})
    assert (started(seen) == "restore") is again


def test_a_version_that_is_promoted_after_a_restore_waits_for_no_pause(world: Make) -> None:
    run = after_restore(world(), TEN_MINUTES_AGO)
    assert started(world(aliases=LOST, status={"run": run})) is None
    promoted = world().status.promotion
    assert promoted is not None
    later = promoted.model_copy(update={"decided_at": MINUTE_AGO})
    assert started(world(aliases=LOST, status={"run": run, "promotion": later})) == "restore"


def test_it_is_looked_at_when_the_pause_is_over(world: Make) -> None:
    seen = world(aliases=LOST, status={"run": after_restore(world(), MINUTE_AGO)})
    waits = plan(seen, SETTINGS)
    assert (waits.decision.trigger, waits.requeue) == (None, 3540.0)
    over = dataclasses.replace(seen, now=seen.now + timedelta(seconds=3541))
    again = plan(over, SETTINGS).decision
    assert again.trigger is not None
    assert again.step.run is not None
    assert (again.trigger.cause, again.step.run.name != seen.status.run.name) == ("restore", True)  # type: ignore[union-attr]


STARTS = [
    pytest.param({}, {}, id="steady"),
    pytest.param(PIN, {}, id="pinned"),
    pytest.param({"chunking": {"maxTokens": 99}}, {}, id="the spec has changed too"),
    pytest.param({}, {"block": Block(Reason.DATASET_NOT_FOUND, "gone")}, id="a Dataset that it reads is gone"),
    pytest.param(
        {"validation": {"suiteRef": {"name": "s"}}}, {"block": Block(Reason.INVALID_SPEC, "", stalled=True)},
        id="its suite is gone",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "around"), STARTS)
def test_the_promoted_version_is_loaded_from_its_artifact(
    world: Make, spec: dict[str, Any], around: dict[str, Any]
) -> None:
    seen = world(aliases=LOST, spec=spec)
    seen = dataclasses.replace(
        seen,
        around=dataclasses.replace(seen.around, **around),
        status=seen.status.model_copy(update={"run": world().status.run}),
    )
    decision = plan(seen, SETTINGS).decision
    assert decision.start is not None
    assert decision.start.index_inputs is not None
    asked = decision.start.index_inputs.restore
    version = seen.status.history[0]
    assert asked is not None
    assert (asked.digest, asked.uri, asked.collection) == (version.digest, version.uri, version.collection)
    assert decision.step.run is not None
    assert decision.step.run.spec_digest == world().status.run.spec_digest, "so that no other spec is missed"  # type: ignore[union-attr]


def test_nothing_is_loaded_while_the_profile_is_away(world: Make) -> None:
    seen = world(aliases=LOST)
    shut = plan(dataclasses.replace(seen, around=dataclasses.replace(seen.around, profile=None)), SETTINGS).decision
    assert (shut.start, shut.block and shut.block.reason) == (None, Reason.PROFILE_NOT_FOUND)


def passes(seen: World, *evidence: Evidence | None) -> tuple[World, Plan]:
    """Let the operator look once for each piece of evidence; None for the passes without any."""
    found = plan(seen, SETTINGS)
    for one in evidence:
        seen = dataclasses.replace(seen, evidence=one or Evidence(config=seen.evidence.config))
        found = plan(seen, SETTINGS)
        new = status(seen, found, SETTINGS, identity=seen.status.store)
        config = found.decision.start or seen.evidence.config
        seen = dataclasses.replace(
            seen, status=new, evidence=Evidence(config=config), now=seen.now + timedelta(seconds=1)
        )
    return seen, found


def ended(seen: World, digest: str = DIGEST, outcome: Any = "Succeeded", **more: Any) -> Evidence:
    """Return evidence of the end of the active Run."""
    config, run = seen.evidence.config, seen.status.run
    assert config is not None
    assert run is not None
    assert config.index_inputs is not None
    collection = COLLECTION if digest == DIGEST else config.index_inputs.collection_prefix + digest[-10:]
    output = IndexOutput(
        digest=digest,
        resolved_digest=digest,
        uri=f"file:///store/team/ragindex/docs/u/versions/{digest[-4:]}",
        collection=collection,
        encoder_digest=DIGEST,
        documents=7,
        chunks=9,
    )
    stamp = Stamp(uid="u", run=run.name, attempt=1, config_digest=config.digest)
    result = RunResult(
        stamp=stamp,
        outcome=outcome,
        finished=rfc3339(seen.now),
        index=None if outcome == "Failed" else output,
        **more,
    )
    return Evidence(config=config, observed=Observed(Phase.SUCCEEDED, finished_at=rfc3339(seen.now)), result=result)


def said(found: RAGIndexStatus, kind: ConditionType) -> tuple[str, str] | None:
    """Return status and reason of a condition."""
    known = find(found.conditions, kind)
    return None if known is None else (known.status, known.reason)


def current(reason: str = "Succeeded", value: str = "True") -> list[Condition]:
    """Return the condition Current."""
    return [Condition(type="Current", status=value, reason=reason, message="x", last_transition_time=LONG_AGO)]


@pytest.mark.parametrize("outcome", ["Unchanged", "Succeeded"], ids=["", "as an earlier release says"])
@pytest.mark.parametrize("spec", [{}, PIN], ids=["", "pinned"])
@pytest.mark.parametrize(
    "known",
    [current(), current("SourceUnreachable", "False"), current("GateFailed", "False")],
    ids=["what serves is current", "the last refresh had failed", "the last refresh was refused"],
)
def test_a_loaded_version_changes_nothing_but_that_it_serves(
    world: Make, spec: dict[str, Any], known: list[Condition], outcome: str
) -> None:
    before = world().status
    assert before.run is not None
    run = before.run.model_copy(update={"trigger": "schedule", "succeeded": known[0].reason != "SourceUnreachable"})
    checked = {"last_checked": LONG_AGO, "upstream": {"papers": OTHER}, "conditions": known, "run": run}
    seen, _ = passes(world(aliases=LOST, spec=spec, status=checked), None)
    assert (started(seen), seen.status.run and seen.status.run.trigger) == (None, "restore")
    assert said(seen.status, ConditionType.READY) == ("Unknown", "Recorded")
    there = dataclasses.replace(seen, aliases=Aliases(collection=None, present=True, known=True))
    done, found = passes(there, ended(there, outcome=outcome))
    assert (done.status.history, done.status.versions_built) == (before.history, 1)
    assert found.gate_failure is None
    after, found = passes(done, None)
    assert found.point_alias == COLLECTION
    assert said(after.status, ConditionType.CURRENT) == (known[0].status, known[0].reason)
    assert said(after.status, ConditionType.SOURCES_RESOLVED) == ("Unknown", "Pending")
    assert (after.status.last_checked, after.status.upstream) == (LONG_AGO, {"papers": OTHER})
    assert started(after) is None


def test_a_spec_that_somebody_waits_for_is_tried_again_after_a_restore(world: Make) -> None:
    before = world().status
    assert before.run is not None
    failed = before.run.model_copy(update={"succeeded": False})
    seen, _ = passes(world(aliases=LOST, status={"run": failed, "conditions": current("DataInvalid", "False")}), None)
    assert seen.status.run is not None
    assert (seen.status.run.trigger, seen.status.run.spec_digest) == ("restore", None)
    there = dataclasses.replace(seen, aliases=Aliases(collection=COLLECTION, present=True, known=True))
    done, _ = passes(there, ended(there))
    assert started(done) == "generation"
    names = {r.name for r in (failed, done.status.run, plan(done, SETTINGS).decision.step.run) if r is not None}
    assert len(names) == 3, "no Run has the name of another"


def test_a_restore_and_a_spec_that_fail_do_not_take_turns(world: Make) -> None:
    before = world().status
    assert before.run is not None
    failed = before.run.model_copy(update={"succeeded": False})
    known = {"run": failed, "conditions": current("DataInvalid", "False")}
    seen, begun = world(aliases=LOST, spec={"retry": {"maxRetries": 0}}, status=known), list[str]()
    for _ in range(30):
        run = seen.status.run
        end = ended(seen, outcome="Failed", failure="Data", reason="ArtifactCorrupt") if run and not run.done else None
        begun += [cause] if (cause := started(seen)) else []
        seen, _ = passes(seen, end)
    assert begun == ["restore"]
    changed = world(spec={"retry": {"maxRetries": 0}, "chunking": {"maxTokens": 99}}).index
    metadata = changed.metadata.model_copy(update={"generation": 2})
    changed = changed.model_copy(update={"metadata": metadata})
    assert started(dataclasses.replace(seen, index=changed)) == "generation", "another spec may bring one that serves"


def test_a_spec_that_has_changed_under_a_pin_is_not_missed_after_a_restore(world: Make) -> None:
    changed = PIN | {"chunking": {"maxTokens": 99}}
    seen = world(aliases=LOST, spec=changed)
    seen = dataclasses.replace(seen, status=seen.status.model_copy(update={"run": world().status.run}))
    seen, _ = passes(seen, None)
    there = dataclasses.replace(seen, aliases=Aliases(collection=COLLECTION, present=True, known=True))
    done, _ = passes(there, None, ended(there), None)
    assert said(done.status, ConditionType.CURRENT) == ("False", "Pinned")
    assert started(done) is None
    free = world(spec={"chunking": {"maxTokens": 99}})
    assert started(dataclasses.replace(done, index=free.index)) == "generation"


def test_what_had_to_be_built_after_all_is_a_version_like_any_other(world: Make) -> None:
    gate = {"name": "g", "metric": "ndcg@10", "threshold": {"min": 0.5}}
    spec = {"evaluation": {"questions": {"path": "file:///q"}, "gates": [gate]}}
    seen, _ = passes(world(aliases=LOST, spec=spec), None)
    done, found = passes(seen, ended(seen, OTHER))
    assert [(v.label, v.passed) for v in done.status.history] == [("v2", False), ("v1", True)]
    assert said(done.status, ConditionType.READY) == ("False", Reason.ARTIFACT_CORRUPT.value)
    assert found.gate_failure is not None
    open_, _ = passes(world(aliases=LOST, spec={"evaluation": None}), None)
    done, _ = passes(open_, ended(open_, OTHER))
    assert done.status.promotion is not None
    assert done.status.promotion.digest == OTHER


@pytest.mark.parametrize(
    ("failure", "reason"),
    [("Dependency", "VectorStoreUnreachable"), ("Data", "ArtifactCorrupt")],
)
def test_a_restore_that_fails_says_why_and_goes_on(world: Make, failure: Any, reason: str) -> None:
    seen, _ = passes(
        world(aliases=LOST, spec=PIN | {"retry": {"maxRetries": 0}}, status={"conditions": current()}), None
    )
    done, _ = passes(seen, ended(seen, outcome="Failed", failure=failure, reason=reason, message="it is broken"))
    assert done.status.run is not None
    assert done.status.run.done
    stalled = find(done.status.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", "ArtifactCorrupt")
    assert "it is broken" in stalled.message
    assert said(done.status, ConditionType.CURRENT) == ("True", "Succeeded")
    assert done.status.upstream == {}


def shown(seen: World, **more: Any) -> dict[str, tuple[str, str]]:
    """Return status and reason of Ready and Stalled."""
    new = status(seen, plan(seen, SETTINGS), SETTINGS, identity=seen.status.store, **more)
    found = {t.value: find(new.conditions, t) for t in (ConditionType.READY, ConditionType.STALLED)}
    return {k: (c.status, c.reason) for k, c in found.items() if c is not None}


def test_an_index_without_its_collection_is_not_ready(world: Make) -> None:
    seen = world(aliases=LOST)
    failed = world(aliases=LOST, status={"run": after_restore(seen, MINUTE_AGO, Failure.DATA)})
    corrupt = Reason.ARTIFACT_CORRUPT.value
    assert shown(failed) == {"Ready": ("False", corrupt), "Stalled": ("True", corrupt)}
    assert shown(seen)["Ready"][0] == "Unknown", "while the restore runs"
    assert shown(world()) == {"Ready": ("True", "Succeeded"), "Stalled": ("False", "Succeeded")}
