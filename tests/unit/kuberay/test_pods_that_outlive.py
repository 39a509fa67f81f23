"""Pods that outlive their RayJob: which may still run, which lie on a node that is gone, and what waits for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.kuberay_api import JOBS, PROFILE, SPEC, Serve, launch, rayjob, runtime

from gradatim.api.reasons import Reason
from gradatim.operator import clock
from gradatim.operator.clock import rfc3339
from gradatim.operator.errors import DependencyError
from gradatim.operator.kube import Body
from gradatim.operator.runtimes.base import Launch
from gradatim.operator.runtimes.kuberay_pods import in_the_way, lost, may_run, overdue
from gradatim.operator.runtimes.kuberay_status import held_for

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PODS = "/api/v1/namespaces/team/pods"
CLUSTERS = "/apis/ray.io/v1/namespaces/team/rayclusters"


def at(seconds: float) -> str:
    """Return the moment so many seconds from now."""
    return rfc3339(NOW + timedelta(seconds=seconds))


def pod(cluster: str = "papers-1-a1-x", gone_by: float | None = None, **status: Any) -> Body:
    """Return a pod on a node; `gone_by` is when it must have ended, in seconds from now."""
    metadata: Body = {"name": f"{cluster}-head", "labels": {"ray.io/cluster": cluster}}
    metadata |= {} if gone_by is None else {"deletionTimestamp": at(gone_by)}
    return {"metadata": metadata, "spec": {"nodeName": "metal-7"}, "status": {"phase": "Running"} | status}


def said(**conditions: str | tuple[str, str]) -> dict[str, Any]:
    """Return conditions as a pod's status: a status, or status and reason."""
    pairs = {k: v if isinstance(v, tuple) else (v, "") for k, v in conditions.items()}
    return {"conditions": [{"type": k, "status": v[0], "reason": v[1]} for k, v in pairs.items()]}


SILENT = "node metal-7 of pod papers-1-a1-x-head does not answer"
LOST: list[tuple[str, Body, str]] = [
    ("a healthy pod", pod(**said(Ready="True", ContainersReady="True")), ""),
    ("one that says nothing yet", pod(), ""),
    ("one whose container is not ready", pod(**said(Ready=("False", "ContainersNotReady"), ContainersReady=("False", "ContainersNotReady"))), ""),
    ("one that the node controller marked, as since Kubernetes 1.27", pod(**said(Ready="False", ContainersReady="True")), SILENT),
    ("one whose gate is closed", pod(**said(Ready="False", ContainersReady="True")) | {"spec": {"readinessGates": [{}]}}, ""),
    ("one of a node whose state nobody knows", pod(**said(Ready=("Unknown", "NodeStatusUnknown"))), SILENT),
    ("one of a node that is not ready", pod(**said(Ready=("False", "NodeNotReady"))), SILENT),
    ("one that an older node controller gave up", pod(reason="NodeLost"), SILENT),
    (
        "one that the taint manager took",
        pod(**said(DisruptionTarget=("True", "DeletionByTaintManager"))),
        "pod papers-1-a1-x-head was taken off node metal-7: DeletionByTaintManager",
    ),
    (
        "one whose node was deleted",
        pod(**said(DisruptionTarget=("True", "DeletionByPodGC"))),
        "pod papers-1-a1-x-head was taken off node metal-7: DeletionByPodGC",
    ),
    ("one that is preempted is not lost", pod(**said(DisruptionTarget=("True", "PreemptionByScheduler"))), ""),
    ("one that was about to be disrupted", pod(**said(DisruptionTarget=("False", "DeletionByTaintManager"))), ""),
]  # fmt: skip


@pytest.mark.parametrize(("one", "expected"), [r[1:] for r in LOST], ids=[r[0] for r in LOST])
def test_a_lost_node_is_told_from_its_pods(one: Body, expected: str) -> None:
    assert lost(one) == expected


MAY_RUN: list[tuple[str, Body, bool]] = [
    ("one that runs", pod(), True),
    ("one that waits for a node", pod(phase="Pending"), True),
    ("one whose state nobody knows", pod(phase="Unknown"), True),
    ("one that has ended well", pod(phase="Succeeded"), False),
    ("one that has failed", pod(phase="Failed"), False),
    ("one in its grace period", pod(gone_by=20), True),
    ("one whose grace is over and whose fence is not", pod(gone_by=-59), True),
    ("one whose fence deadline has passed", pod(gone_by=-61), False),
]


@pytest.mark.parametrize(("one", "expected"), [r[1:] for r in MAY_RUN], ids=[r[0] for r in MAY_RUN])
def test_whether_a_pod_may_still_run(one: Body, expected: bool) -> None:
    assert may_run(one, NOW) is expected
    assert overdue(one, NOW) is (one["metadata"].get("deletionTimestamp") == at(-61))


