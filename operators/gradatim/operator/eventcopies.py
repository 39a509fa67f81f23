"""The objects that watch events have brought, each for the one pass that the event asks for.

Filled and emptied by `loop`: the read that such a pass would begin with was 7 % of the API server's time under changes. A copy is used once and never
after something newer was heard or written; where more wait than there is room for, passes read for themselves. It decides nothing, and no
pass trusts it more than any other read: what follows from it is fenced by its resourceVersion.
"""

from __future__ import annotations

import json

from gradatim.operator.kube import Body
from gradatim.operator.queue import Key

ROOM = 1 << 20  # bytes as JSON, some two hundred objects; Python holds them in about five times as much


class EventCopies:
    """Copies by key. For one event loop."""

    def __init__(self, room: int = ROOM) -> None:
        self._left = room
        self._copies: dict[Key, tuple[Body, int]] = {}

    def __len__(self) -> int:
        """Return how many copies wait."""
        return len(self._copies)

    def put(self, key: Key, body: Body | None) -> None:
        """Keep the newest that was heard of the object, which may be that there is nothing to keep."""
        self.take(key)
        if body is None:
            return
        size = len(json.dumps(body, separators=(",", ":")))
        if size <= self._left:
            self._left -= size
            self._copies[key] = body, size

    def take(self, key: Key) -> Body | None:
        """Return the copy and forget it."""
        body, size = self._copies.pop(key, (None, 0))
        self._left += size
        return body

    def listed(self, key: Key, version: str) -> None:
        """Forget a copy of another version than a list has."""
        held = self._copies.get(key)
        if held is not None and held[0]["metadata"]["resourceVersion"] != version:
            self.take(key)
