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
            return tuple(_event(body) for body in sorted(found, key=_order))
        params = params | {"continue": str(more)}


def _order(body: Body) -> tuple[str, int]:
    """Sort by second, and within one by the order of writing: our operator's stamps have no fractions, and lists come by name."""
    version = str(body["metadata"].get("resourceVersion") or "")
    return _time(body)[: len("2026-01-01T00:00:00")], int(version) if version.isdecimal() else 0


def _time(body: Body) -> str:
    series = body.get("series") or {}
    times = (series.get("lastObservedTime"), body.get("lastTimestamp"), body.get("eventTime"))
    return str(next((t for t in times if t), body["metadata"].get("creationTimestamp") or ""))


def _event(body: Body) -> ObjectEvent:
    series = body.get("series") or {}
    return ObjectEvent(
        time=_time(body),
        type=str(body.get("type") or "Normal"),
        reason=str(body.get("reason") or ""),
        message=str(body.get("message") or ""),
        count=int(series.get("count") or body.get("count") or 1),
    )
