"""How long a RAGIndex takes to be Ready on the single-node cluster: pods for each attempt (cold) against a standing Ray cluster (warm). Linux, root.

`python -m tests.benchmarks cluster_ready`. Operator, KubeRay and Weaviate are processes beside the pods, the artifact store is a folder of the
node, and the image of the workloads is imported. Both sides build the same new index of this documentation, in turns, on pods of the same shape;
one build of each side before is not counted.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.benchmarks.options import parser_of
from tests.benchmarks.report import environment, finish, say, spread
from tests.support.node import apply, until
from tests.support.onpods import ROOT, OnPods, condition, documents, namespace, secret
from tests.support.onpods_store import Store

from gradatim.api.run import attempt_name
from gradatim.platform import pki, prepare
from gradatim.platform.binaries import KUBE, WEAVIATE
from gradatim.platform.binaries.addons import KUBERAY
from gradatim.platform.bootstrap import Admin
from gradatim.platform.health import tls_context
from gradatim.platform.images import containerd, layout
from gradatim.platform.images.build import Options, Workshop, build
from gradatim.platform.images.catalog import INDEX, USER_ID
from gradatim.platform.launches import OPERATOR_NAMESPACE
from gradatim.platform.node import NodeCluster, NodeOptions, Part, down, up
from gradatim.platform.node.layout import API_SERVER
from gradatim.platform.objects import WEAVIATE_SECRET

NAME, TEAM, STANDING, WARM, COLD = "cluster_ready", "team-a", "standing", "warm", "cold"
READY_SECONDS, POLL = 420.0, 0.2
OURS, RAY = f"/apis/gradatim.dev/v1alpha1/namespaces/{TEAM}", f"/apis/ray.io/v1/namespaces/{TEAM}"
# What a pod may take while nobody else wants it; requests are small, so that the node has room for both sides.
SHAPE = {
    "resources": {"cpu": "500m", "memory": "3Gi"},
    "podTemplate": {"spec": {"containers": [{"name": "ray", "resources": {"limits": {"cpu": "2"}}}]}},
}
# Phases in their order, by the moment that ends each.
PHASES = {
    COLD: {
        "rayjob": "operator: frozen, recorded, RayJob made",
        "scheduled": "KubeRay and scheduler",
        "container": "containers started",
        "cluster": "Ray started, probed, seen as ready",
        "started": "job submitted and started",
        "working": "process and imports",
        "result": "work",
        "ready": "noticed, gated, alias set",
    },
    WARM: {
        "started": "operator: frozen, recorded, submitted and started",
        "working": "process and imports",
        "result": "work",
        "ready": "noticed, gated, alias set",
    },
}
EXAMPLES = ROOT / "docs" / "examples"
# The node's folders of volumes as the cluster's processes and pods see them.
VOLUMES = "/run/gradatim/data/volumes"
Body = dict[str, Any]
Moments = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """The platform, and a connection that is cheap enough to ask often."""

    platform: OnPods
    admin: Admin

    def build(self, side: str, name: str) -> Moments:
        """Make an index, wait until it is ready, remove it; return seconds since it was applied by moment."""
        apply(self.platform.cluster, index(name, side))
        begun, seen = time.time(), Moments()
        while not seen.get("ready"):
            if time.time() - begun > READY_SECONDS:
                raise TimeoutError(self.platform.story(self.admin.get(f"{OURS}/ragindices/{name}")))
            found = self.admin.get(f"{OURS}/ragindices/{name}")
            self._look(side, found, lambda what: seen.setdefault(what, time.time()))
            time.sleep(POLL)
        seen |= self._afterwards(side, found)
        self.platform.cluster.kubectl("delete", "ragindex", name, "-n", TEAM, "--timeout=120s", timeout=150)
        until(lambda: not self.platform.items("rayclusters", labels=f"gradatim.dev/owner={uid(found)}"), 120)
        return {what: at - begun for what, at in seen.items()}

    def _look(self, side: str, found: Body, reached: Callable[[str], object]) -> None:
        attempts = found.get("status", {}).get("run", {}).get("attempts", [])
        if condition(found, "Ready")[0] == "True":
            reached("ready")
        if not attempts or side == WARM:
            return
        job = self.admin.get(f"{RAY}/rayjobs/{attempt_name(found['status']['run']['name'], 1)}")
        if not job:
            return
        reached("rayjob")
        cluster = self.admin.get(f"{RAY}/rayclusters/{job.get('status', {}).get('rayClusterName') or 'none'}")
        head = cluster.get("status", {}).get("head", {}).get("podName")
        pod = self.admin.get(f"/api/v1/namespaces/{TEAM}/pods/{head}") if head else {}
        for what in pod_moments(pod):
            reached(what)
        if cluster.get("status", {}).get("state") == "ready":
            reached("cluster")

    def _afterwards(self, side: str, found: Body) -> Moments:
        """Return what is only known when it is over: when Ray started the process, and what the process left in the store."""
        run = found["status"]["run"]["name"]
        folder = (
            volume(self.platform.cluster, "artifacts")
            / TEAM
            / "ragindex"
            / found["metadata"]["name"]
            / uid(found)
            / run
        )
        moments = {
            what: (folder / name).stat().st_mtime
            for what, name in (("working", "config.json"), ("result", "a1/result.json"))
        }
        attempt = attempt_name(run, 1)
        if side == COLD:
            info = self.admin.get(f"{RAY}/rayjobs/{attempt}")["status"]["rayJobInfo"]
            return moments | {"started": datetime.fromisoformat(info["startTime"]).timestamp()}
        return moments | {"started": self._submission(attempt)["start_time"] / 1000}

    def _submission(self, attempt: str) -> Body:
        import httpx

        address = self.admin.get(f"/api/v1/namespaces/{TEAM}/services/{STANDING}-head-svc")["spec"]["clusterIP"]
        if address == "None":
            address = self.platform.items("pods", TEAM, f"ray.io/cluster={STANDING}")[0]["status"]["podIP"]
        headers = {"Authorization": f"Bearer {token(self.platform)}"}
        with self.platform.cluster.entered():
            answer = httpx.get(f"http://{address}:8265/api/jobs/{attempt}", headers=headers, timeout=30)
        answer.raise_for_status()
        found: Body = answer.json()
        return found


def uid(body: Body) -> str:
    """Return an object's uid."""
    return str(body["metadata"]["uid"])


