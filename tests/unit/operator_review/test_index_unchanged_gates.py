"""A Run that built nothing is judged by the gates of now: what was measured once may not suffice any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from gradatim.api.reasons import ConditionType
from gradatim.api.run import IndexOutput, RunResult, Stamp
from gradatim.api.runstatus import Attempt, RunStatus
from gradatim.operator.conditions import find
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import plan
from gradatim.operator.ragindex.status import status
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

SETTINGS = RunSettings()


def gate(least: float) -> dict[str, Any]:
    """Return an evaluation with one gate."""
    bound = {"name": "quality", "metric": "ndcg@10", "threshold": {"min": least}}
    return {"evaluation": {"questions": {"path": "file:///q.jsonl"}, "gates": [bound]}}


@pytest.mark.parametrize(
    ("least", "current", "stalled"),
    [
        pytest.param(0.5, ("True", "Succeeded"), "False", id="a gate that holds"),
        pytest.param(0.9, ("False", "GateFailed"), "True", id="a gate that is stricter now"),
    ],
)
def test_gates_are_judged_again(
    world: Callable[..., World], least: float, current: tuple[str, str], stalled: str
) -> None:
    seen = world(spec=gate(least))
    assert seen.status.run is not None
    assert seen.status.active is not None
    version = seen.status.active
    run = seen.status.run.model_copy(
        update={"name": "docs-2", "done": False, "succeeded": False, "attempts": [Attempt(number=1)]}
    )
    output = IndexOutput(
        digest=version.digest,
        resolved_digest=version.digest,
        uri=version.uri,
        collection=version.collection,
        encoder_digest=version.digest,
        documents=1,
        chunks=1,
    )
    stamp = Stamp(uid="u", run="docs-2", attempt=1, config_digest="")
    result = RunResult(stamp=stamp, outcome="Unchanged", finished="2026-03-01T11:59:00Z", index=output)
    evidence = Evidence(observed=Observed(Phase.SUCCEEDED), result=result)
    seen = dataclasses.replace(
        seen,
        status=seen.status.model_copy(update={"run": RunStatus.model_validate(run.model_dump())}),
        around=dataclasses.replace(seen.around, profile=None),  # the frozen inputs are not at stake
        evidence=evidence,
    )
    planned = plan(seen, SETTINGS)
    new = status(seen, planned, SETTINGS, identity=seen.status.store)
    found = find(new.conditions, ConditionType.CURRENT)
    halted = find(new.conditions, ConditionType.STALLED)
    assert found is not None
    assert halted is not None
    assert ((found.status, found.reason), halted.status) == (current, stalled)
    assert [(v.digest, v.passed, v.metrics) for v in new.history] == [(version.digest, True, version.metrics)]
    assert new.active == new.history[0]
    assert (planned.point_alias, planned.drop) == (None, ())
