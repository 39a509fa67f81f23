"""A queue before the runtime: the RayJob waits, Kueue's words are ours, an eviction costs no attempt. Kueue's part is played by the test."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.kuberay import KUEUE, KubeRayBench
from tests.support.watcher import condition, truth

from gradatim.operator.clock import now, rfc3339
from gradatim.operator.runtimes.kueue import workload_name

pytestmark = pytest.mark.asyncio(loop_scope="module")
Body = dict[str, Any]


async def make_workload(k: KubeRayBench, job: Body) -> str:
    """Create the Workload of a RayJob as Kueue would, and return its path."""
    metadata, head = job["metadata"], job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    name = workload_name(metadata["name"], metadata["uid"])
    template = {"spec": {"containers": head["spec"]["containers"], "restartPolicy": "Never"}}
    spec = {"queueName": "team-a", "podSets": [{"name": "head", "count": 1, "template": template}]}
    path = f"{KUEUE}/namespaces/{metadata['namespace']}/workloads"
    body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": {"name": name}, "spec": spec}
    await k.cluster.call("POST", path, body)
    return f"{path}/{name}"


async def say(k: KubeRayBench, path: str, *conditions: tuple[str, str, str, str]) -> None:
    """Write the conditions of a Workload: type, status, reason, message."""
    names = ("type", "status", "reason", "message")
    found = [dict(zip(names, c, strict=True)) | {"lastTransitionTime": rfc3339(now())} for c in conditions]
    await k.cluster.call("PATCH", f"{path}/status", {"status": {"conditions": found}}, "application/merge-patch+json")


async def test_an_attempt_waits_in_its_queue_runs_is_evicted_and_goes_on(k: KubeRayBench) -> None:
    ns = await k.namespace()
    profile = await k.make_profile(queueName="team-a")
    key = await k.dataset(ns, profile, compute={"priority": "high"}, activeDeadlineSeconds=60)
    job = await k.job(ns)
    labels = job["metadata"]["labels"]
    assert (labels["kueue.x-k8s.io/queue-name"], labels["kueue.x-k8s.io/priority-class"]) == ("team-a", "high")
    assert job["spec"]["suspend"] is True
    await k.tell(job, "Suspended")
    found = await k.watcher.until(key, lambda o: truth(o, "Queued")[0] == "True", "queued")
    assert (found["status"]["state"], truth(found, "Queued")) == ("Queued", ("True", "Pending"))
    told = condition(found, "Queued")["message"]
    assert ("Kueue has not taken it up yet" in told, "WorkloadPriorityClass high" in told) == (True, True)

    workload = await make_workload(k, job)
    await say(k, workload, ("QuotaReserved", "False", "Pending", "insufficient quota for cpu"))
    found = await k.watcher.until(
        key, lambda o: "insufficient quota" in condition(o, "Queued").get("message", ""), "told"
    )
    assert truth(found, "Admitted") == ("False", "Pending")
    assert truth(found, "Reconciling") == ("True", "Queued")
    assert found["status"]["run"]["attempts"][0]["waitingSince"]

    admitted = (("QuotaReserved", "True", "QuotaReserved", ""), ("Admitted", "True", "Admitted", "admitted"))
    await say(k, workload, *admitted)
    await k.merge_job(job, {"spec": {"suspend": False}})
    await k.tell(job, "Running", "RUNNING")
    await k.progress(job)
    found = await k.watcher.until(key, lambda o: truth(o, "Admitted") == ("True", "Admitted"), "admitted")
    assert truth(found, "Queued") == ("False", "Admitted")

    await say(
        k,
        workload,
        ("QuotaReserved", "False", "Pending", "Preempted to accommodate a workload"),
        ("Admitted", "False", "NoReservation", "The workload has no reservation"),
        ("Evicted", "True", "Preempted", "Preempted to accommodate a workload"),
    )
    await k.merge_job(job, {"spec": {"suspend": True}})
    await k.result(job, outcome="Stopped", message="stopped: signal SIGTERM")
    await k.tell(job, "Suspended")
    found = await k.watcher.until(key, lambda o: truth(o, "Evicted") == ("True", "Preempted"), "evicted")
    assert found["status"]["state"] == "Queued"
    assert await k.attempts(key) == [(1, "Running", None)]

    await say(k, workload, *admitted, ("Evicted", "False", "Admitted", ""))
    await k.merge_job(job, {"spec": {"suspend": False}})
    await k.finish(job)
    found = await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
    assert await k.attempts(key) == [(1, "Succeeded", None)]
    assert [truth(found, t) for t in ("Queued", "Admitted", "Evicted")] == [("False", "RunEnded")] * 3
    writes = [str(c) for c in k.api.writes if c.namespace == ns and c.plural in {"rayjobs", "workloads"}]
    assert writes == ["POST rayjobs"]


async def test_one_that_waits_in_a_queue_is_removed_at_once_with_its_object(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns, await k.make_profile(queueName="team-a"))
    await k.tell(await k.job(ns), "Suspended")
    await k.watcher.until(key, lambda o: truth(o, "Queued")[0] == "True", "queued")
    await k.cluster.delete(*key)
    await k.watcher.until_gone(key)
    assert await k.objects(ns) == []


async def test_a_priority_that_the_profile_does_not_allow_is_refused_until_it_is_changed(k: KubeRayBench) -> None:
    ns = await k.namespace()
    profile = await k.make_profile(queueName="team-a", allowedPriorities=["high", "normal"])
    key = await k.dataset(ns, profile, compute={"priority": "urgent"})
    found = await k.watcher.until(key, lambda o: truth(o, "Stalled")[0] == "True", "refused")
    assert truth(found, "Stalled")[1] == "ProfileNotAllowed"
    told = condition(found, "Stalled")["message"]
    assert told == f"compute.priority is 'urgent'; ComputeProfile {profile!r} allows high, normal, or none"
    assert await k.objects(ns) == []
    await k.cluster.merge(*key, {"spec": {"compute": {"priority": "normal"}}})
    job = await k.job(ns)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "normal"
    await k.cluster.delete(*key)
    await k.watcher.until_gone(key)
