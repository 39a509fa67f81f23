"""Which pods of an attempt may still be running, and which lie on a node that nobody hears of.

Used by `kuberay` before it starts an attempt, and by `kuberay_status`. Pure. The API server keeps a pod until its kubelet
has confirmed the end; a node that is gone never does, so that there is a deadline after which the pod counts as ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from gradatim.operator.clock import since

Body = Mapping[str, Any]
CLUSTER_LABEL = "ray.io/cluster"
# After a pod's own grace period. Who is still alive then has been silent for longer, and ends once it sees that another attempt has begun.
FENCE_SECONDS = 60.0
_OVER = frozenset({"Succeeded", "Failed"})
_SILENT = frozenset({"NodeLost", "NodeNotReady", "NodeStatusUnknown", "NodeUnreachable"})
_TAKEN = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
_SHOWN = 3


def lost(pod: Body) -> str:
    """Return why the pod's node is taken for lost, or an empty text.

    The node controller marks pods as not ready without a word to their containers, whose last report stands; the taint manager and the
    collector of orphans say what they do.
    """
    status = pod.get("status", {})
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    name, node = pod["metadata"]["name"], pod.get("spec", {}).get("nodeName") or "unknown"
    disruption = conditions.get("DisruptionTarget", {})
    if disruption.get("status") == "True" and disruption.get("reason") in _TAKEN:
        return f"pod {name} was taken off node {node}: {disruption.get('message') or disruption['reason']}"
    ready = conditions.get("Ready", {})
    silent = status.get("reason") in _SILENT or (ready.get("status") != "True" and ready.get("reason") in _SILENT)
    contradicts = ready.get("status") == "False" and conditions.get("ContainersReady", {}).get("status") == "True"
    if silent or (contradicts and not pod.get("spec", {}).get("readinessGates")):
        return f"node {node} of pod {name} does not answer"
    return ""


def overdue(pod: Body, now: datetime, fence: float = FENCE_SECONDS) -> bool:
    """Return whether the pod was to be gone by its own grace period, and the fence deadline after it has passed too."""
    gone_by = pod["metadata"].get("deletionTimestamp")  # the grace period is in it
    return gone_by is not None and since(gone_by, now) > fence


def may_run(pod: Body, now: datetime, fence: float = FENCE_SECONDS) -> bool:
    """Return whether a process of the pod may still be running."""
    return pod.get("status", {}).get("phase") not in _OVER and not overdue(pod, now, fence)


def in_the_way(pods: Iterable[Body], attempt: str, now: datetime, fence: float = FENCE_SECONDS) -> str:
    """Return which pods of earlier attempts may still be running, or an empty text. KubeRay names an attempt's clusters after it."""
    own = f"{attempt}-"
    others = [p for p in pods if not p["metadata"].get("labels", {}).get(CLUSTER_LABEL, "").startswith(own)]
    left = sorted(p["metadata"]["name"] for p in others if may_run(p, now, fence))
    if not left:
        return ""
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return f"pods of an earlier attempt may still be running: {', '.join(left[:_SHOWN])}{more}"
