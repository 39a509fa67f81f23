"""What a look at an active attempt reads from the artifact store: reads have one budget for all Runs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.runstatus import Attempt, RunStatus
from gradatim.operator.observing import Frozen, evidence
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import frozen_inputs
from gradatim.operator.runtimes.base import Observed, Phase, Tenant

RESULT, BOTH = ["result.json"], ["result.json", "progress.json"]


@pytest.mark.parametrize(
    ("phase", "heartbeat", "expected"),
    [
        pytest.param(Phase.ABSENT, None, RESULT, id="not started: it may have ended before this process began"),
        pytest.param(Phase.PENDING, None, RESULT, id="waiting"),
        pytest.param(Phase.RUNNING, None, BOTH, id="running"),
        pytest.param(Phase.UNKNOWN, None, BOTH, id="not to be told"),
        pytest.param(None, None, BOTH, id="no answer"),
        pytest.param(Phase.PENDING, "2026-03-01T11:59:00Z", BOTH, id="waiting again after a head was lost"),
        pytest.param(Phase.FAILED, None, BOTH, id="ended"),
    ],
)
async def test_progress_is_read_where_somebody_can_have_written_it(
    world: Callable[..., World], phase: Phase | None, heartbeat: str | None, expected: list[str]
) -> None:
    read = list[str]()
    run = RunStatus(name="docs-2", trigger="generation", attempts=[Attempt(number=1, heartbeat_at=heartbeat)])
    config = frozen_inputs(world(), run, force=False)

    async def look(path: str) -> None:
        read.append(path.rpartition("/")[2])

    async def observe(_: str) -> Observed | None:
        return None if phase is None else Observed(phase)

    async def opened(*_: Any) -> Any:
        return SimpleNamespace(read=look, observe=observe)

    edges: Any = SimpleNamespace(runtime=opened, artifacts=opened)
    identity = world().status.store
    assert identity is not None
    await evidence(edges, identity, Tenant("team", "u"), run, Frozen(None, config, document={}))
    assert read == expected
