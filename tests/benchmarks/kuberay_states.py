"""Gives RayJobs the states that KubeRay would give them, in its place, while our operator is measured.

Used by `kuberay_ladder` for our side alone. Nothing is created for a RayJob: no RayCluster, no pod. KWOK did this before, and was what was
measured with thousands of RayJobs: a KWOK that falls behind has its watch ended, and then reads all of them again.
"""

from __future__ import annotations

import asyncio

from tests.benchmarks.kuberay_follow import IN_FLIGHT
from tests.benchmarks.kuberay_world import Body, World

from gradatim.operator.clock import now, rfc3339

PATCH = "application/merge-patch+json"
WORK_SECONDS = 1.0
TRIES = 5  # a write may meet another one


class States:
    """Three writes per RayJob: Initializing, Running, and Complete a second later, many RayJobs at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._gate = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun: set[str] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, job: Body) -> None:
        """Play a RayJob, once. What goes wrong ends the future `failed`."""
        uid = job["metadata"]["uid"]
        if uid in self._begun:
            return
        self._begun.add(uid)
        task = asyncio.create_task(self._play(job))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Stop playing. Raises what went wrong."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.failed.done():
            self.failed.result()

    async def _play(self, job: Body) -> None:
        name = job["metadata"]["name"]
        cluster = {"jobId": job["spec"]["jobId"], "rayClusterName": f"{name}-none", "startTime": rfc3339(now())}
        await self._write(job, {"jobDeploymentStatus": "Initializing"} | cluster)
        await self._write(job, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"})
        await asyncio.sleep(WORK_SECONDS)
        await self._write(job, {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "endTime": rfc3339(now())})

    async def _write(self, job: Body, status: Body) -> None:
        metadata = job["metadata"]
        path = f"/apis/ray.io/v1/namespaces/{metadata['namespace']}/rayjobs/{metadata['name']}/status"
        for _ in range(TRIES):
            async with self._gate:
                found = await self._world.bench.call("PATCH", path, {"status": status}, PATCH)
            if found.get("kind") == "RayJob":
                return
        raise RuntimeError(f"{path}: {found.get('message')}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)