def test_only_pods_of_earlier_attempts_are_in_the_way() -> None:
    mine, first = pod("papers-1-a2-k9"), pod("papers-1-a1-x")
    assert in_the_way([mine], "papers-1-a2", NOW) == ""
    assert in_the_way([mine, first, pod("papers-1-a1-y", phase="Failed")], "papers-1-a2", NOW) == (
        "pods of an earlier attempt may still be running: papers-1-a1-x-head"
    )
    many = [pod(f"papers-1-a2{n}-x") for n in range(5)]  # attempts 20 and later are no attempt 2
    assert in_the_way(many, "papers-1-a2", NOW).endswith("papers-1-a22-x-head and 2 more")


class World:
    """An API server with RayJobs, RayClusters and pods of the Run `papers-1`; deleted RayJobs go when the test says so."""

    def __init__(self, *jobs: Body, pods: tuple[Body, ...] = (), clusters: tuple[str, ...] = ()) -> None:
        self.jobs = {j["metadata"]["name"]: j for j in jobs}
        self.pods, self.clusters = list(pods), clusters

    def __call__(self, method: str, path: str) -> tuple[int, Body]:
        name = path.rpartition("/")[2]
        if path == PROFILE:
            return 200, {"metadata": {"name": "pods"}, "spec": SPEC}
        if path == PODS:
            return 200, {"items": self.pods}
        if path.startswith(CLUSTERS) and name in self.clusters:
            return 200, {"metadata": {"name": name}}
        if method == "POST":
            return 201, {}
        if name not in self.jobs:
            return 404, {"reason": "NotFound", "message": "no"}
        if method == "DELETE":
            self.jobs[name]["metadata"]["deletionTimestamp"] = rfc3339(clock.now())
        return 200, self.jobs[name]


def named(name: str, uid: str = "u", deleted: str | None = None, **status: Any) -> Body:
    """Return a RayJob of that name."""
    job = rayjob(uid, **status)
    job["metadata"] |= {"name": name} | ({"deletionTimestamp": deleted} if deleted else {})
    return job


