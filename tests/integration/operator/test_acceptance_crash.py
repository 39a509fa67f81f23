"""Acceptance 1: the operator is killed before and after every API write of a whole life, and always ends where it would have ended.

Many namespaces live the same life at once. Each has one write at which its request is held by the proxy, before it reaches the API server
or before its answer comes back. Once all are held the process is killed, which is one crash for each of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.crashing import Crashes, Crashing, crash_all
from tests.support.operator import Bench, bench
from tests.support.watcher import Body, kstatus

from gradatim.platform import PlatformState

BATCH = 24
NODE_LOST = {"outcome": "Failed", "failure": "NodeLost", "phase": "Failed", "message": "the node went away"}


@dataclass
class Life(Crashing):
    """One object's life in a namespace of its own, with at most one crash in it. An index loses its collection and gets it back."""

    kind: str = "Dataset"

    @property
    def name(self) -> str:
        """Return the object's name."""
        return "papers" if self.kind == "Dataset" else "handbook"

    async def live(self, b: Bench) -> None:
        """Create, change and delete; the first attempt of the first Run is lost with its node."""
        scope = f"{self.ns}.{self.name}"
        b.instant.script(scope, **NODE_LOST)
        one = {"keep": 1, "dropAfterSeconds": 0}
        body = b.dataset(self.ns) if self.kind == "Dataset" else b.index(self.ns, versions=one)
        key = await b.apply(body)

        await b.watcher.until(key, lambda f: bool(f.get("status", {}).get("run")), "recorded")
        await b.watcher.until(key, lambda f: bool(b.instant.started(f["status"]["run"]["name"])), "submitted")
        b.instant.script(scope, collectionObjects=2, content="1")
        first = await b.current(key)
        b.instant.script(scope, collectionObjects=2, content="2")
        change = {"columns": {"text": "body"}} if self.kind == "Dataset" else {"chunking": {"maxTokens": 64}}
        await b.cluster.merge(*key, {"spec": change})

        def renewed(found: Body) -> bool:
            history = found["status"].get("history", [])
            dropped = self.kind == "Dataset" or (len(history) == 2 and history[1].get("collectionDropped"))
            new = found["status"].get("active", {}).get("digest") != first["status"]["active"]["digest"]
            return kstatus(found) == "Current" and new and dropped

        self.last = await b.watcher.until(key, renewed, "renewed")
        if self.kind == "RAGIndex":
            await self.lose(b, key, scope)
        await b.remove(key)
        self.ended = True

    async def lose(self, b: Bench, key: tuple[str, str, str], scope: str) -> None:
        """Take the collection away, while the source holds something else by now."""
        b.instant.script(scope, collectionObjects=2, content="3")
        status = self.last["status"]
        assert await b.vectors_call("DELETE", f"/v1/schema/{status['active']['collection']}") < 300

        def back(found: Body) -> bool:
            run = found["status"]["run"]
            return run["trigger"] == "restore" and bool(run.get("done")) and kstatus(found) == "Current"

        self.last = await b.watcher.until(key, back, "loaded again")
        assert self.last["status"]["history"] == status["history"]


def story(life: Life) -> dict[str, Any]:
    """Return what must be the same however often the operator was killed."""
    status = life.last["status"]
    return {
        "conditions": {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]},
        "state": status["state"],
        "attempts": [(a["number"], a["outcome"]) for a in status["run"]["attempts"]],
        "trigger": status["run"]["trigger"],
        "versions": [(v.get("label"), v.get("passed"), v.get("collectionDropped")) for v in status["history"]],
        "finalizers": life.last["metadata"].get("finalizers"),
    }


async def record(b: Bench, kind: str) -> Life:
    """Return a life without a crash."""
    life = Life(await b.namespace(), kind=kind)
    crashes = Crashes([life])
    with b.api.fault(before=crashes.before):
        await life.live(b)
    return life


async def crash_batch(b: Bench, lives: list[Life]) -> None:
    """Let the lives begin, kill the operator when each has come to its point, and let them end under another one."""
    tasks = [asyncio.create_task(life.live(b)) for life in lives]
    await crash_all(b.api, b.operator(GRADATIM_WORKERS="64"), lives, tasks)


@pytest.mark.parametrize("kind", ["Dataset", "RAGIndex"])
async def test_a_crash_at_any_write_changes_nothing_about_the_end(
    operator_platform: PlatformState, tmp_path: Path, kind: str
) -> None:
    async with bench(operator_platform, tmp_path) as b:
        operator = b.operator()
        await operator.start()
        clean = await record(b, kind)
        await operator.stop()
        points = [(n, when) for n in range(1, len(clean.writes) + 1) for when in ("before", "after")]
        assert len(points) > 30, clean.writes
        lives = [Life(await b.namespace(), point, kind=kind) for point in points]
        for start in range(0, len(lives), BATCH):
            await crash_batch(b, lives[start : start + BATCH])
        crashed = [life for life in lives if life.held.is_set()]
        assert len(crashed) >= len(lives) * 0.9, "too few lives came to their crash"
        different = {str(p): story(life) for p, life in zip(points, lives, strict=True) if story(life) != story(clean)}
        assert not different, f"clean: {story(clean)}"
        started = Counter(b.instant.started())
        assert {name: n for name, n in started.items() if n != 1} == {}
        attempts = (
            4 if kind == "RAGIndex" else 3
        )  # two of the first Run, one of the second, one that loads again what was lost
        assert len(started) == attempts * (len(lives) + 1)
        assert b.watcher.all_violations() == []
        for life in [clean, *lives]:
            await b.until_nothing_left(life.last)