def volume(cluster: NodeCluster, name: str) -> Path:
    """Return a folder of the node that is a volume, as this machine sees it."""
    return cluster.layout.data_root / "volumes" / name


def index(name: str, side: str) -> Body:
    """Return the quickstart's index over the documents on the volume."""
    (body,) = documents((EXAMPLES / "quickstart" / "gradatim-docs.yaml").read_text())
    body["metadata"] |= {"name": name, "namespace": TEAM}
    claim = {"claimName": "documents"}
    body["spec"]["sources"][0]["source"] = {"persistentVolumeClaim": claim | {"subPath": "handbook"}}
    body["spec"]["evaluation"]["questions"] = {"persistentVolumeClaim": claim | {"subPath": "questions.jsonl"}}
    body["spec"]["compute"] = {"profileRef": {"name": side}}
    return dict(body)


def pod_moments(pod: Body) -> Iterator[str]:
    """Yield what a pod has reached."""
    status = pod.get("status", {})
    if any(c["type"] == "PodScheduled" and c["status"] == "True" for c in status.get("conditions", [])):
        yield "scheduled"
    if any("running" in c.get("state", {}) for c in status.get("containerStatuses", [])):
        yield "container"


def token(platform: OnPods) -> str:
    """Return the token that KubeRay made for the standing cluster."""
    import base64

    return base64.b64decode(platform.get("secret", STANDING, TEAM)["data"]["auth_token"]).decode()


def profile(platform: OnPods, side: str) -> Body:
    """Return the profile of one side: the same stores and the same pods."""
    (body,) = documents((EXAMPLES / "profiles" / "node-cluster.yaml").read_text())
    body["metadata"]["name"] = side
    spec, cluster = body["spec"], platform.cluster
    spec["runtime"]["kubeRay"] |= {"head": SHAPE, "worker": SHAPE, "ttlSecondsAfterFinished": 10}
    if side == WARM:
        address = f"http://{STANDING}-head-svc.{TEAM}.svc:8265"
        spec["runtime"] = {
            "type": "rayCluster",
            "rayCluster": {"address": address, "operatorSecretName": STANDING, "sharedTrust": True},
        }
    spec["artifactStore"]["root"] = f"file://{VOLUMES}/artifacts/{{namespace}}/"
    spec["vectorStore"] = {
        "endpoint": cluster.weaviate,
        "grpcEndpoint": cluster.weaviate_grpc,
        "operatorSecretName": WEAVIATE_SECRET,
        "workloadSecretName": "weaviate-workload",
    }
    return dict(body)


def standing_cluster(job: Body) -> Body:
    """Return a RayCluster with the pods of an attempt's: its Secrets, and no config, which comes with each submission."""
    spec = copy.deepcopy(job["spec"]["rayClusterSpec"])
    template = spec["headGroupSpec"]["template"]
    template["metadata"] = {}
    pod = template["spec"]
    pod["volumes"] = [v for v in pod["volumes"] if v["name"] != "run"]
    main = pod["containers"][0]
    main["volumeMounts"] = [m for m in main["volumeMounts"] if m["name"] != "run"]
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": STANDING, "namespace": TEAM},
        "spec": spec,
    }


def make_standing(bench: Bench) -> float:
    """Make the standing cluster in the shape of a cold attempt, and its profile; return the seconds until it was ready."""
    platform = bench.platform
    apply(platform.cluster, index("shape", COLD))
    job: Body = until(lambda: next(iter(platform.items("rayjobs", TEAM)), None), 60)
    platform.cluster.kubectl("delete", "ragindex", "shape", "-n", TEAM, "--timeout=120s", timeout=150)
    begun = time.monotonic()
    apply(platform.cluster, standing_cluster(job))
    until(lambda: platform.get("raycluster", STANDING).get("status", {}).get("state") == "ready", 240)
    took = time.monotonic() - begun
    apply(
        platform.cluster, secret(OPERATOR_NAMESPACE, STANDING, {"auth_token": token(platform)}), profile(platform, WARM)
    )
    platform.wait("computeprofile", WARM, lambda b: condition(b, "Ready")[0] == "True", 120)
    return took


