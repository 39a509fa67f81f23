"""What RayJobs, RayClusters and pods say about an attempt, with the cases in which KubeRay and Ray disagree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gradatim.api.runstatus import Failure
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.runtimes.kuberay_status import Seen, head_of, needs_cluster, observed, pod_problem
from gradatim.operator.runtimes.kueue import queueing, unseen

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER, LONG_AGO = "2026-03-01T11:59:50Z", "2026-03-01T11:00:00Z"
Body = dict[str, Any]


def job(deployment: str = "", ray: str = "", message: str = "", **status: Any) -> Body:
    """Return a RayJob as KubeRay leaves it; `meta` and `spec` go where their names say."""
    meta = {"name": "papers-a1", "creationTimestamp": EARLIER} | status.pop("meta", {})
    spec = status.pop("spec", {})
    found = {"jobDeploymentStatus": deployment, "jobStatus": ray, "message": message, "rayClusterName": "papers-a1-x"}
    return {"metadata": meta, "spec": spec, "status": {k: v for k, v in (found | status).items() if v}}


def pod(**status: Any) -> Body:
    """Return the head's pod."""
    return {"metadata": {"name": "head"}, "status": status}


def waiting(reason: str, message: str = "") -> Body:
    """Return a pod whose container waits."""
    return pod(containerStatuses=[{"name": "ray", "state": {"waiting": {"reason": reason, "message": message}}}])


def ended(**state: Any) -> Body:
    """Return a pod whose container has ended."""
    return pod(containerStatuses=[{"name": "ray", "lastState": {"terminated": state}, "state": {"running": {}}}])


def on_dead_node(gone_by: str | None = None) -> Body:
    """Return the head's pod as the node controller leaves it, with the moment by which it was to be gone."""
    found = pod(conditions=[{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}])
    found["metadata"] |= {"deletionTimestamp": gone_by} if gone_by else {}
    return found | {"spec": {"nodeName": "metal-7"}}


def disrupted(reason: str) -> Body:
    """Return a pod that was disrupted."""
    return pod(conditions=[{"type": "DisruptionTarget", "status": "True", "reason": reason}])


UNSCHEDULABLE = pod(
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}]
)
CLUSTER: Body = {"metadata": {"name": "papers-a1-x"}, "status": {}}
NO_QUOTA: Body = {
    "status": {
        "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreateHeadPod", "message": "exceeded quota"}
        ]
    }
}
HALF: Body = {"status": {"desiredWorkerReplicas": 4, "readyWorkerReplicas": 1}}
WAITS = unseen("team-a", suspended=True)
GOES = unseen("team-a", suspended=False)
SILENT = "node metal-7 of pod head does not answer"
LEAVES = {"deletionTimestamp": LONG_AGO, "finalizers": ["foregroundDeletion"]}
LEAVING = {"deletionTimestamp": LONG_AGO, "finalizers": ["ray.io/rayjob-finalizer", "foregroundDeletion"]}
AGREED = "status says so"

