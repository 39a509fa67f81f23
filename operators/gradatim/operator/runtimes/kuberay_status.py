"""What a RayJob, its RayCluster and its head pod say about an attempt.

Used by `kuberay`. Pure. KubeRay calls an attempt "Failed" while Ray still runs it, and "Complete" when Ray was stopped: an attempt counts as
ended only where both agree, or where nothing is left that could run. Values that this release does not know count as progress.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gradatim.api.runstatus import Failure
from gradatim.operator.clock import since
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.runtimes.kuberay_pods import FENCE_SECONDS, lost, overdue
from gradatim.operator.runtimes.queueing import Queueing

Body = Mapping[str, Any]
_RAY = {
    "PENDING": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "STOPPED": Phase.STOPPED,
}
_STARTING = frozenset({"", "New", "Initializing", "Waiting", "Retrying"})
_OVER = frozenset({"Complete", "Failed"})
# Reasons with which KubeRay fails a RayJob that Ray has never been given.
_NEVER_RAN = {"PreRunningDeadlineExceeded": Failure.DEPENDENCY, "SubmissionFailed": Failure.DEPENDENCY}
_DISRUPTED = {"PreemptionByScheduler": Failure.PREEMPTED, "EvictionByEvictionAPI": Failure.PREEMPTED}
_EXIT = re.compile(r"exit code (-?\d+)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_QUIET = frozenset({"PodInitializing", "ContainerCreating"})
_MESSAGE_CHARS = 256
UNTAKEN_SECONDS = 60.0
SHUTDOWN_SECONDS = 10.0  # what KubeRay may take for it


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read. `cluster` and `pod` are None where they are not there or were not asked for; `head_gone`: the pod was asked for."""

    job: Body
    cluster: Body | None = None
    pod: Body | None = None
    queueing: Queueing | None = None
    head_gone: bool = False


def needs_cluster(job: Body) -> bool:
    """Return whether the RayCluster is worth a read: it says why an attempt does not start, or whether a failed one still lives."""
    deployment = _text(job, "jobDeploymentStatus")
    return bool(_text(job, "rayClusterName")) and (deployment in _STARTING or deployment in _OVER)


def is_over(job: Body) -> bool:
    """Return whether KubeRay has nothing more to do for the job than to shut its cluster down."""
    return _text(job, "jobDeploymentStatus") in _OVER | {"ValidationFailed"}


def head_of(job: Body, cluster: Body | None) -> str:
    """Return the name of the head's pod, or an empty text: as the cluster says, or as it said when KubeRay last looked."""
    status = cluster.get("status") if cluster is not None else _running_cluster(job)
    name = ((status or {}).get("head") or {}).get("podName")
    return name if isinstance(name, str) else ""


def _running_cluster(job: Body) -> Body | None:
    known = job.get("status", {}).get("rayClusterStatus")
    return known if isinstance(known, dict) and not is_over(job) else None


def held_for(job: Body, ended: str | None, now: datetime) -> float:
    """Return the seconds for which the pods of an attempt that ended may still be kept: as the profile said when it was created."""
    ends = [since(text, now) for text in (_time(_text(job, "endTime")), ended) if text]
    kept = job.get("spec", {}).get("ttlSecondsAfterFinished") or 0
    return float(kept + SHUTDOWN_SECONDS - min(ends, default=0.0))


def observed(seen: Seen, now: datetime, fence: float = FENCE_SECONDS) -> Observed:
    """Return how the attempt stands. After `fence` seconds a pod that was to be gone counts as gone."""
    job = seen.job
    phase, message = _phase(seen, now, fence)
    failure = _failure(seen) if phase is Phase.FAILED else None
    if phase is Phase.STOPPED and _RAY.get(_text(job, "jobStatus")) is not phase:
        failure = _failure(seen) or Failure.NODE_LOST  # nobody has confirmed the end of what was deleted
    info = job.get("status", {}).get("rayJobInfo") or {}
    return Observed(
        phase=phase,
        message=clean(message),
        started_at=_time(info.get("startTime")),
        finished_at=_time(info.get("endTime")) or _time(_text(job, "endTime")) if phase.terminal else None,
        failure=failure,
        queueing=None if phase.terminal else seen.queueing,
        lost=not phase.terminal and seen.pod is not None and bool(lost(seen.pod)),
    )


def _phase(seen: Seen, now: datetime, fence: float) -> tuple[Phase, str]:
    job, deployment, ray = seen.job, _text(seen.job, "jobDeploymentStatus"), _text(seen.job, "jobStatus")
    told = _text(job, "message") or _text(job, "reason")
    if deployment == "ValidationFailed":
        return Phase.FAILED, told
    ended = _ended(seen, deployment, ray, told) if deployment in _OVER else None
    if ended is not None and ended[0].terminal:
        return ended
    if job["metadata"].get("deletionTimestamp"):
        left = _left_behind(seen, now, fence)
        return (Phase.STOPPED, left) if left else (Phase.UNKNOWN, _leaving(job, now))
    if ended is not None:
        return ended
    if job.get("spec", {}).get("suspend") or deployment in {"Suspending", "Suspended"}:
        waits = seen.queueing is not None and not seen.queueing.admitted
        return Phase.PENDING, seen.queueing.message if seen.queueing and waits else "the RayJob is suspended"
    if deployment in _STARTING:
        return Phase.PENDING, _starting(seen, now)
    if deployment == "Running" and ray in {"", *_RAY}:
        # Ray has ended and KubeRay is about to say so: its next state tells how.
        phase = _RAY.get(ray, Phase.PENDING)
        return (Phase.RUNNING if phase.terminal else phase), (lost(seen.pod) if seen.pod else "") or told
    return Phase.UNKNOWN, f"KubeRay says {deployment or 'nothing'}, Ray says {ray or 'nothing'}"


