"""A change of an object as both clients give it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gradatim.api.base import ReadModel
from gradatim.api.kinds import Kind
from gradatim.client.operations import typed_body
from gradatim.client.watching import EventType, RawEvent

M = TypeVar("M", bound=ReadModel)


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[M]):
    """ADDED, MODIFIED or DELETED, and the object as it was then."""

    type: EventType
    object: M


def typed_event(kind: Kind, event: RawEvent) -> WatchEvent[Any]:
    """Return a raw event with its object typed."""
    thing: ReadModel = typed_body(kind, event.body)
    return WatchEvent(event.type, thing)
