"""The life of attempts as RayJobs, with what KubeRay is known to do to them; KubeRay's and the kubelet's part is played by the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.kuberay import FINALIZER, IMAGE, RAY, KubeRayBench, install, kuberay_bench
from tests.support.watcher import condition, truth

from gradatim.operator.clock import now, rfc3339
from gradatim.platform import PlatformState, down

pytestmark = pytest.mark.asyncio(loop_scope="module")
Body = dict[str, Any]


def message(body: Body) -> str:
    """Return what Reconciling says."""
    return str(condition(body, "Reconciling").get("message", ""))


async def test_a_dataset_becomes_current_through_a_rayjob_and_takes_it_along_when_it_goes(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    job = await k.job(ns)
    body = await k.cluster.get(*key)
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Dataset", body["metadata"]["uid"], True)
    assert "suspend" not in job["spec"] or job["spec"]["suspend"] is False
    assert (k.store / ns).is_dir(), "the kubelet would make it root's"
    await k.finish(job)
    done = await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
    assert (done["status"]["active"]["rows"], done["status"]["run"]["attempts"][0]["outcome"]) == (2, "Succeeded")
    assert done["status"]["store"]["runtimeType"] == "kuberay"
    await k.cluster.delete(*key)
    await k.watcher.until_gone(key)
    assert await k.objects(ns) == []
    assert [p for p in (k.store / ns).rglob("*") if p.is_file() and "probe" not in p.parts] == []


async def test_what_keeps_pods_from_starting_is_told(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    job = await k.job(ns)
    path = await k.ray_cluster(job)
    pod = {
        "metadata": {"name": "head"},
        "spec": {"containers": [{"name": "ray", "image": IMAGE}], "automountServiceAccountToken": False},
    }
    await k.cluster.call("POST", f"/api/v1/namespaces/{ns}/pods", pod)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    state = {"name": "ray", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
    merge = "application/merge-patch+json"
    await k.cluster.call(
        "PATCH", f"/api/v1/namespaces/{ns}/pods/head/status", {"status": {"containerStatuses": [state]}}, merge
    )
    await k.cluster.call("PATCH", f"{path}/status", {"status": {"head": {"podName": "head"}}}, merge)
    await k.tell(job, "Initializing")
    found = await k.watcher.until(key, lambda o: "ImagePullBackOff" in message(o), "telling")
    assert message(found) == "attempt 1 is pending: pod head: ImagePullBackOff: no such image"
    await k.cluster.delete(*key)
    await k.watcher.until_gone(key)


async def test_failed_while_ray_runs_it_waits_for_a_sign_of_life(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    job = await k.job(ns)
    await k.ray_cluster(job)
    await k.tell(job, "Failed", "RUNNING", reason="DeadlineExceeded")
    await k.progress(job)
    await k.watcher.until(key, lambda o: "waiting for a sign of life" in message(o), "in doubt")
    assert await k.attempts(key) == [(1, "Running", None)]
    await k.result(job)
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
    assert await k.attempts(key) == [(1, "Succeeded", None)]


async def test_failed_with_nothing_left_is_followed_by_another_attempt(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    first = await k.job(ns)
    await k.tell(first, "Failed", "RUNNING", reason="DeadlineExceeded", endTime=rfc3339(now()))
    second = await k.job(ns, lambda j: j["metadata"]["name"].endswith("-a2"))
    assert second["spec"]["jobId"] == second["metadata"]["name"]
    await k.until_attempts(key, (1, "Failed", "NodeLost"), (2, "Running", None))
    await k.result(second)
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")


async def test_nobody_but_its_creation_writes_a_rayjob_whatever_others_do_to_it(k: KubeRayBench) -> None:
    ns = await k.namespace()
    profile = await k.make_profile()
    key = await k.dataset(ns, profile)
    job = await k.job(ns)
    await k.merge_job(job, {"spec": {"suspend": True}, "metadata": {"labels": {"by": "somebody"}}})
    await k.tell(job, "Suspended")
    await k.watcher.until(key, lambda o: "the RayJob is suspended" in message(o), "told")
    patch = {"spec": {"runtime": {"kubeRay": {"image": "localhost/gradatim/index:0.2.0"}}}}
    await k.cluster.merge("ComputeProfile", "", profile, patch)
    await k.merge_job(job, {"spec": {"suspend": False}})
    await k.tell(job, "Running", "RUNNING")
    await k.progress(job)
    await k.watcher.until(key, lambda o: o["status"].get("progress") is not None, "going on")
    left = (await k.objects(ns))[-1]
    image = left["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert (image, left["metadata"]["labels"]["by"]) == (IMAGE, "somebody")
    assert [str(c) for c in k.api.writes if c.namespace == ns and c.plural == "rayjobs"] == ["POST rayjobs"]
    await k.result(job)
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")


async def test_suspending_deletes_the_rayjob_and_resuming_makes_the_next_attempt(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    job = await k.job(ns)
    await k.tell(job, "Running", "RUNNING")
    await k.progress(job)
    await k.cluster.merge(*key, {"spec": {"suspend": True}})
    await k.until_no_job(ns)
    await k.watcher.until(key, lambda o: o["status"]["run"]["attempts"][-1]["outcome"] == "Stopped", "stopped")
    await k.cluster.merge(*key, {"spec": {"suspend": False}})
    again = await k.job(ns, lambda j: j["metadata"]["name"].endswith("-a2"))
    await k.until_attempts(key, (1, "Stopped", None), (2, "Running", None))
    await k.result(again)
    await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")


async def test_a_foreign_rayjob_under_the_name_is_a_conflict_and_is_never_touched(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    ours = await k.job(ns)
    await k.tell(ours, "Running", "RUNNING")
    await k.cluster.call("DELETE", f"{RAY}/namespaces/{ns}/rayjobs/{ours['metadata']['name']}")
    foreign = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": ours["metadata"]["name"]}}
    foreign |= {"spec": {"entrypoint": "true", "rayClusterSpec": ours["spec"]["rayClusterSpec"]}}
    await k.cluster.call("POST", f"{RAY}/namespaces/{ns}/rayjobs", foreign)
    await k.watcher.until(key, lambda o: truth(o, "Stalled") == ("True", "NameConflict"), "in conflict")
    assert len(await k.objects(ns)) == 1
    await k.cluster.call("DELETE", f"{RAY}/namespaces/{ns}/rayjobs/{ours['metadata']['name']}")
    await k.watcher.until(key, lambda o: truth(o, "Stalled")[0] == "False", "healed", 90)
    await k.cluster.delete(*key)
    await k.watcher.until_gone(key)


async def test_a_result_of_another_object_or_run_is_no_result(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    job = await k.job(ns)
    await k.tell(job, "Running", "RUNNING")
    await k.result(job, uid="somebody-else")
    await k.tell(job, "Complete", "SUCCEEDED", endTime=rfc3339(now()))
    found = await k.watcher.until(key, lambda o: truth(o, "Ready") == ("False", "ResultRejected"), "rejected")
    assert found["status"].get("active") is None


async def test_a_success_that_left_no_result_names_the_store(k: KubeRayBench) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns, retry={"maxRetries": 0})
    job = await k.job(ns)
    await k.tell(job, "Complete", "SUCCEEDED", endTime=rfc3339(now()))
    found = await k.watcher.until(key, lambda o: truth(o, "Stalled")[0] == "True", "stalled")
    assert truth(found, "Stalled")[1] == "StoreNotReadable"
    assert "must lead to the same store" in condition(found, "Stalled")["message"]


async def test_a_deleted_object_waits_for_kuberay_and_not_for_ever(
    kuberay_platform: PlatformState, tmp_path: Path, k: KubeRayBench
) -> None:
    ns = await k.namespace()
    key = await k.dataset(ns)
    job = await k.job(ns)
    await k.merge_job(job, {"metadata": {"finalizers": [FINALIZER]}})
    await k.tell(job, "Running", "RUNNING")
    await k.operators[0].stop()
    async with kuberay_bench(kuberay_platform, tmp_path, GRADATIM_CLEANUP_DEADLINE_SECONDS="3") as short:
        await short.operator().start()
        await k.cluster.delete(*key)
        await k.watcher.until_gone(key)
        events = await k.cluster.items("Event", ns)
        assert "CleanupAbandoned" in {e["reason"] for e in events}
        left = await k.objects(ns)
        assert [bool(j["metadata"]["deletionTimestamp"]) for j in left] == [True]
    await k.merge_job(job, {"metadata": {"finalizers": None}})
    await k.until_no_job(ns)
    await k.operators[0].start()


async def test_without_kuberay_the_operator_runs_and_the_profile_says_what_is_missing(
    tmp_path: Path, servers_dir: Path
) -> None:
    from tests.support.platform import API_SERVER, private_platform

    with private_platform(servers_dir / "no-kuberay", API_SERVER) as state:
        async with kuberay_bench(state, tmp_path) as bare:
            await bare.make_profile(bare.profile)
            await bare.operator().start()
            found = await _profile(bare, "False")
            assert truth(found, "Ready") == ("False", "RuntimeUnreachable")
            assert "install KubeRay" in condition(found, "Ready")["message"]
            await install(bare.cluster)
            assert (await _profile(bare, "True"))["status"]["runtimeVersion"] == "ray.io/v1"
            ns = await bare.namespace()
            key = await bare.dataset(ns)
            await bare.result(await bare.job(ns))
            await bare.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready without a watch")
        down(state.state_dir)


async def _profile(bench: KubeRayBench, ready: str) -> Body:
    import asyncio

    async with asyncio.timeout(60):
        while True:
            found = await bench.cluster.get("ComputeProfile", "", bench.profile)
            if truth(found, "Ready")[0] == ready:
                return found
            await asyncio.sleep(0.1)
