"""Creates a ladder's objects and notes when each of them got how far.

Used by `kuberay_ladder` for its two sides alike; it knows nothing of what the objects are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.kuberay_world import NAMESPACES, Body, World

IN_FLIGHT = 32
Key = tuple[str, str]


@dataclass
class Moments:
    """When each object got how far, on the monotonic clock, and what those said that failed."""

    seen: dict[str, dict[Key, float]] = field(default_factory=dict)
    stories: list[str] = field(default_factory=list)

    def reached(self, what: str, key: Key) -> bool:
        """Note the first time; returns whether this was it."""
        at = self.seen.setdefault(what, {})
        if key in at:
            return False
        at[key] = time.monotonic()
        return True

    def fail(self, key: Key, status: Body) -> None:
        """Note that an object will not get any further."""
        if self.reached("failed", key):
            self.stories.append(f"{key}: {json.dumps(status)[:1000]}")

    def count(self, what: str) -> int:
        """Return how many objects got so far."""
        return len(self.seen.get(what, {}))

    def last(self, what: str) -> float:
        """Return the moment at which the last of them did."""
        return max(self.seen[what].values())

    def lag(self, first: str, then: str) -> dict[str, float]:
        """Return the percentiles of the time between two moments, in seconds."""
        begun = self.seen[first]
        found = sorted(at - begun[key] for key, at in self.seen[then].items() if key in begun)
        return {"p50_s": statistics.median(found), "p99_s": found[int(0.99 * (len(found) - 1))]}


@contextlib.asynccontextmanager
async def watching(w: World, paths: Mapping[str, Callable[[Body], None]]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Call a function with every object that appears or changes below each path."""

    async def follow(path: str, version: str, told: Callable[[Body], None]) -> None:
        while True:
            url = f"{w.bench.state.api_server}{path}?watch=1&resourceVersion={version}"
            async with w.bench.session.get(url) as response:
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(f"the watch of {path} broke: {event['object'].get('message')}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "DELETED":
                        told(event["object"])

    first = {path: (await w.bench.call("GET", f"{path}?limit=1"))["metadata"]["resourceVersion"] for path in paths}
    tasks = [asyncio.create_task(follow(path, first[path], told)) for path, told in paths.items()]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def create(w: World, path: str, bodies: list[Body], moments: Moments) -> float:
    """Create namespaces and objects, so many at a time; returns the seconds for the objects."""
    for n in range(NAMESPACES):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ladder-{n:02d}"}}
        await w.bench.call("POST", "/api/v1/namespaces", body)
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(body: Body) -> None:
        async with gate:
            ns, name = body["metadata"]["namespace"], body["metadata"]["name"]
            moments.reached("begun", (ns, name))
            await w.bench.call("POST", path.format(ns=ns), body)

    begun = time.monotonic()
    await asyncio.gather(*(one(body) for body in bodies))
    return time.monotonic() - begun


@dataclass
class Watch:
    """What `until` looks at while it waits."""

    world: World
    moments: Moments
    tasks: Sequence[asyncio.Future[None]]
    process: str
    peak_mb: float = 0.0

    async def until(self, what: str, wanted: int, limit: float) -> None:
        """Wait until so many objects got so far or failed, at most `limit` seconds."""
        begun = told = time.monotonic()
        while self.moments.count(what) + self.moments.count("failed") < wanted and time.monotonic() - begun < limit:
            for task in self.tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.2)
            self.peak_mb = max(self.peak_mb, self.world.resident_mb(self.process))
            if time.monotonic() - told > 10:
                told = time.monotonic()
                counts = ", ".join(f"{name} {len(at)}" for name, at in self.moments.seen.items())
                print(f"  {told - begun:.0f} s: {counts}", flush=True)
