"""Our operator's part of a Run on KubeRay against KubeRay's own, with KWOK in place of nodes; root on Linux.

`python -m tests.benchmarks.kuberay_ladder --rungs 1000,10000 --kuberay-rungs 1000,1000:10`. Ours: N Datasets of the runtime `kuberay`; the
benchmark gives their RayJobs KubeRay's states and writes what the workload would. KubeRay's: the same RayJobs without us, through its operator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.control_plane_bench import GARBAGE
from tests.benchmarks.control_plane_report import environment
from tests.benchmarks.kuberay_follow import Moments, Watch, create, watching
from tests.benchmarks.kuberay_states import States
from tests.benchmarks.kuberay_world import (
    INSIDE,
    NAMESPACES,
    Body,
    Dashboard,
    World,
    isolate,
    pinned_to_node,
    private_network,
    versions,
    world,
)  # fmt: skip

from gradatim.api.run import RunConfig
from gradatim.operator.runtimes.instant_output import Script, result_document

OURS, RAY = "/apis/gradatim.dev/v1alpha1", "/apis/ray.io/v1"
RESULTS = Path(__file__).parent / "results" / "kuberay_ladder.json"


def spot(number: int) -> Body:
    """Return the metadata of one of the ladder's objects."""
    return {"name": f"papers-{number:05d}", "namespace": f"ladder-{number % NAMESPACES:02d}"}


def dataset(number: int) -> Body:
    """Return one of the ladder's objects."""
    spec = {
        "source": {"git": {"url": f"https://git.example/{number}.git", "revision": "main"}},
        "compute": {"profileRef": {"name": "default"}},
    }
    return {"apiVersion": "gradatim.dev/v1alpha1", "kind": "Dataset", "metadata": spot(number), "spec": spec}


def profile(store: Path) -> Body:
    """Return the profile of the ladder's Runs: pods of KubeRay's, a store on a volume that is a folder here."""
    pods = {"image": f"localhost/gradatim/index@sha256:{'0' * 64}", "rayVersion": "2.60.0"}
    spec = {
        "runtime": {"type": "kuberay", "kubeRay": pods | {"artifactVolume": {"claimName": "artifacts"}}},
        "artifactStore": {"root": f"file://{store}/{{namespace}}/"},
    }
    return {
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "ComputeProfile",
        "metadata": {"name": "default"},
        "spec": spec,
    }


@dataclass
class Workloads:
    """Writes the result of every attempt once its RayJob runs, as the workload would; keeps one RayJob as it was made."""

    moments: Moments
    states: States
    configs: dict[str, RunConfig] = field(default_factory=dict)
    sample: Body = field(default_factory=dict)

    def config_map(self, body: Body) -> None:
        """Keep the frozen inputs of a Run, which are there before its first RayJob."""
        if text := body.get("data", {}).get("config.json"):
            self.configs[body["metadata"]["name"]] = RunConfig.model_validate_json(text)

    def rayjob(self, body: Body) -> None:
        """Follow an attempt; write its result when it runs."""
        metadata, status = body["metadata"], body.get("status", {})
        key = (metadata["namespace"], metadata["ownerReferences"][0]["name"])
        self.sample = self.sample or body
        self.moments.reached("rayjob", key)
        self.states.begin(body)
        if status.get("jobDeploymentStatus") == "Running" and self.moments.reached("wrote", (key[0], metadata["name"])):
            self.moments.reached("running", key)
            self._write(body)
        if status.get("jobDeploymentStatus") == "Complete":
            self.moments.reached("complete", key)

    def dataset(self, body: Body) -> None:
        """Note that an object is ready, or that it failed."""
        status, key = body.get("status", {}), (body["metadata"]["namespace"], body["metadata"]["name"])
        if len(status.get("run", {}).get("attempts", [])) > 1:
            self.moments.reached("retried", key)
        if status.get("state") == "Ready":
            self.moments.reached("ready", key)
        elif status.get("state") == "Failed":
            self.moments.fail(key, status)

    def _write(self, job: Body) -> None:
        words = shlex.split(job["spec"]["entrypoint"])
        frozen = self.configs[job["metadata"]["labels"]["gradatim.dev/run"]]
        config = frozen.model_copy(update={"attempt": int(words[words.index("--attempt") + 1])})
        folder = Path(config.store.root.removeprefix("file://")) / config.attempt_path
        folder.mkdir(parents=True, exist_ok=True)
        result = result_document(Script(), config, datetime.now(UTC).timestamp())
        part = folder / ".result.json.part"
        part.write_bytes(result.model_dump_json(by_alias=True, exclude_none=True).encode())
        part.replace(folder / "result.json")


