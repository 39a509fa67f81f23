"""Kubernetes events about our objects: one per change of meaning, after the status write that recorded it.

Said by `writing`, told by a task of `main` one after the other, so that passes and their status writes never wait for events. An event's name
is derived from what it says, so that saying it twice makes one object. Losing an event loses nothing: status holds the truth. Messages come
from conditions and carry no secrets.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from gradatim.api.meta import API_VERSION, Condition
from gradatim.api.reasons import Reason
from gradatim.operator.clock import rfc3339
from gradatim.operator.errors import OperatorError
from gradatim.operator.kube import EVENTS, AlreadyExists, Body, Kube
from gradatim.operator.naming import event_name

logger = logging.getLogger(__name__)
WAITING = 10_000
# The first of those that changed for one reason tells it: the most specific.
TOLD = ("Suspended", "DataValid", "Evaluated", "Ready", "Stalled", "Degraded", "Current")
UNSAID = frozenset({Reason.NOT_REQUESTED.value})
BAD_WHEN_TRUE = frozenset({"Stalled", "Degraded"})
UNDER_WAY = frozenset(
    r.value
    for r in (
        Reason.PENDING,
        Reason.RECORDED,
        Reason.IN_PROGRESS,
        Reason.QUEUED,
        Reason.CONCURRENCY_LIMIT,
        Reason.RETRYING,
        Reason.WAITING_FOR_DATASET,
        Reason.WAITING_FOR_PROFILE,
        Reason.PROMOTING,
    )
)


def changes(old: Sequence[Condition], new: Sequence[Condition]) -> list[Condition]:
    """Return the conditions worth an event: status or reason changed, and it is not a first Unknown; one per reason. Pure."""
    before = {c.type: (c.status, c.reason) for c in old}
    changed = [
        c
        for c in new
        if c.type in TOLD
        and c.reason not in UNSAID
        and (c.status, c.reason) != before.get(c.type)
        and not (c.type not in before and (c.status == "Unknown" or (c.status == "False" and c.type != "Ready")))
        and c.status != "Unknown"
        and not (c.type == "Current" and c.reason in UNDER_WAY)
        and (c.type != "Suspended" or c.status == "True" or c.type in before)
    ]
    stopped = [c for c in changed if c.type == "Suspended" and c.status == "True"]
    if stopped:
        return stopped  # the others change because of it
    told: dict[str, Condition] = {}
    for condition in sorted(changed, key=lambda c: TOLD.index(c.type)):
        told.setdefault(condition.reason, condition)
    return list(told.values())


def body_of(about: Body, condition: Condition, now: datetime) -> Body:
    """Return the event object for a condition. Pure."""
    metadata = about["metadata"]
    namespace = metadata.get("namespace", "default")
    bad = (condition.status == "True") if condition.type in BAD_WHEN_TRUE else (condition.status == "False")
    calm = condition.type == "Suspended" or condition.reason in UNDER_WAY or condition.reason == Reason.PINNED.value
    stamp = rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": event_name(
                metadata["name"],
                metadata["uid"],
                condition.type,
                condition.status,
                condition.reason,
                condition.message,
                condition.last_transition_time,
            ),
            "namespace": namespace,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace"),
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "reason": condition.reason,
        "message": f"{condition.type}={condition.status}" + (f": {condition.message}" if condition.message else ""),
        "type": "Warning" if bad and not calm else "Normal",
        "source": {"component": "gradatim-operator"},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


class EventQueue:
    """What has been said and not told yet; the oldest is dropped where a server cannot take so many."""

    def __init__(self, limit: int = WAITING) -> None:
        self._waiting: deque[tuple[Body, Condition, datetime]] = deque(maxlen=limit)
        self._some = asyncio.Event()

    def say(self, about: Body, conditions: Sequence[Condition], now: datetime) -> None:
        """Take events about an object, of which only kind and metadata are kept."""
        kept = {"kind": about["kind"], "metadata": about["metadata"]}
        self._waiting.extend((kept, condition, now) for condition in conditions)
        self._some.set()

    async def tell(self, kube: Kube) -> None:
        """Create the events, for ever; a refusal is logged and forgotten."""
        while True:
            await self._some.wait()
            await self.flush(kube)
            self._some.clear()

    async def flush(self, kube: Kube) -> None:
        """Create the events that wait now."""
        while self._waiting:
            about, condition, now = self._waiting.popleft()
            body = body_of(about, condition, now)
            try:
                await kube.create(EVENTS, body["metadata"]["namespace"], body)
            except AlreadyExists:
                continue
            except OperatorError as error:
                logger.warning("event not written: %s", error)
