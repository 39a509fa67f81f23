"""The real KubeRay operator against what we render. There is no kubelet, so pods stay pending, which is a case of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.kuberay import RAY, KubeRayBench, install, kuberay_bench
from tests.support.watcher import condition, truth

from gradatim.platform import PlatformState
from gradatim.platform.binaries import Settings, resolve
from gradatim.platform.binaries.addons import KUBERAY
from gradatim.platform.ports import is_free

pytestmark = pytest.mark.asyncio(loop_scope="module")
Body = dict[str, Any]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(
    kuberay_platform: PlatformState, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KubeRayBench]:
    """A bench with our operator and KubeRay's, both as processes."""
    tools = resolve(KUBERAY, Settings.from_environment(os.environ), lambda _component, _message: None)
    folder = tmp_path_factory.mktemp("real-kuberay")
    ports = (port for port in range(24_000 + os.getpid() % 1000, 26_000) if is_free(port))
    addresses = [f"--metrics-addr=127.0.0.1:{next(ports)}", f"--health-probe-bind-address=127.0.0.1:{next(ports)}"]
    argv = [*tools.argv("kuberay"), "--use-kubernetes-proxy", "--enable-leader-election=false", *addresses]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": str(kuberay_platform.kubeconfig)}
    async with kuberay_bench(kuberay_platform, folder) as bench:
        await install(bench.cluster, services=True, kueue=True)
        with (
            (folder / "kuberay.log").open("wb") as log,
            subprocess.Popen(argv, env=env, stdout=log, stderr=log) as process,
        ):
            try:
                await bench.operator().start()
                yield bench
                assert process.poll() is None, (folder / "kuberay.log").read_text()[-2000:]
            finally:
                process.terminate()
        assert bench.watcher.new_violations() == []


@pytest.fixture(autouse=True)
def only_truth_was_seen(real: KubeRayBench) -> Iterator[None]:
    """Charge what must never be seen to the test in which it was seen."""
    yield
    assert real.watcher.new_violations() == []


async def pods_of(k: KubeRayBench, ns: str, count: int) -> list[Body]:
    """Return the pods of a namespace once there are so many."""
    async with asyncio.timeout(60):
        while True:
            found = await k.objects(ns, "pods", "/api/v1")
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


def _of(cluster: Body, job: Body) -> bool:
    return any(o["uid"] == job["metadata"]["uid"] for o in cluster["metadata"]["ownerReferences"])


async def test_kuberay_makes_restricted_pods_of_our_rayjob_and_its_deadline_leads_to_the_next_attempt(
    real: KubeRayBench,
) -> None:
    ns = await real.namespace(**RESTRICTED)
    key = await real.dataset(ns, await real.make_profile(preRunningDeadlineSeconds=10), compute={"workers": 2})
    job = await real.job(ns, lambda j: j.get("status", {}).get("jobDeploymentStatus") == "Initializing")
    found = await pods_of(real, ns, 3)
    assert sorted(p["metadata"]["labels"]["ray.io/node-type"] for p in found) == ["head", "worker", "worker"]
    containers = [c for p in found for c in (*p["spec"]["containers"], *p["spec"].get("initContainers", []))]
    assert "wait-gcs-ready" in {c["name"] for c in containers}
    assert {c["securityContext"]["readOnlyRootFilesystem"] for c in containers} == {True}
    tokens = [e for c in containers for e in c["env"] if e["name"] == "RAY_AUTH_MODE"]
    assert {e["value"] for e in tokens} == {"token"}
    seen = await real.watcher.until(
        key, lambda o: "is pending" in condition(o, "Reconciling").get("message", ""), "pending"
    )
    assert seen["status"]["run"]["attempts"][0]["outcome"] == "Running"

    first = await real.job(ns, lambda j: bool(j.get("status", {}).get("reason")))
    assert first["metadata"]["uid"] == job["metadata"]["uid"]
    assert first["status"]["reason"] == "PreRunningDeadlineExceeded"
    again = await real.job(ns, lambda j: j["metadata"]["name"].endswith("-a2"))
    await real.until_attempts(key, (1, "Failed", "Dependency"), (2, "Running", None))
    assert [j["metadata"]["uid"] for j in await real.objects(ns)] == [again["metadata"]["uid"]]
    left = await real.objects(ns, "pods", "/api/v1")
    assert {p["metadata"]["labels"]["ray.io/cluster"] for p in left} <= {
        c["metadata"]["name"] for c in await real.objects(ns, "rayclusters") if _of(c, again)
    }
    await real.job(ns, lambda j: bool(j.get("status", {}).get("rayClusterName")))

    await real.cluster.delete(*key)
    await real.watcher.until_gone(key)
    assert again["metadata"]["name"] not in {j["metadata"]["name"] for j in await real.objects(ns)}
    for plural, group in (("rayjobs", RAY), ("rayclusters", RAY), ("pods", "/api/v1")):
        async with asyncio.timeout(60):
            while await real.objects(ns, plural, group):
                await asyncio.sleep(0.1)


async def test_kuberay_starts_nothing_for_one_that_waits_in_a_queue(real: KubeRayBench) -> None:
    ns = await real.namespace()
    key = await real.dataset(ns, await real.make_profile(queueName="team-a"))
    await real.job(ns, lambda j: j.get("status", {}).get("jobDeploymentStatus") == "Suspended")
    found = await real.watcher.until(key, lambda o: truth(o, "Queued")[0] == "True", "queued")
    assert found["status"]["state"] == "Queued"
    assert await real.objects(ns, "pods", "/api/v1") == []
    await real.cluster.delete(*key)
    await real.watcher.until_gone(key)
    assert await real.objects(ns) == []