def operator_env(w: World) -> dict[str, str]:
    """Return the environment of our operator: settings as shipped."""
    ports = w.bench.state.ports
    return {
        "KUBECONFIG": str(w.bench.layout.operator_kubeconfig),
        "GRADATIM_OPERATOR_NAMESPACE": "gradatim-system",
        "GRADATIM_HEALTH_PORT": str(ports["operator-health"]),
        "GRADATIM_METRICS_PORT": str(ports["operator-metrics"]),
    }


async def ours(root: Path, wanted: int, limit: float) -> tuple[dict[str, Any], Body]:
    """Let our operator finish `wanted` Datasets; returns its figures and one of its RayJobs."""
    print(f"gradatim, {wanted} Runs", flush=True)
    async with world(root) as w:
        (root / "store").mkdir()
        await w.bench.call("POST", f"{OURS}/computeprofiles", profile(root / "store"))
        with w.running("operator", [sys.executable, "-m", "gradatim.operator"], operator_env(w)):
            await w.bench.ready(120)
            moments = Moments()
            states = States(w)
            work = Workloads(moments, states)
            paths = {
                "/api/v1/configmaps": work.config_map,
                f"{RAY}/rayjobs": work.rayjob,
                f"{OURS}/datasets": work.dataset,
            }
            calls, cpu = await w.our_calls(), w.cpu()
            async with watching(w, paths) as tasks:
                begun = time.monotonic()
                watch = Watch(w, moments, [*tasks, states.failed], "operator")
                bodies = [dataset(n) for n in range(wanted)]
                created = await create(w, f"{OURS}/namespaces/{{ns}}/datasets", bodies, moments)
                await watch.until("ready", wanted, limit)
                await asyncio.sleep(3)  # what the last RayJobs cause counts too
                await states.close()
            found = figures(w, moments, cpu, begun, ("ready", "operator"))
            found |= each(calls, await w.our_calls(), found["finished"])
    found |= {
        "created": wanted,
        "create_s": created,
        "peak_mb": watch.peak_mb,
        "retried": moments.count("retried"),
        "object_to_rayjob": moments.lag("begun", "rayjob"),
        "rayjob_to_running": moments.lag("rayjob", "running"),
        "result_to_ready": moments.lag("running", "ready"),
    }
    return found, work.sample


async def theirs(root: Path, wanted: int, concurrency: int, limit: float, sample: Body) -> dict[str, Any]:
    """Let KubeRay finish `wanted` RayJobs like the sample; returns its figures."""
    print(f"KubeRay, {wanted} RayJobs, {concurrency} reconcilers", flush=True)
    dashboard, moments = Dashboard(), Moments()

    def rayjob(body: Body) -> None:
        status, key = body.get("status", {}), (body["metadata"]["namespace"], body["metadata"]["name"])
        state = status.get("jobDeploymentStatus")
        if state in {"Running", "Complete"}:
            moments.reached("clusterReady", key)
        if state == "Complete":
            moments.reached("complete", key)
        elif state in {"Failed", "ValidationFailed"}:
            moments.fail(key, status)

    async with world(root) as w, dashboard.serving():
        with w.kuberay(concurrency):
            await asyncio.sleep(5)  # its caches
            calls, cpu = await w.kuberay_calls(), w.cpu()
            async with watching(w, {f"{RAY}/rayjobs": rayjob}) as tasks:
                begun = time.monotonic()
                watch = Watch(w, moments, tasks, "kuberay")
                template = pinned_to_node(sample)
                bodies = [named(template, n) for n in range(wanted)]
                created = await create(w, f"{RAY}/namespaces/{{ns}}/rayjobs", bodies, moments)
                await watch.until("complete", wanted, limit)
            found = figures(w, moments, cpu, begun, ("complete", "kuberay"))
            found |= each(calls, await w.kuberay_calls(), found["finished"])
    return found | {
        "created": wanted,
        "create_s": created,
        "concurrency": concurrency,
        "peak_mb": watch.peak_mb,
        "clusters_ready_per_s": moments.count("clusterReady") / (moments.last("clusterReady") - begun),
    }


