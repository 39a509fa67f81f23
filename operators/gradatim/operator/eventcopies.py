"""The objects that watch events have brought, each for the one pass that the event asks for.

Filled and emptied by `loop`: the read that such a pass would begin with was 7 % of the API server's time under changes. Where more wait than there
is room for, passes read for themselves. It decides nothing.
"""

from __future__ import annotations

import json

from gradatim.operator.copies import Copies
from gradatim.operator.kube import Body
from gradatim.operator.queue import Key

ROOM = 1 << 20  # bytes as JSON, some two hundred objects; Python holds them in about five times as much


class EventCopies(Copies):
    """The copies, bounded by their size."""

    def __init__(self, room: int = ROOM) -> None:
        super().__init__()
        self._left = room
        self._sizes: dict[Key, int] = {}

    def put(self, key: Key, body: Body | None) -> None:
        """Keep the newest that was heard of the object, which may be that there is nothing to keep."""
        self.take(key)
        if body is None:
            return
        size = len(json.dumps(body, separators=(",", ":")))
        if size <= self._left:
            self._left -= size
            self._copies[key], self._sizes[key] = body, size

    def take(self, key: Key) -> Body | None:
        """Return the copy and forget it."""
        self._left += self._sizes.pop(key, 0)
        return super().take(key)
