"""The collection that serves has vanished from the vector store: status says so, and it is built again, also the second time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.runstatus import RunStatus
from gradatim.operator.conditions import find
from gradatim.operator.ragindex.model import Aliases, World
from gradatim.operator.ragindex.plan import plan
from gradatim.operator.ragindex.status import status
from gradatim.operator.settings import RunSettings

SETTINGS = RunSettings()
LOST = Aliases(collection=None, present=False, known=True)
RECENTLY, LONG_AGO = "2026-03-01T11:59:00Z", "2026-02-01T12:00:00Z"


def after_restore(seen: World, ended: str, *, succeeded: bool) -> RunStatus:
    """Return a finished restore."""
    assert seen.status.run is not None
    attempt = seen.status.run.attempts[-1].model_copy(update={"finished_at": ended})
    return seen.status.run.model_copy(update={"trigger": "restore", "succeeded": succeeded, "attempts": [attempt]})


@pytest.mark.parametrize(
    ("ended", "succeeded", "again"),
    [
        pytest.param(LONG_AGO, True, True, id="lost again long after a restore"),
        pytest.param(RECENTLY, True, False, id="a restore that did not bring it back is not repeated at once"),
        pytest.param(LONG_AGO, False, False, id="a failed restore is not repeated"),
    ],
)
def test_a_restore_is_repeated(world: Callable[..., World], ended: str, succeeded: bool, again: bool) -> None:
    seen = world(aliases=LOST)
    seen = world(aliases=LOST, status={"run": after_restore(seen, ended, succeeded=succeeded)})
    started = plan(seen, SETTINGS).decision.trigger
    assert (started is not None and started.cause == "restore") is again


def test_lost_again_after_a_restore_it_is_looked_at_when_the_pause_is_over(world: Callable[..., World]) -> None:
    seen = world(aliases=LOST)
    seen = world(aliases=LOST, status={"run": after_restore(seen, RECENTLY, succeeded=True)})
    waits = plan(seen, SETTINGS)
    assert (waits.decision.trigger, waits.requeue) == (None, 3540.0)
    over = dataclasses.replace(seen, now=seen.now + timedelta(seconds=3541))
    again = plan(over, SETTINGS).decision
    assert again.trigger is not None
    assert again.step.run is not None
    assert (again.trigger.cause, again.step.run.name != seen.status.run.name) == ("restore", True)  # type: ignore[union-attr]


def shown(seen: World, **more: Any) -> dict[str, tuple[str, str]]:
    """Return status and reason of Ready and Stalled."""
    new = status(seen, plan(seen, SETTINGS), SETTINGS, identity=seen.status.store, **more)
    found = {t.value: find(new.conditions, t) for t in (ConditionType.READY, ConditionType.STALLED)}
    return {k: (c.status, c.reason) for k, c in found.items() if c is not None}


def test_an_index_without_its_collection_is_not_ready(world: Callable[..., World]) -> None:
    seen = world(aliases=LOST)
    failed = world(aliases=LOST, status={"run": after_restore(seen, LONG_AGO, succeeded=False)})
    corrupt = Reason.ARTIFACT_CORRUPT.value
    assert shown(failed) == {"Ready": ("False", corrupt), "Stalled": ("True", corrupt)}
    assert shown(seen)["Ready"][0] == "Unknown", "while the restore runs"
    assert shown(world()) == {"Ready": ("True", "Succeeded"), "Stalled": ("False", "Succeeded")}
