"""`versions.adoptFrom`: when it counts, which Run it starts, what status says of it, and what a forged result may claim."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.unit.operator.test_index_versions import V1, ago, index, world

from gradatim.api.ragindex import Adoption, IndexVersion, RAGIndexStatus
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import IndexOutput, RunConfig, RunResult, Stamp, canonical_digest
from gradatim.api.runstatus import Attempt, Failure, Outcome, RunStatus
from gradatim.operator.conditions import find
from gradatim.operator.ragindex.model import Aliases, World
from gradatim.operator.ragindex.plan import adopting, frozen_inputs, known_of, plan, wanted_digest
from gradatim.operator.ragindex.status import status
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings
from gradatim.operator.stores.documents import ResultRejected, parse_result

OLD, OTHER = "3f2a9c01-77de-4b7c-9d54-2f1f5a1e0c11", "b7d0c1aa-0000-4b7c-9d54-2f1f5a1e0c12"
SETTINGS = RunSettings()


def spec(uid: str | None) -> dict[str, Any]:
    return {"versions": {"adoptFrom": {"uid": uid}}} if uid is not None else {}


def held(
    *history: IndexVersion, now: str | None, given: str | None, done: bool = True, succeeded: bool = True
) -> World:
    """Return an index whose last Run was given `given`, and whose spec says `now`. With a version, it serves."""
    seen = {"adoption": Adoption(uid=given)} if given is not None else {}
    before = world(*history, at=1 if history else None, spec=spec(given), status=seen)
    run: dict[str, Any] = {"done": done, "succeeded": succeeded}
    if not done:
        run["attempts"] = [Attempt(number=1, outcome=Outcome.RUNNING, started_at=ago(30), recorded_at=ago(30))]
    found = world(*history, at=1 if history else None, spec=spec(now), status=seen, run=run)
    assert found.status.run is not None
    known = found.status.run.model_copy(update={"spec_digest": wanted_digest(before)})
    return dataclasses.replace(found, status=found.status.model_copy(update={"run": known}))


STARTS: list[tuple[str, World, str | None]] = [
    ("adding it to a built index starts nothing", held(V1, now=OLD, given=None), None),
    ("taking it away from a built index starts nothing", held(V1, now=None, given=OLD), None),
    ("changing it on a built index starts nothing", held(V1, now=OTHER, given=OLD), None),
    ("an adopted index is quiet", held(V1, now=OLD, given=OLD), None),
    ("adding it before a version serves starts a Run", held(now=OLD, given=None, succeeded=False), OLD),
    ("correcting it after a failure starts a Run", held(now=OTHER, given=OLD, succeeded=False), OTHER),
    ("a failure alone starts nothing", held(now=OLD, given=OLD, succeeded=False), None),
]


@pytest.mark.parametrize(("case", "expected"), [c[1:] for c in STARTS], ids=[c[0] for c in STARTS])
def test_runs_follow_the_field_only_until_a_version_serves(case: World, expected: str | None) -> None:
    start = plan(case, SETTINGS).decision.start
    assert (start.index_inputs.adopt_from if start and start.index_inputs else None) == expected
    assert (start is not None) == (expected is not None)


def test_removing_it_after_a_failure_builds_without_it() -> None:
    start = plan(held(now=None, given=OLD, succeeded=False), SETTINGS).decision.start
    assert start is not None
    assert start.index_inputs is not None
    assert start.index_inputs.adopt_from is None


def test_an_active_first_run_is_superseded_by_a_change_and_a_later_one_is_not() -> None:
    first = held(now=OLD, given=None, done=False)
    assert known_of(first).spec_digest != first.status.run.spec_digest  # type: ignore[union-attr]
    later = held(V1, now=OLD, given=None, done=False)
    assert known_of(later).spec_digest == later.status.run.spec_digest  # type: ignore[union-attr]


def test_its_own_uid_is_refused_before_a_run_and_ignored_afterwards() -> None:
    def own(case: World) -> World:
        metadata = case.index.metadata.model_copy(update={"uid": OLD})
        return dataclasses.replace(case, index=case.index.model_copy(update={"metadata": metadata}))

    before = own(held(now=OLD, given=None, succeeded=False))
    planned = plan(before, SETTINGS)
    assert planned.decision.start is None
    stalled = find(status(before, planned, SETTINGS, identity=None).conditions, ConditionType.STALLED)
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", Reason.INVALID_SPEC.value)
    assert "this object's own uid; name the object that is gone" in stalled.message
    after = own(held(V1, now=OLD, given=None))
    assert plan(after, SETTINGS).decision.block is None


def config_of(case: World) -> RunConfig:
    return frozen_inputs(case, RunStatus(name="run-1", trigger="generation"), force=False)


def result(config: RunConfig, **more: Any) -> RunResult:
    prefix = config.index_inputs.collection_prefix if config.index_inputs else ""
    output = {
        "digest": canonical_digest(1),
        "resolved_digest": canonical_digest("r"),
        "uri": "file:///s/a/ragindex/one/u/versions/1/",
        "collection": prefix + canonical_digest(1).removeprefix("sha256:")[:10],
        "encoder_digest": canonical_digest("e"),
        "documents": 1,
        "chunks": 7,
    }
    base = {"stamp": Stamp.of(config), "outcome": "Succeeded", "finished": ago(1), "message": ""}
    return RunResult(**(base | {"index": IndexOutput(**(output | more))}))


def running(uid: str | None, **more: Any) -> World:
    case = held(now=uid, given=uid, done=False)
    config = config_of(case)
    seen = Observed(Phase.SUCCEEDED, finished_at=ago(1))
    return dataclasses.replace(case, evidence=Evidence(config=config, observed=seen, result=result(config, **more)))


def test_status_says_what_was_adopted_and_keeps_it() -> None:
    case = running(OLD, adopted_vectors=5, embedded=2)
    found = status(case, plan(case, SETTINGS), SETTINGS, identity=None)
    assert found.adoption == Adoption(uid=OLD, run="run-1", chunks=5, embedded=2)
    built = find(found.conditions, ConditionType.BUILT)
    assert built is not None
    assert built.message == f"7 chunks, 2 embedded anew, 5 with vectors of {OLD}"
    later = held(V1, now=None, given=OLD)
    later = dataclasses.replace(later, status=later.status.model_copy(update={"adoption": found.adoption}))
    assert adopting(later) == OLD
    assert status(later, plan(later, SETTINGS), SETTINGS, identity=None).adoption == found.adoption


def test_status_names_what_is_to_be_adopted_and_forgets_it_with_the_field() -> None:
    waiting = held(now=OTHER, given=OLD, succeeded=False)
    assert status(waiting, plan(waiting, SETTINGS), SETTINGS, identity=None).adoption == Adoption(uid=OTHER)
    without = held(now=None, given=OLD, succeeded=False)
    assert status(without, plan(without, SETTINGS), SETTINGS, identity=None).adoption is None


def test_nothing_to_adopt_stalls_with_the_workloads_words() -> None:
    case = held(now=OLD, given=OLD, done=False)
    config = config_of(case)
    failed = RunResult(
        stamp=Stamp.of(config),
        outcome="Failed",
        failure=Failure.USER,
        reason=Reason.ADOPTION_FAILED.value,
        message="there is nothing to adopt",
        finished=ago(1),
    )
    seen = Observed(Phase.FAILED, finished_at=ago(1))
    case = dataclasses.replace(case, evidence=Evidence(config=config, observed=seen, result=failed))
    found = status(case, plan(case, SETTINGS), SETTINGS, identity=None)
    stalled = find(found.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert (stalled.status, stalled.reason, stalled.message) == ("True", "AdoptionFailed", "there is nothing to adopt")
    assert found.run is not None
    assert (found.run.done, len(found.run.attempts)) == (True, 1), "it is not repeated"


FORGED: list[tuple[str, str | None, int, str | None]] = [
    ("as many as it has chunks", OLD, 7, None),
    ("none without adoption", None, 0, None),
    ("more than it has chunks", OLD, 8, "index.adoptedVectors are more than this Run can have adopted"),
    ("some without adoption", None, 1, "index.adoptedVectors are more than this Run can have adopted"),
]


@pytest.mark.parametrize(("uid", "adopted", "message"), [c[1:] for c in FORGED], ids=[c[0] for c in FORGED])
def test_a_result_may_claim_to_have_adopted(uid: str | None, adopted: int, message: str | None) -> None:
    config = config_of(held(now=uid, given=uid, done=False))
    data = result(config, adopted_vectors=adopted).model_dump_json(by_alias=True).encode()
    if message is None:
        assert parse_result(data, config).index is not None
        return
    with pytest.raises(ResultRejected, match=message):
        parse_result(data, config)


def test_the_whole_way_from_the_first_pass_to_a_version_that_serves_starts_one_run() -> None:
    case = held(now=OLD, given=None)
    case = dataclasses.replace(case, status=RAGIndexStatus())

    def passed(**seen: Any) -> RAGIndexStatus:
        nonlocal case
        case = dataclasses.replace(case, **seen)
        planned = plan(case, SETTINGS)
        started.append(planned.decision.start is not None)
        found = status(case, planned, SETTINGS, identity=None)
        case = dataclasses.replace(case, status=found, evidence=Evidence())
        return found

    started: list[bool] = []
    first = passed()
    assert (first.adoption, first.run is not None) == (Adoption(uid=OLD), True)
    config = config_of(case).model_copy(update={"run": first.run.name if first.run else ""}).sealed()
    built = result(config, adopted_vectors=7)
    assert built.index is not None
    ended = Evidence(config=config, observed=Observed(Phase.SUCCEEDED, finished_at=ago(1)), result=built)
    done = passed(evidence=ended)
    assert ([v.label for v in done.history], done.active) == (["v1"], None)
    passed(aliases=Aliases(known=True, present=True))
    served = passed(aliases=Aliases(known=True, present=True, collection=built.index.collection))
    assert served.active is not None
    for uid in (OLD, OTHER, None):
        metadata = case.index.metadata
        case = dataclasses.replace(case, index=index(**spec(uid)).model_copy(update={"metadata": metadata}))
        quiet = passed()
        assert quiet.adoption == Adoption(uid=OLD, run=first.run.name if first.run else "", chunks=7, embedded=0)
    assert started == [True] + [False] * 6
