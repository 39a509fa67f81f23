"""Plays KubeRay, the kubelet and Ray for every RayJob of a bench at once, as fast as tests allow.

Used by the acceptance tests of the runtime `kuberay`. What an attempt comes to is said by name or namespace; what is not said ends well. While
it is stopped, KubeRay is away: its finalizer holds what is deleted. The API server with its garbage collector is the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.faultproxy import Answer, Call
from tests.support.kuberay import FINALIZER, RAY, Key, KubeRayBench, install, kuberay_bench
from tests.support.operator import Operator
from tests.support.watcher import Body, truth

from gradatim.operator.clock import now, rfc3339
from gradatim.platform import PlatformState

PAUSE, BEAT = 0.1, 5.0  # seconds


class Player:
    """What becomes of RayJobs: `runs` go on until they are told otherwise, `fails` lose their node, all others succeed."""

    def __init__(self, k: KubeRayBench) -> None:
        """Take the bench."""
        self._k = k
        self._done: set[str] = set()
        self._heard: dict[str, float] = {}
        self.runs: set[str] = set()  # namespaces
        self.fails: set[str] = set()  # namespaces whose first attempts fail
        self.content: dict[str, str] = {}  # what Datasets of a namespace hold
        self.created: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Play until the end of the block."""
        task = asyncio.create_task(self._play())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def count(self, call: Call, answer: Answer) -> Answer:
        """Count what was created, as a hook of the proxy."""
        if (call.method, call.plural, answer.status) == ("POST", "rayjobs", 201):
            self.created[call.document["metadata"]["name"]] += 1
        return answer

    async def _play(self) -> None:
        while True:
            for job in (await self._k.cluster.call("GET", f"{RAY}/rayjobs"))["items"]:
                try:
                    await self._step(job)
                except aiohttp.ClientResponseError as error:
                    if error.status not in {404, 409, 422}:  # it went or changed meanwhile
                        raise
            await asyncio.sleep(PAUSE)

    async def _step(self, job: Body) -> None:
        metadata, k = job["metadata"], self._k
        if metadata.get("deletionTimestamp"):
            if FINALIZER in metadata.get("finalizers", []):
                await k.merge_job(job, {"metadata": {"finalizers": _without(metadata["finalizers"])}})
            return
        if metadata["uid"] in self._done or job["spec"].get("suspend"):
            return
        if not job.get("status", {}).get("jobDeploymentStatus"):
            await k.merge_job(job, {"metadata": {"finalizers": [*metadata.get("finalizers", []), FINALIZER]}})
            await k.tell(job, "Running", "RUNNING")
            await k.progress(job)
        elif metadata["namespace"] in self.runs:
            await self._beat(job)
        elif metadata["namespace"] in self.fails and metadata["name"].endswith("-a1"):
            self.fails.discard(metadata["namespace"])
            await self._end(job, "Failed", "FAILED", message="the node went away")
        else:
            await k.result(job, content=self.content.get(metadata["namespace"], "1"))
            await self._end(job, "Complete", "SUCCEEDED")

    async def _beat(self, job: Body) -> None:
        uid, at = job["metadata"]["uid"], time.monotonic()
        if at - self._heard.get(uid, 0.0) > BEAT:
            self._heard[uid] = at
            await self._k.progress(job)

    async def _end(self, job: Body, deployment: str, ray: str, **more: Any) -> None:
        await self._k.tell(job, deployment, ray, endTime=rfc3339(now()), **more)
        self._done.add(job["metadata"]["uid"])


def _without(finalizers: list[str]) -> list[str]:
    return [f for f in finalizers if f != FINALIZER]


@contextlib.asynccontextmanager
async def running(
    state: PlatformState, folder: Path, **env: str
) -> AsyncIterator[tuple[KubeRayBench, Player, Operator]]:
    """Give a bench with one operator and a player that has not begun; nothing false was seen and nothing was created twice."""
    async with kuberay_bench(state, folder, **env) as k:
        await install(k.cluster, kueue=True)
        await k.make_profile(k.profile)
        player, operator = Player(k), k.operator()
        await operator.start()
        with k.api.fault(after=player.count):
            yield k, player, operator
        assert k.watcher.all_violations() == []
        assert {name: n for name, n in player.created.items() if n != 1} == {}


async def ready(k: KubeRayBench, key: Key, generation: int = 1) -> Body:
    """Return the object once a Run of that generation has succeeded and serves."""

    def holds(body: Body) -> bool:
        run = body.get("status", {}).get("run") or {}
        return truth(body, "Ready")[0] == "True" and run.get("generation", 0) >= generation and run["succeeded"]

    return await k.watcher.until(key, holds, f"ready with generation {generation}")


async def is_running(k: KubeRayBench, key: Key) -> None:
    """Wait until the first attempt runs and gives signs of life."""
    await k.watcher.until(key, lambda o: o.get("status", {}).get("progress") is not None, "running")
    await k.until_attempts(key, (1, "Running", None))
