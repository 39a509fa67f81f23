"""The operator is killed around the creation of a RayJob, and then before and after every write of a whole life; nothing is made twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.crashing import Crashes, Crashing, Hold, crash_all, outcome_written
from tests.support.faultproxy import Call
from tests.support.kuberay import KubeRayBench, install, kuberay_bench
from tests.support.kuberay_player import Player
from tests.support.watcher import truth

from gradatim.platform import PlatformState

FULL = bool(os.environ.get("GRADATIM_TEST_FULL"))
LIFE = 240  # seconds: dozens of lives share one operator, and all wait until the last has come to its point


def creates(call: Call) -> bool:
    """Return whether the call makes a RayJob."""
    return (call.method, call.plural) == ("POST", "rayjobs")


def says_so(call: Call) -> bool:
    """Return whether the call writes to status that the attempt is more than recorded."""
    return outcome_written(call) not in {None, "Recorded"}


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(("before", creates), id="before it is created"),
        pytest.param(("after", creates), id="after it was created"),
        pytest.param(("before", says_so), id="before status says so"),
    ],
)
async def test_a_crash_leaves_one_rayjob(
    kuberay_platform: PlatformState, tmp_path: Path, point: tuple[str, Callable[[Call], bool]]
) -> None:
    async with kuberay_bench(kuberay_platform, tmp_path) as k:
        await install(k.cluster)
        await k.make_profile(k.profile)
        ns, operator, hold = await k.namespace(), k.operator(), Hold(*point)
        with k.api.fault(before=hold.before, after=hold.after):
            await operator.start()
            key = await k.dataset(ns)
            await hold.kill(operator)
            await operator.start()
            job = await k.job(ns)
            await k.tell(job, "Running", "RUNNING")
            await k.result(job)
            await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
        assert [j["metadata"]["uid"] for j in await k.objects(ns)] == [job["metadata"]["uid"]]
        assert await k.attempts(key) == [(1, "Succeeded", None)]
        assert k.watcher.all_violations() == []
        await k.cluster.delete(*key)
        await k.watcher.until_gone(key)
        assert await k.objects(ns) == []


@dataclass
class Life(Crashing):
    """A Dataset whose first attempt loses its node, that is changed, and that is deleted."""

    async def live(self, k: KubeRayBench, player: Player) -> None:
        """Live it."""
        player.fails.add(self.ns)
        key = await k.dataset(self.ns)
        await k.watcher.until(key, lambda o: _ready(o, 1), "ready", LIFE)
        player.content[self.ns] = "2"
        await k.cluster.merge(*key, {"spec": {"columns": {"text": "body"}}})
        self.last = await k.watcher.until(key, lambda o: _ready(o, 2), "renewed", LIFE)
        await k.cluster.delete(*key)
        await k.watcher.until_gone(key, LIFE)
        await k.until_no_job(self.ns)
        self.ended = True


def _ready(body: dict[str, Any], generation: int) -> bool:
    run = body.get("status", {}).get("run") or {}
    return truth(body, "Ready")[0] == "True" and run.get("generation") == generation and run["succeeded"]


def story(life: Life) -> dict[str, Any]:
    """Return what must be the same however often the operator was killed."""
    status = life.last["status"]
    return {
        "conditions": {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]},
        "attempts": [(a["number"], a["outcome"]) for a in status["run"]["attempts"]],
        "versions": [v["rows"] for v in status["history"]],
        "finalizers": life.last["metadata"].get("finalizers"),
    }


async def test_a_crash_at_any_write_changes_nothing_about_the_end(
    kuberay_platform: PlatformState, tmp_path: Path
) -> None:
    async with kuberay_bench(kuberay_platform, tmp_path) as k:
        await install(k.cluster, kueue=True)
        await k.make_profile(k.profile)
        player, operator, clean = Player(k), k.operator(), Life(await k.namespace())
        with k.api.fault(after=player.count):
            async with player.playing():
                await operator.start()
                with k.api.fault(before=Crashes([clean]).before):
                    await clean.live(k, player)
                await operator.stop()
                points = [(n, when) for n in range(1, len(clean.writes) + 1) for when in ("before", "after")]
                assert len(points) > 30, clean.writes
                # Every write, each before or after in turn; both where there is time. The whole is tried on the instant runtime.
                points = points if FULL else [p for p in points if p[0] % 2 == (p[1] == "before")]
                lives = [Life(await k.namespace(), point) for point in points]
                tasks = [asyncio.create_task(life.live(k, player)) for life in lives]
                await crash_all(k.api, k.operator(GRADATIM_WORKERS="64"), lives, tasks)
        crashed = [life for life in lives if life.held.is_set()]
        assert len(crashed) >= len(lives) * 0.9, "too few lives came to their crash"
        different = {str(p): story(life) for p, life in zip(points, lives, strict=True) if story(life) != story(clean)}
        assert not different, f"clean: {story(clean)}"
        assert {name: n for name, n in player.created.items() if n != 1} == {}
        assert len(player.created) == 3 * (len(lives) + 1)  # two attempts of the first Run, one of the second
        assert k.watcher.all_violations() == []
