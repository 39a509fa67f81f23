"""What one change costs on the control-plane ladder: from a patch to its status, and what kopf alone needs to hear of it.

Called by `control_plane` on objects that are at rest; leaves them as they were.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from typing import Any

import aiohttp
from tests.benchmarks.control_plane_bench import API, IN_FLIGHT, Bench, manifest


async def change_lag(bench: Bench, objects: int, rate: float, seconds: float) -> dict[str, Any]:
    """Suspend random objects at `rate` per second; return the percentiles of patch to status, in seconds, and who used the cores meanwhile.

    Afterwards the objects are as before.
    """
    sent: dict[tuple[str, str, int], float] = {}
    seen: dict[tuple[str, str, int], float] = {}  # a status may be watched before the answer to its change has come
    lags: list[float] = []
    first = await bench.call("GET", f"{API}/ragindices?limit=1")
    begin = first["metadata"]["resourceVersion"]
    finished = asyncio.Event()

    async def watch() -> None:
        url = f"{bench.state.api_server}{API}/ragindices?watch=1&resourceVersion={begin}"
        async with bench.session.get(url, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**22) as response:
            async for line in response.content:
                body = json.loads(line)["object"]
                metadata = body["metadata"]
                observed = body.get("status", {}).get("observedGeneration", -1)
                key = (metadata.get("namespace"), metadata["name"], observed)
                if (at := sent.pop(key, None)) is not None:
                    lags.append(time.monotonic() - at)
                else:
                    seen.setdefault(key, time.monotonic())
                if finished.is_set() and not sent:
                    return

    watcher = asyncio.create_task(watch())
    numbers = random.sample(range(objects), min(objects, int(rate * seconds)))
    before, begun = bench.burned(), time.monotonic()

    async def change(number: int) -> None:
        at = time.monotonic()
        written = await suspend(bench, number, suspended=True)
        key = (written["metadata"]["namespace"], written["metadata"]["name"], written["metadata"]["generation"])
        if key in seen:
            lags.append(seen[key] - at)
        else:
            sent[key] = at

    tasks = []
    for n, number in enumerate(numbers):
        await asyncio.sleep(max(0.0, begun + n / rate - time.monotonic()))
        tasks.append(asyncio.create_task(change(number)))
    await asyncio.gather(*tasks)
    sending = time.monotonic() - begun
    finished.set()
    end = time.monotonic() + 240  # what is late counts with its time
    while sent and time.monotonic() < end:
        await asyncio.sleep(0.1)
    spent = {name: 1000 * (now - before[name]) / len(numbers) for name, now in bench.burned().items()}
    watcher.cancel()
    ordered = sorted(lags)
    if len(ordered) < 0.99 * len(numbers):
        raise RuntimeError(f"{len(numbers) - len(ordered)} of {len(numbers)} changes never reached status")
    await restore(bench, numbers)
    return {
        "changes": len(numbers),
        "wanted_rate_per_s": rate,
        "rate_per_s": len(numbers) / sending,
        "p50_s": statistics.median(ordered),
        "p99_s": ordered[int(0.99 * (len(ordered) - 1))],
        "max_s": ordered[-1],
        "cpu_ms_per_change": spent,
    }


async def suspend(bench: Bench, number: int, *, suspended: bool) -> dict[str, Any]:
    """Write `spec.suspend` of one object and return it."""
    body = manifest(number)["metadata"]
    path = f"{API}/namespaces/{body['namespace']}/ragindices/{body['name']}"
    patch = {"spec": {"suspend": suspended}}
    found: dict[str, Any] = await bench.call("PATCH", path, patch, "application/merge-patch+json")
    return found


async def restore(bench: Bench, numbers: list[int]) -> None:
    """Take suspensions back, so that what follows starts from the same kind of objects."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> None:
        async with gate:
            await suspend(bench, number, suspended=False)

    await asyncio.gather(*(one(n) for n in numbers))
    await bench.ready(600)


async def event_floor(bench: Bench, objects: int, rounds: int = 3) -> dict[str, float]:
    """Write every object a few times while kopf alone listens; return its events per CPU second."""
    env = dict(os.environ) | {"KUBECONFIG": str(bench.layout.operator_kubeconfig)}
    out = bench.folder / "floor.jsonl"
    with out.open("wb") as said:
        child = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.event_floor"], env=env, stdout=said)

    async def reading(events: int) -> dict[str, float]:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            lines = out.read_text().splitlines()
            if lines and json.loads(lines[-1])["events"] >= events:
                await asyncio.sleep(2)
                found: dict[str, float] = json.loads(out.read_text().splitlines()[-1])
                return found
            await asyncio.sleep(0.2)
        raise RuntimeError(f"kopf has not seen {events} events")

    try:
        before = await reading(objects)
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def write(number: int, turn: int) -> None:
            async with gate:
                body = manifest(number)["metadata"]
                path = f"{API}/namespaces/{body['namespace']}/ragindices/{body['name']}"
                patch = {"metadata": {"labels": {"turn": str(turn)}}}
                await bench.call("PATCH", path, patch, "application/merge-patch+json")

        for turn in range(rounds):
            await asyncio.gather(*(write(n, turn) for n in range(objects)))
        after = await reading(objects)
        while (later := await reading(objects))["events"] != after["events"]:
            after = later
        events, cpu = after["events"] - before["events"], after["cpu_s"] - before["cpu_s"]
        return {"objects": objects, "events": events, "cpu_s": cpu, "events_per_cpu_s": events / cpu}
    finally:
        child.terminate()
        child.wait(30)