ROWS: list[tuple[str, Seen, Observed]] = [
    ("a new one is pending", Seen(job()), Observed(Phase.PENDING, "its pods are starting")),
    (
        "one that nobody takes up says why",
        Seen(job(meta={"creationTimestamp": LONG_AGO})),
        Observed(Phase.PENDING, "KubeRay has not taken up the RayJob; is its operator running and does it watch this namespace?"),
    ),
    ("one whose cluster comes up is pending", Seen(job("Initializing"), CLUSTER), Observed(Phase.PENDING, "its pods are starting")),
    (
        "an image that cannot be pulled is told",
        Seen(job("Initializing"), CLUSTER, waiting("ImagePullBackOff", "no such image")),
        Observed(Phase.PENDING, "pod head: ImagePullBackOff: no such image"),
    ),
    (
        "a pod that fits nowhere is told",
        Seen(job("Initializing"), CLUSTER, UNSCHEDULABLE),
        Observed(Phase.PENDING, "pod head cannot be scheduled: 0/3 nodes fit"),
    ),
    (
        "a refused pod is told",
        Seen(job("Initializing"), NO_QUOTA),
        Observed(Phase.PENDING, "FailedCreateHeadPod: exceeded quota"),
    ),
    ("missing workers are told", Seen(job("Initializing"), HALF), Observed(Phase.PENDING, "1 of 4 worker pods are ready")),
    ("a job not yet handed to Ray is pending", Seen(job("Running")), Observed(Phase.PENDING)),
    ("a pending job is pending", Seen(job("Running", "PENDING")), Observed(Phase.PENDING)),
    ("a running job runs", Seen(job("Running", "RUNNING")), Observed(Phase.RUNNING)),
    ("Ray's word alone ends nothing", Seen(job("Running", "SUCCEEDED")), Observed(Phase.RUNNING)),
    (
        "both words together are success",
        Seen(job("Complete", "SUCCEEDED", endTime=EARLIER, rayJobInfo={"startTime": LONG_AGO})),
        Observed(Phase.SUCCEEDED, started_at=LONG_AGO, finished_at=EARLIER),
    ),
    ("a stopped job is complete but no success", Seen(job("Complete", "STOPPED")), Observed(Phase.STOPPED)),
    ("complete with a failed job is a failure", Seen(job("Complete", "FAILED", AGREED)), Observed(Phase.FAILED, AGREED)),
    (
        "complete while Ray runs it is no end",
        Seen(job("Complete", "RUNNING"), CLUSTER),
        Observed(Phase.UNKNOWN, "KubeRay says Complete and Ray RUNNING; waiting for a sign of life."),
    ),
    ("a failed job has failed", Seen(job("Failed", "FAILED", AGREED, reason="AppFailed")), Observed(Phase.FAILED, AGREED)),
    (
        "failed while Ray runs it is no end while the cluster is there",
        Seen(job("Failed", "RUNNING", "lost", reason="DeadlineExceeded"), CLUSTER),
        Observed(Phase.UNKNOWN, "KubeRay says Failed and Ray RUNNING; waiting for a sign of life. lost"),
    ),
    (
        "and is one once the cluster is gone",
        Seen(job("Failed", "RUNNING", "lost", reason="DeadlineExceeded")),
        Observed(Phase.FAILED, "lost"),
    ),
    ("failed although Ray has succeeded is success", Seen(job("Failed", "SUCCEEDED"), CLUSTER), Observed(Phase.SUCCEEDED)),
    (
        "pods that never became ready may do so another time",
        Seen(job("Failed", "", "deadline", reason="PreRunningDeadlineExceeded"), CLUSTER, UNSCHEDULABLE),
        Observed(Phase.FAILED, "pod head cannot be scheduled: 0/3 nodes fit", failure=Failure.DEPENDENCY),
    ),
    (
        "a RayJob that KubeRay refuses is the profile's fault",
        Seen(job("ValidationFailed", "", "bad spec")),
        Observed(Phase.FAILED, "bad spec", failure=Failure.USER),
    ),
    (
        "an unknown word of KubeRay's is progress",
        Seen(job("Hibernating", "RUNNING")),
        Observed(Phase.UNKNOWN, "KubeRay says Hibernating, Ray says RUNNING"),
    ),
    (
        "an unknown word of Ray's is progress",
        Seen(job("Running", "MIGRATING")),
        Observed(Phase.UNKNOWN, "KubeRay says Running, Ray says MIGRATING"),
    ),
    (
        "a killed driver ran out of memory",
        Seen(job("Failed", "FAILED", "Job entrypoint command failed with exit code -9, last available logs: secret")),
        Observed(Phase.FAILED, "Job entrypoint command failed with exit code -9", failure=Failure.OUT_OF_MEMORY),
    ),
    (
        "a pod that was killed for memory tells so",
        Seen(job("Failed", "FAILED", "gone"), CLUSTER, ended(reason="OOMKilled", exitCode=137)),
        Observed(Phase.FAILED, "gone", failure=Failure.OUT_OF_MEMORY),
    ),
    (
        "a preempted pod tells so",
        Seen(job("Failed", "FAILED", "gone"), CLUSTER, disrupted("PreemptionByScheduler")),
        Observed(Phase.FAILED, "gone", failure=Failure.PREEMPTED),
    ),
    (
        "a pod on a lost node tells so",
        Seen(job("Failed", "FAILED", "gone"), CLUSTER, disrupted("DeletionByTaintManager")),
        Observed(Phase.FAILED, "gone", failure=Failure.NODE_LOST),
    ),
    (
        "one on a node that does not answer may be running",
        Seen(job("Running", "RUNNING"), pod=on_dead_node()),
        Observed(Phase.RUNNING, SILENT, lost=True),
    ),
    (
        "one whose node did not answer has lost it",
        Seen(job("Failed", "FAILED", "gone"), CLUSTER, on_dead_node()),
        Observed(Phase.FAILED, "gone", failure=Failure.NODE_LOST),
    ),
    (
        "one that is deleted on a dead node may run within its grace and its fence",
        Seen(job("Running", "RUNNING", meta=LEAVES), pod=on_dead_node(EARLIER)),
        Observed(Phase.UNKNOWN, "its RayJob is being deleted", lost=True),
    ),
    (
        "and has lost its node after them",
        Seen(job("Running", "RUNNING", meta=LEAVES), pod=on_dead_node(LONG_AGO)),
        Observed(Phase.STOPPED, SILENT, failure=Failure.NODE_LOST),
    ),
    (
        "nobody has to know why an end is not confirmed",
        Seen(job("Running", "RUNNING", meta=LEAVES), pod={"metadata": {"name": "head", "deletionTimestamp": LONG_AGO}}),
        Observed(Phase.STOPPED, "nobody confirms the end of pod head", failure=Failure.NODE_LOST),
    ),
    (
        "workers on a dead node do not hold up what has no driver",
        Seen(job("Running", "RUNNING", meta=LEAVES), head_gone=True),
        Observed(
            Phase.STOPPED,
            "its head's pod is gone, and nobody confirms the end of the others",
            failure=Failure.NODE_LOST,
        ),
    ),
    (
        "KubeRay may still have something to say",
        Seen(job("Running", "RUNNING", meta=LEAVING), head_gone=True),
        Observed(
            Phase.UNKNOWN,
            "its RayJob is being deleted and KubeRay's finalizer holds it; is the KubeRay operator running?",
        ),
    ),
    (
        "a suspended one waits for its queue",
        Seen(job("Suspended", spec={"suspend": True}), queueing=WAITS),
        Observed(
            Phase.PENDING,
            "waiting in queue team-a: Kueue has not taken it up yet; it needs the integration ray.io/rayjob",
            queueing=WAITS,
        ),
    ),
    (
        "an evicted one waits although it ran",
        Seen(job("Running", "RUNNING", spec={"suspend": True}), queueing=WAITS),
        Observed(
            Phase.PENDING,
            "waiting in queue team-a: Kueue has not taken it up yet; it needs the integration ray.io/rayjob",
            queueing=WAITS,
        ),
    ),
    (
        "one that somebody suspends by hand is pending and no queue's",
        Seen(job("Suspended", spec={"suspend": True})),
        Observed(Phase.PENDING, "the RayJob is suspended"),
    ),
    (
        "an admitted one starts",
        Seen(job("Initializing"), CLUSTER, queueing=GOES),
        Observed(Phase.PENDING, "its pods are starting", queueing=GOES),
    ),
    ("the queue has nothing to say about the end", Seen(job("Complete", "SUCCEEDED"), queueing=GOES), Observed(Phase.SUCCEEDED)),
    (
        "one that is being deleted may still write",
        Seen(job("Running", "RUNNING", meta={"deletionTimestamp": EARLIER})),
        Observed(Phase.UNKNOWN, "its RayJob is being deleted"),
    ),
    (
        "one that has ended stays so while it is being deleted",
        Seen(job("Complete", "SUCCEEDED", meta=LEAVING)),
        Observed(Phase.SUCCEEDED),
    ),
    (
        "one that KubeRay does not let go says whom to ask",
        Seen(job("Running", "RUNNING", meta=LEAVING)),
        Observed(
            Phase.UNKNOWN,
            "its RayJob is being deleted and KubeRay's finalizer holds it; is the KubeRay operator running?",
        ),
    ),
    (
        "a wrong time is no time",
        Seen(job("Complete", "SUCCEEDED", endTime="yesterday", rayJobInfo={"startTime": 5})),
        Observed(Phase.SUCCEEDED),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_an_attempt_is_seen_as(seen: Seen, expected: Observed) -> None:
    found = observed(seen, NOW)
    assert (found, found.message) == (expected, expected.message[:256])


def test_the_cluster_is_read_only_where_it_tells_more_than_the_rayjob() -> None:
    read = [d for d in ("", "Initializing", "Running", "Suspended", "Complete", "Failed") if needs_cluster(job(d))]
    assert read == ["", "Initializing", "Complete", "Failed"]
    assert not needs_cluster(job("Initializing", rayClusterName=""))


def test_the_heads_pod_is_that_of_the_cluster_as_it_was_last_seen() -> None:
    head = {"head": {"podName": "head"}}
    runs = job("Running", "RUNNING", rayClusterStatus=head)
    assert head_of(runs, None) == "head"
    assert head_of(runs, {"status": {"head": {"podName": "other"}}}) == "other"
    assert head_of(runs, CLUSTER) == ""
    assert [head_of(job(d, rayClusterStatus=head), None) for d in ("Complete", "Failed")] == ["", ""]
    assert head_of(job("Running", rayClusterStatus={"head": {"podName": 5}}), None) == ""


def test_a_starting_pod_has_no_problem() -> None:
    assert pod_problem(waiting("ContainerCreating")) == ""
    assert pod_problem(pod()) == ""


def test_waiting_is_a_matter_of_the_queue() -> None:
    states = [Observed(Phase.PENDING, queueing=WAITS), Observed(Phase.PENDING, queueing=GOES), Observed(Phase.PENDING)]
    assert [o.waiting for o in states] == [True, False, False]
    assert not Observed(Phase.RUNNING, queueing=WAITS).waiting


def test_kueues_workload_is_followed_to_the_end() -> None:
    assert queueing(
        "q", {"status": {"conditions": [{"type": "Admitted", "status": "True", "reason": "Admitted"}]}}
    ).admitted
