"""Kueue's view of a RayJob: the Workload's name, its conditions in our words, its place in the queue.

Used by `runtimes.kuberay`. Pure. Kueue decides and writes; this only reads, so that nothing here can fight over `suspend`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from gradatim.operator.kube import Resource
from gradatim.operator.runtimes.queueing import Queueing, Said

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
WORKLOADS = Resource("kueue.x-k8s.io", "v1beta2", "workloads")
VISIBILITY = Resource("visibility.kueue.x-k8s.io", "v1beta2", "localqueues", tries=1)
_NAME_LIMIT, _SHORT_LIMIT, _HASH_LENGTH = 253, 63, 5
_TEXT_CHARS = 512
_EXACT_PLACES = 10
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_UNSEEN = "Kueue has not taken it up yet; it needs the integration ray.io/rayjob"
_NEVER = Said(False, "NotEvicted")


def workload_name(job: str, uid: str, limit: int = _NAME_LIMIT) -> str:
    """Return the name of the Workload that Kueue makes for a RayJob.

    `GetWorkloadNameForOwnerWithGVK` in pkg/controller/jobframework/workload_names.go of Kueue 0.18.3. Our RayJobs have names of at most 47
    characters, so that its feature gate ShortWorkloadNames gives the same.

    >>> workload_name("papers-0123456789-a1", "5f0a7e3c-0000-4000-8000-000000000001")
    'rayjob-papers-0123456789-a1-63f57'
    """
    digest = hashlib.sha1("\n".join(("RayJob", "ray.io", job, uid)).encode(), usedforsecurity=False).hexdigest()
    return f"{f'rayjob-{job}'[: limit - 1 - _HASH_LENGTH]}-{digest[:_HASH_LENGTH]}"


def unseen(queue: str, *, suspended: bool, priority: str | None = None) -> Queueing:
    """Return how an attempt without a Workload that we can read stands: only `suspend` tells.

    Kueue makes no Workload for a priority that has no WorkloadPriorityClass, and says so in its log only.
    """
    if suspended:
        message = _UNSEEN + (f" and the WorkloadPriorityClass {priority}" if priority else "")
        return Queueing(queue, Said(True, "Pending", message), Said(False, "Pending"), _NEVER)
    return Queueing(queue, Said(False, "Admitted"), Said(True, "Admitted"), _NEVER)


def queueing(queue: str, workload: Mapping[str, Any], place: int | None = None) -> Queueing:
    """Return how the attempt stands in `queue`; `place` counts from 0. Reasons and messages are Kueue's own."""
    reserved, admitted = (_said(workload, name) for name in ("QuotaReserved", "Admitted"))
    evicted = _said(workload, "Evicted")
    waits = admitted.status is not True
    why = reserved if reserved.status is not True else admitted
    if waits and workload.get("spec", {}).get("active") is False:
        why = Said(True, "Deactivated", "Kueue has deactivated its Workload; set spec.active of it to let it go on")
    message = ", ".join(text for text in (_place(place), why.message) if text)
    return Queueing(
        queue=queue,
        queued=Said(waits, why.reason if waits else "Admitted", message if waits else ""),
        admission=Said(not waits, admitted.reason if admitted.status is not None else why.reason, admitted.message),
        eviction=evicted if evicted.status is not None else _NEVER,
    )


def place_in(pending: Mapping[str, Any], workload: str) -> int | None:
    """Return the place of a Workload in a summary of its LocalQueue, from 0; None where it is not listed."""
    for item in pending.get("items") or []:
        if item.get("metadata", {}).get("name") == workload and isinstance(item.get("positionInLocalQueue"), int):
            return int(item["positionInLocalQueue"])
    return None


def _place(place: int | None) -> str:
    """Return the place for a person. Coarse far behind: thousands of waiting objects must not be written anew with every start."""
    if place is None:
        return ""
    if place < _EXACT_PLACES:
        return f"place {place + 1}"
    return f"more than {10 ** (len(str(place)) - 1)} before it"


def _said(workload: Mapping[str, Any], kind: str) -> Said:
    for condition in workload.get("status", {}).get("conditions") or []:
        if condition.get("type") == kind:
            status = {"True": True, "False": False}.get(condition.get("status"))
            text = "".join(c for c in str(condition.get("message") or "") if c.isprintable())
            reason = str(condition.get("reason"))
            return Said(status, reason if _REASON.fullmatch(reason) else "Pending", text[:_TEXT_CHARS])
    return Said(None, "Pending")
