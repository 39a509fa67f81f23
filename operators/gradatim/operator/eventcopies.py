"""The objects that watch events have brought, each for the one pass that the event asks for.

Filled and emptied by `loop`: the read that such a pass would begin with costs the API server a tenth of a change. A copy is used once and never
after something newer was heard or written; where more wait than there is room for, passes read for themselves. It decides nothing, and no
pass trusts it more than any other read: what follows from it is fenced by its resourceVersion.
"""

from __future__ import annotations

from gradatim.operator.kube import Body
from gradatim.operator.queue import Key

ROOM = 100  # objects, each some 30 kB as Python holds it


class EventCopies:
    """Copies by key. For one event loop."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._copies: dict[Key, Body] = {}

    def __len__(self) -> int:
        """Return how many copies wait."""
        return len(self._copies)

    def put(self, key: Key, body: Body | None) -> None:
        """Keep the newest that was heard of the object, which may be that there is nothing to keep."""
        self._copies.pop(key, None)
        if body is not None and len(self._copies) < self._room:
            self._copies[key] = body

    def take(self, key: Key) -> Body | None:
        """Return the copy and forget it."""
        return self._copies.pop(key, None)
