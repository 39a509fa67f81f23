"""Pods that outlive their RayJob: no attempt overlaps another one, whatever has become of a node, and nothing is kept for longer than allowed.

The kubelet's and the node controller's part is played by the test: pods are bound to a node that nobody runs, so that they stay until the
test confirms their end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from tests.support.kuberay import KubeRayBench, install, kuberay_bench
from tests.support.watcher import condition, truth

from gradatim.operator.clock import now, rfc3339
from gradatim.platform import PlatformState

pytestmark = pytest.mark.asyncio(loop_scope="module")
Body = dict[str, Any]
# Waiting for pods is not to be called Stalled beside the fence, which it would be after the other benches' deadline of 4 s.
FENCE = {
    "GRADATIM_POD_FENCE_SECONDS": "3",
    "GRADATIM_HEARTBEAT_TIMEOUT_SECONDS": "15",
    "GRADATIM_DEPENDENCY_DEADLINE_SECONDS": "60",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def k(kuberay_platform: PlatformState, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KubeRayBench]:
    """A bench with one running operator that has less patience."""
    async with kuberay_bench(kuberay_platform, tmp_path_factory.mktemp("pods"), **FENCE) as found:
        await install(found.cluster, kueue=True)
        await found.make_profile(found.profile)
        await found.operator().start()
        yield found
        assert found.watcher.new_violations() == []


def message(body: Body) -> str:
    """Return what Reconciling says."""
    return str(condition(body, "Reconciling").get("message", ""))


def later(job: Body) -> bool:
    """Return whether it is the RayJob of a second attempt."""
    return bool(job["metadata"]["name"].endswith("-a2"))


async def test_the_next_attempt_waits_until_no_pod_of_the_one_before_is_left(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    first = await k.job(ns)
    head = await k.pod(first, grace=600)
    worker = await k.pod(first, "worker", grace=600)
    await k.tell(first, "Failed", "FAILED", message="gone", endTime=rfc3339(now()))
    told = await k.watcher.until(key, lambda o: "may still be running" in message(o), "waiting for the pods")
    assert truth(told, "Reconciling") == ("True", "Terminating")
    (held,) = await k.objects(ns)
    assert (held["metadata"]["uid"], "deletionTimestamp" in held["metadata"]) == (first["metadata"]["uid"], True)
    await k.confirm(ns, head)
    await k.watcher.until(key, lambda o: message(o).endswith(f"still be running: {worker}"), "waiting for the worker")
    assert [j["metadata"]["uid"] for j in await k.objects(ns)] == [first["metadata"]["uid"]]
    lists = [c for c in k.api.calls if c.namespace == ns and c.plural == "pods" and not c.name]
    assert {c.query["labelSelector"] for c in lists} == {
        f"gradatim.dev/owner={first['metadata']['labels']['gradatim.dev/owner']}"
    }
    await k.confirm(ns, worker)
    second = await k.job(ns, later)
    await k.result(second)
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
    assert await k.attempts(key) == [(1, "Failed", "NodeLost"), (2, "Succeeded", None)]
    lists = [c for c in k.api.calls if c.namespace == ns and c.plural == "pods" and not c.name]
    submits = [
        c
        for c in k.api.calls
        if c.namespace == ns and (c.method, c.plural) == ("GET", "rayjobs") and c.name.endswith("-a2")
    ]
    assert len(lists) < len(submits), "listed where a submission is due, not in every pass"


async def test_a_dead_node_costs_one_attempt_and_not_the_run(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    first = await k.job(ns)
    head = await k.pod(first)
    await k.tell(first, "Running", "RUNNING", rayClusterStatus={"head": {"podName": head}})
    await k.progress(first)
    await k.until_attempts(key, (1, "Running", None))
    # As the node controller does it: the kubelet's last word on the containers stands.
    conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]
    await k.say_of_pod(ns, head, {"conditions": conditions})
    told = await k.watcher.until(key, lambda o: "does not answer" in message(o), "telling of the node")
    assert "node nobody-runs of pod" in message(told)
    # No sign of life for a third of the patience: the RayJob is deleted, and its pod holds it, for ever.
    job = await k.job(ns, lambda j: "deletionTimestamp" in j["metadata"])
    assert job["metadata"]["finalizers"] == ["foregroundDeletion"]
    await k.until_attempts(key, (1, "Failed", "NodeLost"), (2, "Recorded", None))
    second = await k.job(ns, later)
    assert head in {p["metadata"]["name"] for p in await k.objects(ns, "pods", "/api/v1")}
    await k.result(second)
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
    await k.confirm(ns, head)


async def test_a_process_that_hangs_after_its_result_holds_no_pods_for_longer_than_the_profile_says(
    k: KubeRayBench,
) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns, await k.make_profile(ttlSecondsAfterFinished=0))
    job = await k.job(ns)
    await k.ray_cluster(job)
    await k.tell(job, "Running", "RUNNING")
    await k.result(job)
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
    before = await k.cluster.get(*key)
    await k.until_no_job(ns)
    assert await k.cluster.get(*key) == before, "a Run that is done never changes"


async def test_what_kuberay_has_shut_down_in_time_stays_as_a_record(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns, await k.make_profile(ttlSecondsAfterFinished=0))
    job = await k.job(ns)
    await k.result(job)
    await k.tell(job, "Complete", "SUCCEEDED", endTime=rfc3339(now() - timedelta(seconds=60)))
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")

    def looks() -> int:
        return len([c for c in k.api.calls if c.plural == "rayclusters" and c.namespace == ns])

    before = looks()
    async with asyncio.timeout(30):
        while looks() == before:
            await asyncio.sleep(0.2)
    await asyncio.sleep(1)
    assert [j["metadata"]["uid"] for j in await k.objects(ns)] == [job["metadata"]["uid"]]
