"""Events come oldest first; those of one second in the order in which they were written, although the server lists them by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gradatim.api import Dataset
from gradatim.client.effects import Op, Request, Response
from gradatim.client.events import ObjectEvent, events
from gradatim.client.operations import target

SECOND = "2026-01-01T00:00:05Z"


def event(name: str, version: str | None, **times: Any) -> dict[str, Any]:
    """Return an event whose reason is its name."""
    return {"metadata": {"name": name, "resourceVersion": version}, "reason": name, **times}


LISTED = {
    "another second": (
        [event("a", "9", lastTimestamp=SECOND), event("b", "1", lastTimestamp="2026-01-01T00:00:04Z")],
        "ba",
    ),
    "one second, as our operator writes": (
        [
            event("a", "102", lastTimestamp=SECOND),
            event("b", "99", lastTimestamp=SECOND),
            event("c", "101", lastTimestamp=SECOND),
        ],
        "bca",
    ),
    "one second, with fractions from another writer": (
        [event("a", "8", eventTime="2026-01-01T00:00:05.700000Z"), event("b", "7", lastTimestamp=SECOND)],
        "ba",
    ),
    "a series counts from its last": (
        [
            event("a", "8", eventTime=SECOND, series={"count": 2, "lastObservedTime": "2026-01-01T00:00:07.000000Z"}),
            event("b", "7", lastTimestamp="2026-01-01T00:00:06Z"),
        ],
        "ba",
    ),
    "without versions as listed": (
        [event("b", None, lastTimestamp=SECOND), event("a", None, lastTimestamp=SECOND)],
        "ba",
    ),
}


def listed(items: list[dict[str, Any]]) -> tuple[ObjectEvent, ...]:
    """Answer the reads of an object and of its events."""
    steps: Op[tuple[ObjectEvent, ...]] = events(target(Dataset, "d", "team"))
    answer: Response | None = None
    while True:
        try:
            asked = steps.send(answer) if answer is not None else next(steps)
        except StopIteration as end:
            found: tuple[ObjectEvent, ...] = end.value
            return found
        assert isinstance(asked, Request)
        body = {"items": items} if asked.path.endswith("/events") else {"metadata": {"uid": "u"}}
        answer = Response(200, {}, json.dumps(body).encode())


@pytest.mark.parametrize(("items", "order"), LISTED.values(), ids=LISTED.keys())
def test_events_come_in_the_order_of_their_writing(items: list[dict[str, Any]], order: str) -> None:
    assert "".join(e.reason for e in listed(items)) == order
