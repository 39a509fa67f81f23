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
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from tests.benchmarks.control_plane_bench import API, GARBAGE, Bench, populate, settled
from tests.benchmarks.control_plane_changes import change_lag, event_floor
from tests.benchmarks.control_plane_report import environment

from gradatim.platform import Component, UpOptions, down, health, objects, pki, up
from gradatim.platform.dirs import Layout

RESULTS = Path(__file__).parent / "results" / "control_plane.json"
NEEDED = frozenset({Component.APISERVER, Component.CONTROLLER_MANAGER, Component.WEAVIATE})
RATES = (10.0, 25.0, 50.0)  # changes per second; the last is the goal's


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
        "api_server_mb": bench.resident(Component.APISERVER),
        "steady_state_writes_over_3_resyncs": steady,
        "change_to_status": lags,
    }


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
    origin = {"command": command, **environment(), "api_server": GARBAGE}

    def keep(found: dict[str, Any]) -> None:
        options.out.write_text(json.dumps(origin | found, indent=1) + "\n")

    os.environ |= GARBAGE
    asyncio.run(ladder(rungs, keep))


if __name__ == "__main__":
    main()