def second() -> Launch:
    """Return the second attempt."""
    first = launch()
    return Launch(
        "papers-1-a2", "team", first.config_json, first.config_digest, uid="u", workers=1, earlier=("papers-1-a1",)
    )


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be noon."""
    monkeypatch.setattr(clock, "now", lambda: NOW)


BEFORE: list[tuple[str, World, str]] = [
    ("nothing was ever started", World(), ""),
    ("a pod of an earlier Run is in its grace period", World(pods=(pod("papers-0-a3-x", gone_by=20),)), "papers-0-a3-x-head"),
    ("an earlier Run's node is cut off", World(pods=(pod("papers-0-a3-x", gone_by=-59),)), "papers-0-a3-x-head"),
    ("the fence deadline of that has passed", World(pods=(pod("papers-0-a3-x", gone_by=-61),)), ""),
    ("the pods of an earlier Run have ended", World(pods=(pod("papers-0-a3-x", phase="Succeeded"),)), ""),
    ("the pods are its own, after a crash", World(pods=(pod("papers-1-a1-x"),)), ""),
]  # fmt: skip


@pytest.mark.parametrize(("world", "told"), [r[1:] for r in BEFORE], ids=[r[0] for r in BEFORE])
async def test_a_first_attempt_waits_for_every_run_of_the_object(serve: Serve, world: World, told: str) -> None:
    kube, api = serve(world)
    if told:
        with pytest.raises(DependencyError, match=told) as waits:
            await runtime(kube).submit(launch())
        assert waits.value.reason is Reason.TERMINATING
        assert api.calls == [("GET", PODS)]
    else:
        await runtime(kube).submit(launch())
        assert api.calls == [("GET", PODS), ("GET", PROFILE), ("POST", JOBS)]
    assert api.selectors == ["gradatim.dev/owner=u"]


async def test_the_rayjob_of_the_attempt_before_is_removed_first(serve: Serve) -> None:
    world = World(named("papers-1-a1", jobDeploymentStatus="Failed", jobStatus="FAILED"))
    kube, api = serve(world)
    with pytest.raises(DependencyError) as waits:
        await runtime(kube).submit(second())
    assert (waits.value.reason, waits.value.message) == (
        Reason.TERMINATING,
        "attempt papers-1-a1 is being removed before the next one starts",
    )
    assert [c for c in api.calls if c[0] != "GET"] == [("DELETE", f"{JOBS}/papers-1-a1")]
    world.jobs.clear()
    await runtime(kube).submit(second())
    assert api.calls[-2:] == [("GET", PROFILE), ("POST", JOBS)]
    assert [c for c in api.calls if c[1] == PODS] == [("GET", PODS)]


WAITS: list[tuple[str, World, str]] = [
    ("nothing is left", World(), ""),
    ("a pod is in its grace period", World(pods=(pod(gone_by=20),)), "papers-1-a1-x-head"),
    ("a pod was not told to end", World(pods=(pod(),)), "papers-1-a1-x-head"),
    ("a pod has ended", World(pods=(pod(phase="Failed"),)), ""),
    ("a pod on a dead node has passed its fence", World(pods=(pod(gone_by=-61),)), ""),
    ("the RayJob is just being deleted", World(named("papers-1-a1", deleted=at(-59))), "papers-1-a1"),
    ("pods on a dead node hold the RayJob", World(named("papers-1-a1", deleted=at(-99)), pods=(pod(gone_by=-69),)), ""),
    ("KubeRay is away and the pods are not", World(named("papers-1-a1", deleted=at(-99)), pods=(pod(),)), "papers-1-a1-x"),
    ("somebody else has a RayJob of that name", World(named("papers-1-a1", uid="another")), ""),
    ("only its own pods are there", World(pods=(pod("papers-1-a2-x"),)), ""),
]  # fmt: skip


@pytest.mark.parametrize(("world", "told"), [r[1:] for r in WAITS], ids=[r[0] for r in WAITS])
async def test_the_next_attempt_starts_when(serve: Serve, world: World, told: str) -> None:
    kube, api = serve(world)
    if told:
        with pytest.raises(DependencyError, match=told):
            await runtime(kube).submit(second())
    else:
        await runtime(kube).submit(second())
    assert (("POST", JOBS) in api.calls) is not bool(told)
    assert [c for c in api.calls if c[0] == "DELETE"] == []


async def test_pods_that_cannot_be_listed_are_a_matter_of_rights(serve: Serve) -> None:
    message = 'pods is forbidden: User "system:serviceaccount:g:g" cannot list resource "pods"'
    kube, api = serve(lambda _, path: (403, {"message": message}) if path == PODS else World()("GET", path))
    with pytest.raises(DependencyError) as refused:
        await runtime(kube).submit(second())
    assert refused.value.reason is Reason.CREDENTIALS_REFUSED
    assert ("POST", JOBS) not in api.calls


KEPT: list[tuple[str, Body, str | None, float]] = [
    ("from when KubeRay saw its end", named("a", endTime=at(-100)), at(-130), 210.0),
    ("from its result while KubeRay has seen none", named("a"), at(-130), 180.0),
    ("whatever a workload says about the future", named("a", endTime=at(-400)), at(-320), -10.0),
]


@pytest.mark.parametrize(("job", "ended", "expected"), [r[1:] for r in KEPT], ids=[r[0] for r in KEPT])
def test_pods_are_kept_as_long_as_the_profile_says(job: Body, ended: str | None, expected: float) -> None:
    job["spec"] = {"ttlSecondsAfterFinished": 300}
    assert held_for(job, ended, NOW) == expected


OVER = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "endTime": at(-400), "rayClusterName": "c"}
RELEASED: list[tuple[str, World, float, bool]] = [
    ("there is none", World(), 0.0, False),
    ("it is somebody else's", World(named("papers-1-a1", uid="another")), 0.0, False),
    ("it is being deleted", World(named("papers-1-a1", deleted=at(-5))), 0.0, False),
    ("its time is not over", World(named("papers-1-a1", **(OVER | {"endTime": at(-100)}))), 210.0, False),
    ("KubeRay has shut it down", World(named("papers-1-a1", **OVER)), 0.0, False),
    ("KubeRay has not", World(named("papers-1-a1", **OVER), clusters=("c",)), 0.0, True),
    ("its process hangs after its result", World(named("papers-1-a1", rayClusterName="c"), clusters=("c",)), 0.0, True),
    ("KubeRay refused it", World(named("papers-1-a1", jobDeploymentStatus="ValidationFailed")), 0.0, False),
]


@pytest.mark.parametrize(("world", "left", "deletes"), [r[1:] for r in RELEASED], ids=[r[0] for r in RELEASED])
async def test_a_finished_attempt_gives_its_pods_up(serve: Serve, world: World, left: float, deletes: bool) -> None:
    for job in world.jobs.values():
        job["spec"] = {"ttlSecondsAfterFinished": 300}
    kube, api = serve(world)
    assert await runtime(kube).release("papers-1-a1", at(-400)) == left
    assert [c[0] for c in api.calls if c[0] != "GET"] == (["DELETE"] if deletes else [])


async def test_a_rayjob_that_changes_all_the_time_is_a_matter_for_later(serve: Serve) -> None:
    world = World(named("papers-1-a1", rayClusterName="c"), clusters=("c",))
    conflict = {"reason": "Conflict", "message": "the object has been modified"}
    kube, api = serve(lambda method, path: (409, conflict) if method == "DELETE" else world(method, path))
    with pytest.raises(DependencyError, match="changes faster than it can be deleted") as later:
        await runtime(kube).release("papers-1-a1", at(-400))
    assert (later.value.dependency, later.value.delay) == ("runtime", 3.0)
    assert [c[0] for c in api.calls].count("DELETE") == 3