def named(template: Body, number: int) -> Body:
    """Return one of KubeRay's RayJobs."""
    metadata = spot(number)
    return template | {"metadata": metadata, "spec": template["spec"] | {"jobId": metadata["name"]}}


def figures(w: World, moments: Moments, cpu: dict[str, float], begun: float, who: tuple[str, str]) -> dict[str, Any]:
    """Return what both sides have in common: `who` is the last moment of an object and the process that is measured."""
    what, process = who
    finished = moments.count(what)
    if not finished:
        raise RuntimeError(f"nothing was finished; see the logs in {w.folder}. {moments.stories[:1]}")
    seconds = moments.last(what) - begun
    spent = {name: round(value - cpu[name], 2) for name, value in w.cpu().items()}
    return {
        "finished": finished,
        "failed": moments.count("failed"),
        "seconds": seconds,
        "objects_per_s": finished / seconds,
        "cpu_ms_per_object": 1000 * spent[process] / finished,
        "cpu_s": spent,
    }


def each(before: Mapping[str, float], after: Mapping[str, float], objects: int) -> dict[str, Any]:
    """Return API calls per object, in all and by kind; kinds of which there are few are left out."""
    spent = {name: round((count - before.get(name, 0.0)) / objects, 2) for name, count in after.items()}
    kinds = {name: count for name, count in sorted(spent.items()) if count >= 0.05}
    return {"calls_per_object": round((sum(after.values()) - sum(before.values())) / objects, 2), "calls": kinds}


async def ladder(options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Run both sides, each rung on a platform of its own; what is measured is written after each."""
    # Logs and stores stay where a rung fails.
    folder = Path(tempfile.mkdtemp(prefix="gradatim-kuberay-"))
    private_network(folder)
    sample: Body = {}
    for wanted in options.rungs:
        one, sample = await ours(folder / f"ours-{wanted}", wanted, options.limit)
        print(json.dumps(one, indent=1), flush=True)
        found["ours"].append(one)
        save(options.out, found)
    for wanted, concurrency in options.kuberay_rungs:
        root = folder / f"kuberay-{wanted}-{concurrency}"
        other = await theirs(root, wanted, concurrency, options.limit, sample)
        print(json.dumps(other, indent=1), flush=True)
        found["kuberay"].append(other)
        found["ratios"] += [
            {
                "created": wanted,
                "concurrency": concurrency,
                "ours_per_kuberay": mine["objects_per_s"] / other["objects_per_s"],
            }
            for mine in found["ours"]
            if mine["created"] == wanted
        ]
        save(options.out, found)
    shutil.rmtree(folder)


def save(path: Path, found: Mapping[str, Any]) -> None:
    """Write the result so far."""
    path.write_text(json.dumps(found, indent=1) + "\n")


def numbers(text: str) -> list[int]:
    """Return the numbers in a list with commas."""
    return [int(word) for word in text.split(",") if word]


def pairs(text: str) -> list[tuple[int, int]]:
    """Return objects and reconcilers of each rung; one reconciler is KubeRay's default.

    >>> pairs("1000,1000:10")
    [(1000, 1), (1000, 10)]
    """
    found = [word.partition(":") for word in text.split(",") if word]
    return [(int(objects), int(reconcilers or 1)) for objects, _, reconcilers in found]


def main() -> int:
    """Parse, go into namespaces of its own, run, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rungs", type=numbers, default="1000,10000", help="numbers of Datasets for our operator")
    parser.add_argument(
        "--kuberay-rungs",
        type=pairs,
        default="1000,1000:10,10000:10",
        help="numbers of RayJobs for KubeRay, each with a number of reconcilers after a colon; 1 is KubeRay's default",
    )
    parser.add_argument(
        "--limit", type=float, default=3600, help="seconds for one rung; what is finished by then counts"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    arguments = [word for word in sys.argv[1:] if word != INSIDE]
    if not options.inside:
        isolate(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the platform is taken down
    command = " ".join(["python -m tests.benchmarks.kuberay_ladder", *arguments])
    environ = environment()
    environ["versions"] |= versions()
    environ["api_server"] = GARBAGE
    os.environ |= GARBAGE  # for the API server of both sides alone
    asyncio.run(ladder(options, {"command": command, **environ, "ours": [], "kuberay": [], "ratios": []}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
