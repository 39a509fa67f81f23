"""Operators with the runtime `kuberay` on a real API server with KubeRay's and Kueue's definitions; no kubelet.

Used by `tests/integration/kuberay`. `Node` does what kubelet and Ray would do for a RayJob: it runs the real entrypoint with the real
ConfigMap as a process, and writes the status that KubeRay would write. Everything else is real: RBAC, garbage collection, artifacts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from tests.support.faultproxy import Proxy
from tests.support.operator import FAST, Operator, kubeconfig_of, merged
from tests.support.watcher import PATHS, WAIT, Body, Cluster, Watcher

from gradatim.api.run import RunConfig, document_digest
from gradatim.operator.clock import now, rfc3339
from gradatim.operator.runtimes.instant_output import Script, progress_document, result_document
from gradatim.platform import PlatformState, health, pki
from gradatim.platform.binaries import manifests
from gradatim.platform.dirs import Layout

RAY, KUEUE = "/apis/ray.io/v1", "/apis/kueue.x-k8s.io/v1beta2"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FINALIZER = "ray.io/rayjob-finalizer"
NODE = "nobody-runs"
IMAGE = "localhost/gradatim/index:0.1.0"
Key = tuple[str, str, str]


@dataclass(repr=False)
class KubeRayBench:
    """One platform with a proxy before its API server, any number of operators, and a store in a folder."""

    cluster: Cluster
    watcher: Watcher
    api: Proxy
    folder: Path
    env: Mapping[str, str]
    profile: str
    operators: list[Operator] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """Return the folder of the artifact store."""
        return self.folder / "store"

    def operator(self, **env: str) -> Operator:
        """Return an operator that talks through the proxy; it is not started."""
        found = Operator(dict(self.env) | env, self.folder / f"operator-{len(self.operators)}.log")
        self.operators.append(found)
        return found

    async def namespace(self, **labels: str) -> str:
        """Return a new namespace."""
        name = f"k{uuid.uuid4().hex[:10]}"
        await self.cluster.create({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name

    async def make_profile(self, name: str = "", **pods: Any) -> str:
        """Create a ComputeProfile with pods; members of `kubeRay` by their wire names."""
        name = name or f"p{uuid.uuid4().hex[:8]}"
        block = {"image": IMAGE, "allowUnpinnedImage": True, "imagePullPolicy": "Never", "rayVersion": "2.60.0"}
        spec = {
            "runtime": {"type": "kuberay", "kubeRay": block | {"artifactVolume": {"claimName": "artifacts"}} | pods},
            "artifactStore": {"root": f"file://{self.store}/{{namespace}}/"},
            "limits": {"allowedSourceRoots": [str(self.folder)]},
            "probeIntervalSeconds": 5,
        }
        body = {
            "apiVersion": "gradatim.dev/v1alpha1",
            "kind": "ComputeProfile",
            "metadata": {"name": name},
            "spec": spec,
        }
        await self.cluster.create(body)
        return name

    async def dataset(self, ns: str, profile: str = "", **spec: Any) -> Key:
        """Create a Dataset over two rows."""
        rows = self.folder / "rows.jsonl"
        if not rows.exists():
            rows.write_text('{"text": "one"}\n{"text": "two"}\n')
        base = {"source": {"path": f"file://{rows}"}, "compute": {"profileRef": {"name": profile or self.profile}}}
        metadata = {"name": "papers", "namespace": ns}
        body = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "Dataset", "metadata": metadata}
        await self.cluster.create(body | {"spec": merged(base, spec)})
        return ("Dataset", ns, "papers")

    async def replace(self, key: Key, spec: Body) -> None:
        """Give a Dataset another spec as a whole, and wait until the watcher has seen it."""
        while True:
            body = await self.cluster.get(*key)
            path = f"{PATHS[key[0]].format(ns=key[1])}/{key[2]}"
            try:
                made = await self.cluster.call("PUT", path, body | {"spec": spec})
            except aiohttp.ClientResponseError as error:
                if error.status != 409:
                    raise
                continue
            break
        version = int(made["metadata"]["resourceVersion"])
        await self.watcher.until(key, lambda o: int(o["metadata"]["resourceVersion"]) >= version, "seen")

    async def objects(self, ns: str, plural: str = "rayjobs", group: str = RAY) -> list[Body]:
        """Return all objects of a resource in a namespace, oldest first."""
        found = (await self.cluster.call("GET", f"{group}/namespaces/{ns}/{plural}"))["items"]
        return sorted(found, key=lambda o: (o["metadata"]["creationTimestamp"], o["metadata"]["name"]))

    async def job(self, ns: str, holds: Callable[[Body], bool] = lambda _: True, seconds: float = WAIT) -> Body:
        """Return the newest RayJob of a namespace once there is one that `holds`."""
        seen: list[Body] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    seen = await self.objects(ns)
                    if seen and holds(seen[-1]):
                        return seen[-1]
                    await asyncio.sleep(0.05)
        raise AssertionError(f"no such RayJob after {seconds} s: {json.dumps(seen)[-2000:]}")

    async def until_no_job(self, ns: str, seconds: float = WAIT) -> None:
        """Wait until the namespace has no RayJob."""
        async with asyncio.timeout(seconds):
            while await self.objects(ns):
                await asyncio.sleep(0.05)

    async def tell(self, job: Body, deployment: str, ray: str = "", **more: Any) -> Body:
        """Write the status of a RayJob as KubeRay would."""
        metadata = job["metadata"]
        status = {"jobDeploymentStatus": deployment, "jobStatus": ray, "rayClusterName": f"{metadata['name']}-x"} | more
        path = f"{RAY}/namespaces/{metadata['namespace']}/rayjobs/{metadata['name']}"
        return await self.cluster.call("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")

    async def merge_job(self, job: Body, patch: Body) -> Body:
        """Change a RayJob as somebody else would: Kueue, KubeRay, a user."""
        metadata = job["metadata"]
        path = f"{RAY}/namespaces/{metadata['namespace']}/rayjobs/{metadata['name']}"
        return await self.cluster.call("PATCH", path, patch, "application/merge-patch+json")

    async def ray_cluster(self, job: Body) -> str:
        """Create the RayCluster of a RayJob as KubeRay would, and return its path."""
        metadata, spec = job["metadata"], job["spec"]["rayClusterSpec"]
        owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": metadata["name"], "uid": metadata["uid"]}
        name, ns = f"{metadata['name']}-x", metadata["namespace"]
        body = {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": name, "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}]},
            "spec": spec,
        }
        await self.cluster.call("POST", f"{RAY}/namespaces/{ns}/rayclusters", body)
        return f"{RAY}/namespaces/{ns}/rayclusters/{name}"

    async def pod(self, job: Body, part: str = "head", grace: int = 2) -> str:
        """Create a pod of a RayJob's RayCluster as KubeRay would, bound to a node that nobody runs, and return its name."""
        metadata = job["metadata"]
        ns, name = metadata["namespace"], f"{metadata['name']}-x"
        path = f"{RAY}/namespaces/{ns}/rayclusters/{name}"
        with contextlib.suppress(aiohttp.ClientResponseError):
            await self.ray_cluster(job)
        owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": name, "controller": True}
        owner |= {"uid": (await self.cluster.call("GET", path))["metadata"]["uid"], "blockOwnerDeletion": True}
        labels = metadata["labels"] | {"ray.io/cluster": name, "ray.io/node-type": part}
        spec = {
            "containers": [{"name": "ray", "image": IMAGE}],
            "nodeName": NODE,
            "terminationGracePeriodSeconds": grace,
            "automountServiceAccountToken": False,
        }
        made: Body = {
            "metadata": {"name": f"{name}-{part}", "labels": labels, "ownerReferences": [owner]},
            "spec": spec,
        }
        await self.cluster.call("POST", f"/api/v1/namespaces/{ns}/pods", made)
        await self.say_of_pod(ns, f"{name}-{part}", {"phase": "Running"})
        return f"{name}-{part}"

    async def say_of_pod(self, ns: str, name: str, status: Body) -> None:
        """Write the status of a pod as the kubelet or the node controller would."""
        path = f"/api/v1/namespaces/{ns}/pods/{name}/status"
        await self.cluster.call("PATCH", path, {"status": status}, "application/merge-patch+json")

    async def confirm(self, ns: str, name: str) -> None:
        """Confirm that a pod has ended, as its kubelet would."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        with contextlib.suppress(aiohttp.ClientResponseError):
            await self.cluster.call("DELETE", f"/api/v1/namespaces/{ns}/pods/{name}", options)

    async def config(self, job: Body) -> RunConfig:
        """Return the config of the attempt that a RayJob orders."""
        ns, words = job["metadata"]["namespace"], shlex.split(job["spec"]["entrypoint"])
        body = await self.cluster.get("ConfigMap", ns, job["metadata"]["labels"]["gradatim.dev/run"])
        config = RunConfig.model_validate_json(body["data"]["config.json"])
        return config.model_copy(update={"attempt": int(words[words.index("--attempt") + 1])})

    async def progress(self, job: Body) -> None:
        """Give a sign of life in the workload's place."""
        self._write(await self.config(job), "progress.json", lambda c, at: progress_document(Script(), c, at))

    async def result(self, job: Body, *, uid: str | None = None, **script: Any) -> None:
        """Write a result in the workload's place; with `uid`, the one of an object with that uid."""
        wanted = Script.model_validate(script)

        def document(config: RunConfig, at: float) -> bytes:
            if uid is not None:
                config = config.model_copy(update={"object": config.object.model_copy(update={"uid": uid})})
            return result_document(wanted, config, at).model_dump_json(by_alias=True, exclude_none=True).encode()

        self._write(await self.config(job), "result.json", document)

    def _write(self, config: RunConfig, name: str, document: Callable[[RunConfig, float], bytes]) -> None:
        folder = Path(config.store.root.removeprefix("file://")) / config.attempt_path
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{name}.part"
        part.write_bytes(document(config, now().timestamp()))
        part.replace(folder / name)

    async def execute(self, job: Body) -> int:
        """Run the entrypoint of a RayJob as a process, with its ConfigMap as the file that the pod would see."""
        frozen = await self.cluster.get(
            "ConfigMap", job["metadata"]["namespace"], job["metadata"]["labels"]["gradatim.dev/run"]
        )
        file = self.folder / f"{job['metadata']['name']}.json"
        file.write_text(frozen["data"]["config.json"])
        words = shlex.split(job["spec"]["entrypoint"])
        words[words.index("--config") + 1] = str(file)
        with (self.folder / "workload.log").open("ab") as log:
            env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
            child = await asyncio.create_subprocess_exec(sys.executable, *words[1:], stdout=log, stderr=log, env=env)
            return await child.wait()

    async def finish(self, job: Body) -> None:
        """Let an attempt run and end as it should."""
        await self.tell(job, "Running", "RUNNING")
        ended = await self.execute(job)
        await self.tell(
            job, *(("Complete", "SUCCEEDED") if ended == 0 else ("Failed", "FAILED")), endTime=rfc3339(now())
        )

    async def resyncs(self, number: int) -> None:
        """Wait until the operators have listed everything so many times more."""

        def seen() -> int:
            return len(
                [c for c in self.api.calls if c.plural == "ragindices" and not c.name and not c.watch and c.query]
            )

        start = seen()
        async with asyncio.timeout(120):
            while seen() < start + number:
                await asyncio.sleep(0.1)

    async def restored(self, golden: Body, ns: str) -> tuple[Key, Body]:
        """Put a Dataset back as a release left it, with its frozen inputs and its running RayJob; return its key and the RayJob."""
        profile = await self.cluster.get("ComputeProfile", "", self.profile)
        known = {"@NS@": ns, "@PROFILE@": self.profile, "@PROFILE_UID@": profile["metadata"]["uid"]}
        known |= {"@STORE@": str(self.store), "@FOLDER@": str(self.folder)}
        key = await self.dataset(ns, **filled(golden["spec"], known))
        made = await self.cluster.get(*key)
        found = filled(golden, known | {"@UID@": made["metadata"]["uid"], "@NOW@": rfc3339(now())})
        document = json.loads(found["configMap"]["data"]["config.json"])
        found = filled(found, {document["digest"]: document_digest(document)})
        await self.cluster.merge(*key, {"metadata": {"finalizers": ["gradatim.dev/cleanup"]}})
        await self.cluster.create({"apiVersion": "v1", "kind": "ConfigMap"} | found["configMap"])
        job = await self.cluster.call("POST", f"{RAY}/namespaces/{ns}/rayjobs", found["rayJob"])
        await self.tell(job, "Running", "RUNNING")
        await self.progress(job)
        await self.cluster.merge(*key, {"status": found["status"]}, "/status")
        return key, job

    async def until_attempts(self, key: Key, *expected: tuple[int, str, str | None]) -> None:
        """Wait until the attempts stand as expected."""

        def stand(body: Body) -> bool:
            return [(a["number"], a["outcome"], a.get("failure")) for a in body["status"]["run"]["attempts"]] == list(
                expected
            )

        await self.watcher.until(key, stand, f"at {expected}")

    async def attempts(self, key: Key) -> list[tuple[int, str, str | None]]:
        """Return number, outcome and failure of the attempts of an object's Run."""
        found = await self.cluster.get(*key)
        return [(a["number"], a["outcome"], a.get("failure")) for a in found["status"]["run"]["attempts"]]


