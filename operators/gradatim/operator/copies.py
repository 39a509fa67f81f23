"""Objects that somebody has read, each kept for one pass.

What `FirstList` and `EventCopies` have in common: a copy is used once, and never after another version was heard of. A pass trusts it no more than
any other read, since what follows from it is fenced by its resourceVersion. How many are kept is for the two to say.
"""

from __future__ import annotations

from gradatim.operator.kube import Body
from gradatim.operator.queue import Key


class Copies:
    """Copies by key. For one event loop."""

    def __init__(self) -> None:
        self._copies: dict[Key, Body] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._copies)

    def take(self, key: Key) -> Body | None:
        """Return the copy and forget it."""
        return self._copies.pop(key, None)

    def heard(self, key: Key, version: str) -> None:
        """Forget a copy of another version than the one that was heard of."""
        held = self._copies.get(key)
        if held is not None and held["metadata"]["resourceVersion"] != version:
            self.take(key)
