"""Versions of an index from tables: what is promoted, kept, dropped and forgotten, and what status says meanwhile."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.meta import Condition
from gradatim.api.ragindex import IndexVersion, Promotion, RAGIndex, RAGIndexStatus
from gradatim.api.reasons import ConditionType
from gradatim.api.run import IndexOutput, RunResult, Stamp, canonical_digest
from gradatim.api.runstatus import Attempt, NamedMetric, Outcome, RunStatus
from gradatim.operator.clock import rfc3339
from gradatim.operator.conditions import find
from gradatim.operator.observing import Surrounding
from gradatim.operator.ragindex import plan as planning
from gradatim.operator.ragindex.model import Aliases, World
from gradatim.operator.ragindex.plan import IGNORED, Plan, plan
from gradatim.operator.ragindex.status import status
from gradatim.operator.ragindex.versions import HISTORY, removable, stale_in
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runs.triggers import spec_digest
from gradatim.operator.runtimes.base import Observed
from gradatim.operator.runtimes.base import Phase as RuntimePhase
from gradatim.operator.settings import RunSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GATE = {"name": "good", "metric": "ndcg@10", "threshold": {"min": 0.5}}
GATED = {"evaluation": {"questions": {"path": "file:///q"}, "gates": [GATE]}}
PROFILE = ComputeProfile.model_validate(
    {
        "metadata": {"name": "default", "uid": "p"},
        "spec": {
            "runtime": {"type": "rayCluster", "rayCluster": {"address": "http://ray", "sharedTrust": True}},
            "artifactStore": {"root": "file:///s/{namespace}/"},
            "vectorStore": {"endpoint": "http://w", "grpcEndpoint": "http://w"},
        },
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            ]
        },
    }
)


def ago(seconds: float) -> str:
    """Return the moment so many seconds before now."""
    return rfc3339(NOW - timedelta(seconds=seconds))


def version(number: int, **more: Any) -> IndexVersion:
    """Return the n-th version; it passed its gates."""
    base: dict[str, Any] = {
        "digest": canonical_digest(number),
        "label": f"v{number}",
        "collection": f"C{number}",
        "uri": f"file:///s/a/ragindex/one/u/artifacts/{number}/",
        "passed": True,
        "run": f"run-{number}",
    }
    return IndexVersion(**(base | more))


def index(**spec: Any) -> RAGIndex:
    """Return an index."""
    base = {
        "sources": [{"name": "d", "source": {"path": "file:///d"}}],
        "embedding": {"model": {"uri": "file:///m"}},
    }
    metadata = {"name": "one", "namespace": "a", "uid": "u", "generation": 1}
    return RAGIndex.model_validate({"metadata": metadata, "spec": base | spec})


def world(*history: IndexVersion, at: int | None = None, **more: Any) -> World:
    """Return an index whose last Run is done and whose alias leads to version `at`."""
    spec = more.pop("spec", {})
    obj = index(**spec)
    promoted = more.pop("promoted", at)
    seen: dict[str, Any] = {"collection": None if at is None else f"C{at}", "known": bool(history)}
    seen["pointed_at"] = frozenset() if at is None else frozenset({f"C{at}"})
    seen |= more.pop("aliases", {})
    run = more.pop("run", {})
    ended = Attempt(number=1, outcome=Outcome.SUCCEEDED, finished_at=ago(60))
    base: dict[str, Any] = {"trigger": "generation", "done": True, "succeeded": True, "attempts": [ended]}
    digest = spec_digest(obj.spec, IGNORED)
    known = RunStatus(name="run-1", spec_digest=digest, generation=1, **(base | run))
    active = next((v for v in history if at is not None and v.label == f"v{at}"), None)
    held = None
    if promoted is not None:
        held = Promotion(
            digest=canonical_digest(promoted), collection=f"C{promoted}", reason="Promoted", decided_at=ago(60)
        )
    found = RAGIndexStatus(
        history=list(history),
        active=active,
        promotion=held,
        run=known,
        versions_built=len(history),
        **more.pop("status", {}),
    )
    return World(
        index=obj,
        status=found,
        alias="Na_one",
        around=Surrounding(PROFILE, {}),
        evidence=more.pop("evidence", Evidence()),
        aliases=Aliases(**seen),
        granted=True,
        now=NOW,
    )


def finished(number: int, *, outcome: Any = "Succeeded", value: float | None = None) -> Evidence:
    """Return evidence of a Run that built version `number`."""
    output = IndexOutput(
        digest=canonical_digest(number),
        resolved_digest=canonical_digest("r"),
        uri=f"file:///s/a/ragindex/one/u/artifacts/{number}/",
        collection=f"G0123456789_{number:010d}",
        encoder_digest=canonical_digest("e"),
        documents=1,
        chunks=2,
        metrics=[] if value is None else [NamedMetric(name="ndcg@10", value=value, samples=50)],
    )
    result = RunResult(
        stamp=Stamp(uid="u", run="run-1", attempt=1, config_digest="c"),
        outcome=outcome,
        finished=ago(1),
        index=output if outcome == "Succeeded" else None,
    )
    config = planning.frozen_inputs(world(), RunStatus(name="run-1", trigger="generation"), force=False)
    return Evidence(config=config, observed=Observed(RuntimePhase.SUCCEEDED, finished_at=ago(1)), result=result)


RUNNING = {
    "done": False,
    "succeeded": False,
    "attempts": [Attempt(number=1, outcome=Outcome.RUNNING, started_at=ago(30), recorded_at=ago(30))],
}


def told(found: Plan) -> dict[str, Any]:
    """Return what a plan does to versions."""
    return {
        "versions": [
            v.label
            + ("" if v.passed else " refused")
            + (" retired" if v.retired_at else "")
            + (" dropping" if v.dropping else "")
            for v in found.history
        ],
        "wanted": found.desired.label if found.desired else None,
        "promotes": found.promotion.collection if found.promotion else None,
        "points": found.point_alias,
        "drops": [v.label for v in found.drop],
        "forgets": [v.label for v in found.forget],
    }


QUIET: dict[str, Any] = {"points": None, "drops": [], "forgets": []}
V1, V2, V3 = version(1), version(2), version(3)
OLD1 = version(1, retired_at=ago(700))
DROPPING1 = version(1, retired_at=ago(700), dropping=True)
REFUSED2 = version(2, passed=False, retired_at=ago(700))
PIN1 = {"versions": {"pin": {"digest": V1.digest}}}
CASES: list[tuple[str, World, dict[str, Any]]] = [
    ("nothing was built", world(), {"versions": [], "wanted": None, "promotes": None}),
    (
        "a steady version",
        world(V1, at=1),
        {"versions": ["v1"], "wanted": "v1", "promotes": "C1"},
    ),
    (
        "a new version is recorded before the alias moves",
        world(V2, V1, at=1),
        {"versions": ["v2", "v1"], "wanted": "v2", "promotes": "C2"},
    ),
    (
        "once it is recorded, the alias moves",
        world(V2, V1, at=1, promoted=2),
        {"versions": ["v2", "v1"], "wanted": "v2", "promotes": "C2", "points": "C2"},
    ),
    (
        "an alias that is gone is put back",
        world(V1, promoted=1, aliases={"known": True}),
        {"versions": ["v1"], "wanted": "v1", "promotes": "C1", "points": "C1"},
    ),
    (
        "a store that does not answer is left alone",
        world(V2, V1, at=1, promoted=2, aliases={"known": False}),
        {"versions": ["v2", "v1"], "wanted": "v2", "promotes": "C2"},
    ),
    (
        "the alias never moves to a collection that is not there",
        world(V2, V1, at=1, promoted=2, aliases={"present": False}, run={"trigger": "restore"}),
        {"versions": ["v2", "v1"], "wanted": "v2", "promotes": "C2"},
    ),
    (
        "versions beyond those kept are retired",
        world(V3, V2, V1, at=3),
        {"versions": ["v3", "v2", "v1 retired"], "wanted": "v3", "promotes": "C3"},
    ),
    (
        "a retired version is named for dropping after its grace",
        world(V3, V2, OLD1, at=3),
        {"versions": ["v3", "v2", "v1 retired dropping"], "wanted": "v3", "promotes": "C3"},
    ),
    (
        "and dropped once status names it so",
        world(V3, V2, DROPPING1, at=3),
        {"versions": ["v3", "v2", "v1 retired dropping"], "wanted": "v3", "promotes": "C3", "drops": ["v1"]},
    ),
    (
        "not while a Run is active that may build it again",
        world(V3, V2, DROPPING1, at=3, run=RUNNING),
        {"versions": ["v3", "v2", "v1 retired dropping"], "wanted": "v3", "promotes": "C3"},
    ),
    (
        "one that was changed in place leaves its artifact behind",
        world(V3, version(1, retired_at=ago(700), collection="C3", collection_dropped=True, dropping=True), at=3),
        {"versions": ["v3", "v1 retired dropping"], "wanted": "v3", "promotes": "C3", "drops": ["v1"]},
    ),
    (
        "not while any alias leads to it",
        world(V3, V2, OLD1, at=3, aliases={"pointed_at": frozenset({"C1", "C3"})}),
        {"versions": ["v3", "v2", "v1 retired"], "wanted": "v3", "promotes": "C3"},
    ),
    (
        "not while the wanted one does not serve yet",
        world(V3, V2, OLD1, at=2, promoted=3),
        {"versions": ["v3", "v2", "v1 retired"], "wanted": "v3", "promotes": "C3", "points": "C3"},
    ),
    (
        "not while somebody uses it",
        world(V3, V2, OLD1, at=3, status={"in_use_by": ["v1"]}),
        {"versions": ["v3", "v2", "v1"], "wanted": "v3", "promotes": "C3"},
    ),
    (
        "a refused version is dropped and never wanted",
        world(REFUSED2, V1, at=1),
        {"versions": ["v2 refused retired dropping", "v1"], "wanted": "v1", "promotes": "C1"},
    ),
    (
        "a pin brings an older version back",
        world(V2, V1, at=2, spec=PIN1),
        {"versions": ["v2", "v1"], "wanted": "v1", "promotes": "C1"},
    ),
    (
        "a pin clears the mark of a retired version",
        world(V3, V2, OLD1, at=3, spec=PIN1),
        {"versions": ["v3", "v2", "v1"], "wanted": "v1", "promotes": "C1"},
    ),
    (
        "a pin on a dropped version changes nothing",
        world(V2, version(1, retired_at=ago(700), collection_dropped=True), at=2, spec=PIN1),
        {"versions": ["v2", "v1 retired"], "wanted": None, "promotes": "C2"},
    ),
    (
        "nor does one on a version whose removal may have begun",
        world(V2, DROPPING1, at=2, spec=PIN1, aliases={"known": False}),
        {"versions": ["v2", "v1 retired dropping"], "wanted": None, "promotes": "C2"},
    ),
    (
        "a pin on a refused version changes nothing",
        world(V2, version(1, passed=False, retired_at=ago(1)), at=2, spec=PIN1),
        {"versions": ["v2", "v1 refused retired"], "wanted": None, "promotes": "C2"},
    ),
]


@pytest.mark.parametrize(("given", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_versions(given: World, expected: dict[str, Any]) -> None:
    assert told(plan(given, RunSettings())) == QUIET | expected


BUILT: list[tuple[str, World, dict[str, Any]]] = [
    (
        "a first version that passes is promoted",
        world(run=RUNNING, evidence=finished(1, value=0.8), spec=GATED),
        {"versions": ["v1"], "wanted": "v1", "promotes": "G0123456789_0000000001"},
    ),
    (
        "one that its gate refuses is not",
        world(V1, at=1, run=RUNNING, evidence=finished(2, value=0.4), spec=GATED),
        {"versions": ["v2 refused retired", "v1"], "wanted": "v1", "promotes": "C1"},
    ),
    (
        "nor one that was not measured",
        world(V1, at=1, run=RUNNING, evidence=finished(2), spec=GATED),
        {"versions": ["v2 refused retired", "v1"], "wanted": "v1", "promotes": "C1"},
    ),
    (
        "an unchanged one changes nothing",
        world(V1, at=1, run=RUNNING, evidence=finished(2, outcome="Unchanged")),
        {"versions": ["v1"], "wanted": "v1", "promotes": "C1"},
    ),
    (
        "the version that serves stays although a stricter gate refuses it now",
        world(V2, V1, at=2, run=RUNNING, evidence=finished(2, value=0.4), spec=GATED),
        {"versions": ["v2", "v1"], "wanted": "v2", "promotes": "G0123456789_0000000002"},
    ),
    (
        "a refused version that passes when it is built again is promoted under its old label",
        world(REFUSED2, V1, at=1, run=RUNNING, evidence=finished(2, value=0.9), spec=GATED),
        {"versions": ["v2", "v1"], "wanted": "v2", "promotes": "G0123456789_0000000002"},
    ),
]


@pytest.mark.parametrize(("given", "expected"), [c[1:] for c in BUILT], ids=[c[0] for c in BUILT])
def test_a_run_that_ends(given: World, expected: dict[str, Any]) -> None:
    assert told(plan(given, RunSettings())) == QUIET | expected


@pytest.mark.parametrize(
    ("expectations", "reason"),
    [
        ([{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}}], "Succeeded"),
        ([], "NotRequested"),
    ],
    ids=["still asked for", "asked for no more"],
)
def test_what_was_found_of_the_documents_stands_while_they_are_unchanged(
    expectations: list[dict[str, Any]], reason: str
) -> None:
    spec = {"validation": {"expectations": expectations}}
    ended = world(V1, at=1, run=RUNNING, evidence=finished(2, outcome="Unchanged"), spec=spec)
    checked = Condition(
        type="DataValid", status="True", reason="Succeeded", message="1 expectation", last_transition_time=ago(60)
    )
    ended = dataclasses.replace(ended, status=ended.status.model_copy(update={"conditions": [checked]}))
    said = status(ended, plan(ended, RunSettings()), RunSettings(), identity=None)
    found = find(said.conditions, ConditionType.DATA_VALID)
    assert found is not None
    assert found.reason == reason


@pytest.mark.parametrize(
    "refresh",
    [{"schedule": "0 25 * * *"}, {"schedule": "0 3 * * *", "timeZone": "Mars/X"}],
    ids=["an hour that no day has", "a time zone that is none"],
)
def test_a_schedule_that_is_none_starts_nothing_and_stops_nothing(refresh: dict[str, str]) -> None:
    ended = world(V1, at=1, run=RUNNING, evidence=finished(2), spec={"refresh": refresh})
    found = plan(ended, RunSettings())
    assert told(found)["versions"] == ["v2", "v1"]
    said = status(ended, found, RunSettings(), identity=None)
    stalled = find(said.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert (stalled.status, stalled.reason, said.next_refresh) == ("True", "InvalidSpec", None)
    assert "refresh." in stalled.message
    assert plan(world(V1, at=1, spec={"refresh": refresh}), RunSettings()).decision.start is None


def test_the_removal_of_a_version_goes_on_wherever_it_was_left() -> None:
    seen = world(V3, V2, OLD1, at=3)
    first = plan(seen, RunSettings())
    assert (first.drop, first.requeue) == ((), 0.0)
    recorded = status(seen, first, RunSettings(), identity=None)
    seen = dataclasses.replace(seen, status=recorded)
    again = plan(seen, RunSettings())
    assert [v.label for v in again.drop] == ["v1"], "until it is done, every pass drops it"
    assert status(seen, again, RunSettings(), identity=None).history[-1].dropping
    over = status(seen, again, RunSettings(), identity=None, dropped=frozenset({V1.digest}))
    assert (over.history[-1].dropping, over.history[-1].collection_dropped) == (False, True)
    seen = dataclasses.replace(seen, status=over)
    assert (plan(seen, RunSettings()).drop, plan(seen, RunSettings()).requeue) == ((), None)


def test_an_index_changed_in_place_keeps_the_old_artifact_for_its_grace_and_no_longer() -> None:
    in_place: dict[str, Any] = {"refresh": {"strategy": "inPlace"}, "versions": {"keep": 1}}
    build = finished(2)
    assert build.result is not None
    assert build.result.index is not None
    same = build.result.index.model_copy(update={"collection": "C1"})
    build = dataclasses.replace(build, result=build.result.model_copy(update={"index": same}))
    seen = world(V1, at=1, run=RUNNING, evidence=build, spec=in_place)
    first = plan(seen, RunSettings())
    assert told(first)["versions"] == ["v2", "v1 retired dropping"]
    assert (told(first)["promotes"], first.requeue) == ("C1", 600.0)
    recorded = status(seen, first, RunSettings(), identity=None)
    seen = dataclasses.replace(seen, status=recorded, evidence=Evidence())
    assert plan(seen, RunSettings()).drop == ()
    later = dataclasses.replace(seen, now=NOW + timedelta(seconds=601))
    assert [(v.label, v.collection_dropped) for v in plan(later, RunSettings()).drop] == [("v1", True)]


def test_status_forgets_what_is_gone_first_and_never_what_serves() -> None:
    def built(*gone: int) -> Plan:
        refused = [version(n, passed=False, retired_at=ago(1), collection_dropped=n in gone) for n in range(10, 1, -1)]
        bad = finished(11, value=0.1)
        return plan(world(*refused, V1, at=1, run=RUNNING, evidence=bad, spec=GATED), RunSettings())

    assert [v.label for v in built().forget] == ["v2"]
    assert [v.label for v in built(5, 7).forget] == ["v5"]
    assert len(built().history) == HISTORY
    assert built().history[-1] == V1


LOST = {"known": True, "present": False}
RESTORES: list[tuple[str, World, str | None]] = [
    ("a lost collection is built again", world(V1, promoted=1, aliases=LOST), "restore"),
    ("one that is there is not", world(V1, at=1), None),
    ("one that cannot be seen is not", world(V1, at=1, aliases={"known": False}), None),
    ("it is tried once", world(V1, promoted=1, aliases=LOST, run={"trigger": "restore"}), None),
    (
        "not while it is suspended",
        world(V1, promoted=1, aliases=LOST, spec={"suspend": True}),
        None,
    ),
]


@pytest.mark.parametrize(("given", "expected"), [c[1:] for c in RESTORES], ids=[c[0] for c in RESTORES])
def test_losses(given: World, expected: str | None) -> None:
    decision = plan(given, RunSettings()).decision
    assert (decision.trigger.cause if decision.trigger else None) == expected
    if decision.start is not None:
        assert decision.start.index_inputs is not None
        assert decision.start.index_inputs.force


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param([version(2), version(1)], False, id="nothing is retired"),
        pytest.param([version(2), version(1, retired_at=ago(599))], False, id="its grace goes on"),
        pytest.param([version(2), version(1, retired_at=ago(600))], True, id="its grace is over"),
        pytest.param(
            [version(2), version(1, retired_at=ago(900), collection_dropped=True)], False, id="its collection is gone"
        ),
        pytest.param(
            [version(n, retired_at=ago(1)) for n in range(HISTORY)], True, id="status has no room for another one"
        ),
    ],
)
def test_all_aliases_are_listed_only_where_a_version_may_go(history: list[IndexVersion], *, expected: bool) -> None:
    assert removable(history, 600, NOW) is expected


def test_staleness_counts_from_the_last_check() -> None:
    limit = {"refresh": {"maxStalenessSeconds": 3600}}
    assert stale_in(world()) is None
    assert stale_in(world(spec=limit)) is None
    assert stale_in(world(spec=limit, status={"last_checked": ago(600)})) == timedelta(seconds=3000)
    late = world(V1, at=1, spec=limit, status={"last_checked": ago(4000)})
    found = status(late, plan(late, RunSettings()), RunSettings(), identity=None)
    assert found.state == "Degraded"
    degraded = find(found.conditions, ConditionType.DEGRADED)
    assert degraded is not None
    assert (degraded.status, degraded.reason) == ("True", "Stale")


def test_active_is_what_the_alias_leads_to_and_not_what_is_wanted() -> None:
    moving = world(V2, V1, at=1, promoted=2)
    found = status(moving, plan(moving, RunSettings()), RunSettings(), identity=None)
    assert found.active == V1
    blind = world(V2, V1, at=1, promoted=2, aliases={"known": False})
    assert status(blind, plan(blind, RunSettings()), RunSettings(), identity=None).active == V1
    reconciling = find(found.conditions, ConditionType.RECONCILING)
    assert reconciling is not None
    assert (reconciling.status, reconciling.reason) == ("True", "Promoting")


def test_an_unchanged_world_gives_an_equal_status() -> None:
    steady = world(V2, V1, at=2)
    first = status(steady, plan(steady, RunSettings()), RunSettings(), identity=None)
    again = World(steady.index, first, steady.alias, steady.around, Evidence(), steady.aliases, True, NOW)
    later = World(again.index, first, again.alias, again.around, Evidence(), again.aliases, True, NOW + timedelta(9))
    for one in (again, later):
        assert status(one, plan(one, RunSettings()), RunSettings(), identity=None) == first