def _ended(seen: Seen, deployment: str, ray: str, told: str) -> tuple[Phase, str]:
    """KubeRay calls it ended. Without Ray's word it is, where the job was never handed over or its cluster is gone."""
    phase = _RAY.get(ray)
    if phase is not None and phase.terminal:
        return phase, told
    if _text(seen.job, "reason") in _NEVER_RAN:
        return Phase.FAILED, _why_not_started(seen) or told
    if seen.cluster is None:
        return Phase.FAILED, told
    return Phase.UNKNOWN, f"KubeRay says {deployment} and Ray {ray or 'nothing'}; waiting for a sign of life. {told}"


def _leaving(job: Body, now: datetime) -> str:
    waited = since(job["metadata"]["deletionTimestamp"], now)
    holders = [f for f in job["metadata"].get("finalizers", []) if f.startswith("ray.io/")]
    if waited > UNTAKEN_SECONDS and holders:
        return "its RayJob is being deleted and KubeRay's finalizer holds it; is the KubeRay operator running?"
    return "its RayJob is being deleted"


def _left_behind(seen: Seen, now: datetime, fence: float) -> str:
    """Return why nothing of a RayJob that is being deleted runs any more although it is still there, or an empty text.

    A kubelet that is gone confirms no end, and what it does not confirm holds the RayJob. Whose head is gone has no driver.
    """
    metadata = seen.job["metadata"]
    if seen.pod is not None and overdue(seen.pod, now, fence):
        return lost(seen.pod) or f"nobody confirms the end of pod {seen.pod['metadata']['name']}"
    held = any(f.startswith("ray.io/") for f in metadata.get("finalizers", []))
    if seen.head_gone and not held and since(metadata["deletionTimestamp"], now) > 2 * fence:
        return "its head's pod is gone, and nobody confirms the end of the others"
    return ""


def _starting(seen: Seen, now: datetime) -> str:
    job = seen.job
    if not _text(job, "jobDeploymentStatus") and since(job["metadata"].get("creationTimestamp"), now) > UNTAKEN_SECONDS:
        return "KubeRay has not taken up the RayJob; is its operator running and does it watch this namespace?"
    return _why_not_started(seen) or "its pods are starting"


def _why_not_started(seen: Seen) -> str:
    """Return what keeps the pods from being ready, or an empty text."""
    if seen.pod is not None and (problem := pod_problem(seen.pod)):
        return problem
    status = (seen.cluster or {}).get("status", {})
    for condition in status.get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return f"{condition.get('reason')}: {condition.get('message')}"
    wanted, ready = status.get("desiredWorkerReplicas", 0), status.get("readyWorkerReplicas", 0)
    return f"{ready} of {wanted} worker pods are ready" if wanted and ready < wanted else ""


def pod_problem(pod: Body) -> str:
    """Return why a pod does not start, or an empty text while nothing is wrong."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"pod {name} cannot be scheduled: {condition.get('message') or condition.get('reason')}"
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _QUIET:
            return f"pod {name}: {waiting['reason']}: {waiting.get('message') or container.get('name')}"
    return ""


def _failure(seen: Seen) -> Failure | None:
    """Return what is known about the end; None where only the process could tell."""
    if _text(seen.job, "jobDeploymentStatus") == "ValidationFailed":
        return Failure.USER
    reason = _text(seen.job, "reason")
    if reason in _NEVER_RAN:
        return _NEVER_RAN[reason]
    status = (seen.pod or {}).get("status", {})
    for container in _containers(status):
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            if (state.get("terminated") or {}).get("reason") == "OOMKilled":
                return Failure.OUT_OF_MEMORY
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return _DISRUPTED.get(str(condition.get("reason")), Failure.NODE_LOST)
    if seen.pod is not None and lost(seen.pod):
        return Failure.NODE_LOST
    code = _EXIT.search(_text(seen.job, "message"))
    return Failure.OUT_OF_MEMORY if code and int(code[1]) in {-9, 137} else None


def _containers(status: Body) -> Iterator[Body]:
    for part in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(part) or []


def clean(message: str) -> str:
    """Return a message's first line without the log that Ray appends, shortened and printable."""
    line = message.strip().split("\n", 1)[0].split(", last available logs", 1)[0]
    return "".join(c for c in line if c.isprintable())[:_MESSAGE_CHARS]


def _text(job: Body, name: str) -> str:
    value = job.get("status", {}).get(name)
    return value if isinstance(value, str) else ""


def _time(text: object) -> str | None:
    return text if isinstance(text, str) and _TIME.fullmatch(text) else None