def filled(value: Any, known: Mapping[str, str]) -> Any:
    """Return a document with its placeholders replaced."""
    text = json.dumps(value)
    for name, actual in known.items():
        text = text.replace(name, actual)
    return json.loads(text)


async def install(cluster: Cluster, *, services: bool = False, kueue: bool = False) -> None:
    """Install the definitions of KubeRay, with those that only its own operator needs, or Kueue's too; those that are there stay."""
    kinds = ("rayjobs", "rayclusters", "rayservices") if services else ("rayjobs", "rayclusters")
    files = [manifests.kuberay_crds(os.environ) / f"ray.io_{n}.yaml" for n in kinds]
    files += [manifests.kueue_crds(os.environ) / "kueue.x-k8s.io_workloads.yaml"] if kueue else []
    found: list[Body] = [yaml.load(file.read_text(), yaml.CSafeLoader) for file in files]
    for body in found:
        with contextlib.suppress(aiohttp.ClientResponseError):
            await cluster.call("POST", CRDS, body)
        async with asyncio.timeout(120):
            while True:
                seen = await cluster.call("GET", f"{CRDS}/{body['metadata']['name']}")
                conditions = {c["type"]: c["status"] for c in (seen.get("status", {}).get("conditions") or [])}
                if conditions.get("Established") == "True":
                    break
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def kuberay_bench(state: PlatformState, folder: Path, **env: str) -> AsyncIterator[KubeRayBench]:
    """Build a bench without any operator running; ends everything that it started."""
    layout = Layout(state.state_dir)
    admin = health.tls_context(layout, pki.CLUSTER_CA, "admin")
    identity = health.tls_context(layout, pki.CLUSTER_CA, "operator")
    timeout = aiohttp.ClientTimeout(total=None, connect=10)
    (folder / "store").mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.sleep, 0.25)  # TLS connections end a moment after their session
        connector = aiohttp.TCPConnector(ssl=admin, limit=0)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**22)
        )
        cluster = Cluster(state, session)
        api = await stack.enter_async_context(Proxy(state.api_server, identity).serving())
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_of(api.url)))
        names = ("PATH", "HOME", "LANG", "TMPDIR")
        whole = (
            {n: os.environ[n] for n in names if n in os.environ} | FAST | {"GRADATIM_HEARTBEAT_TIMEOUT_SECONDS": "30"}
        )
        whole |= {
            "KUBECONFIG": str(kubeconfig),
            "GRADATIM_OPERATOR_NAMESPACE": "gradatim-system",
            "GRADATIM_METRICS_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        watcher = Watcher(cluster, state, session)
        follow = asyncio.create_task(watcher.follow("Dataset"))
        found = KubeRayBench(cluster, watcher, api, folder, whole | env, f"p{uuid.uuid4().hex[:8]}")
        try:
            yield found
        finally:
            api.before.clear()
            api.after.clear()
            for operator in found.operators:
                await operator.stop()
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)
