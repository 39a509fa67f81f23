"""Core events about an object, oldest first. Run by both clients; it never writes events."""

from __future__ import annotations

from dataclasses import dataclass

from gradatim.client.effects import Op, Request
from gradatim.client.operations import Body, Target, call, get
from gradatim.client.resources import EVENTS

_CLUSTER_EVENTS = "default"


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """An event; `time` is its last occurrence, RFC 3339."""

    time: str
    type: str
    reason: str
    message: str
    count: int = 1


def events(where: Target) -> Op[tuple[ObjectEvent, ...]]:
    """Read the events of an object as it is now (not of an earlier one of its name). Raises `NotFoundError`."""
    body = yield from get(where)
    params = {"fieldSelector": f"involvedObject.uid={body['metadata']['uid']}", "limit": "500"}
    found: list[Body] = []
    while True:
        page = yield from call(Request("GET", EVENTS.path(where.namespace or _CLUSTER_EVENTS), params))
        found += page.get("items") or []
        more = (page.get("metadata") or {}).get("continue")
        if not more:
            return tuple(sorted(map(_event, found), key=lambda e: e.time))
        params = params | {"continue": str(more)}


def _event(body: Body) -> ObjectEvent:
    series = body.get("series") or {}
    times = (series.get("lastObservedTime"), body.get("lastTimestamp"), body.get("eventTime"))
    fallback = body["metadata"].get("creationTimestamp")
    return ObjectEvent(
        time=str(next((t for t in times if t), fallback or "")),
        type=str(body.get("type") or "Normal"),
        reason=str(body.get("reason") or ""),
        message=str(body.get("message") or ""),
        count=int(series.get("count") or body.get("count") or 1),
    )