def phases(side: str, moments: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by phase; together they are the whole time."""
    ends = [0.0, *(moments[what] for what in PHASES[side])]
    # Clocks of one second (Ray's start in the RayJob) must not make a phase negative.
    ordered = [max(ends[: n + 1]) for n in range(len(ends))]
    spans = [b - a for a, b in pairwise(ordered)]
    return {what: round(span, 2) for what, span in zip(PHASES[side], spans, strict=True)}


def summary(side: str, samples: list[Moments]) -> Body:
    """Return totals and the median of each phase."""
    split = [phases(side, one) for one in samples]
    return {
        "ready_s": {key: round(value, 2) for key, value in spread([one["ready"] for one in samples]).items()},
        "phases_s": {
            what: {"is": text, "median": round(spread([one[what] for one in split])["median"], 2)}
            for what, text in PHASES[side].items()
        },
        "samples": split,
    }


@contextmanager
def installed(state: Path | None) -> Iterator[OnPods]:
    """Give the platform: in a folder that is kept, or for this run alone."""
    with tempfile.TemporaryDirectory(prefix="gradatim-cluster-ready-") as name:
        folder = state or Path(name) / "state"
        try:
            options = NodeOptions(folder, frozenset({Part.KUBERAY, Part.OPERATOR, Part.WEAVIATE}))
            cluster = up(options, lambda part, text: say(f"{part}: {text}"))
            image = Path(name) / "index"
            build(INDEX, Options(cpu_only=True, demo_model=True), image, Workshop.at(ROOT, os.environ, say))
            containerd.load(image, cluster.ctr)
            found = OnPods(cluster, Store(cluster), {}, {"index": layout.read(image)}, Path(name))
            prepared(found)
            yield found
        finally:
            if state is None:
                down(folder)


def prepared(platform: OnPods) -> None:
    """Make volumes with this documentation in one of them, and the team's namespace with its key of Weaviate."""
    for name in ("artifacts", "artifacts/" + TEAM, "documents", "documents/handbook", "weaviate"):
        folder = volume(platform.cluster, name)
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, USER_ID, USER_ID)
    volume(platform.cluster, "documents").parent.chmod(0o755)
    shown = volume(platform.cluster, "documents")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if page.relative_to(ROOT / "docs").parts[0] != "reference":
            target = shown / "handbook" / page.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, target)
    shutil.copyfile(EXAMPLES / "quickstart" / "questions.jsonl", shown / "questions.jsonl")
    volumes = documents((ROOT / "docs" / "operations" / "node-cluster" / "volumes.yaml").read_text())
    key = prepare.credentials(platform.cluster.layout).weaviate.workload
    host = platform.cluster.weaviate.removeprefix("http://")
    apply(platform.cluster, namespace(TEAM), *volumes, secret(TEAM, "weaviate-workload", {"api-key": key}, host))


def measure(options: argparse.Namespace, platform: OnPods) -> Body:
    """Build in turns and return both sides."""
    apply(platform.cluster, profile(platform, COLD))
    platform.wait("computeprofile", COLD, lambda b: condition(b, "Ready")[0] == "True", 120)
    context = tls_context(platform.cluster.layout, pki.CLUSTER_CA, "admin")
    samples: dict[str, list[Moments]] = {COLD: [], WARM: []}
    with platform.cluster.entered(), Admin(API_SERVER, context) as admin:
        bench = Bench(platform, admin)
        took = make_standing(bench)
        for number in range(-1, options.repeats):
            for side in (COLD, WARM):
                moments = bench.build(side, f"{side}-{number + 1}")
                say(f"{side} {number + 1}: ready after {moments['ready']:.1f} s {phases(side, moments)}")
                if number >= 0:
                    samples[side].append(moments)
        for kind, name in (("raycluster", STANDING), ("computeprofile", WARM), ("computeprofile", COLD)):
            platform.cluster.kubectl("delete", kind, name, "-n", TEAM, "--wait=false")
    return {"standing_cluster_ready_s": round(took, 1), **{side: summary(side, samples[side]) for side in samples}}


def main() -> int:
    """Measure and report."""
    parser = parser_of(NAME, __doc__)
    parser.add_argument("--state", type=Path, help="state folder of a cluster that is kept, as GRADATIM_E2E_STATE")
    parser.add_argument("--before", type=Path, help="an earlier result, to be kept beside this one")
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
    found = environment()
    found["versions"] |= {"kubernetes": KUBE.version, "kuberay": KUBERAY.version, "weaviate": WEAVIATE.version}
    with installed(options.state) as platform:
        found |= measure(options, platform)
    if options.before:
        earlier = json.loads(options.before.read_text(encoding="utf-8"))
        found["before"] = {key: earlier[key] for key in ("date", "commit", COLD, WARM)}
    finish(NAME, options, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
