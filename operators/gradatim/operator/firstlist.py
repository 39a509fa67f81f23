"""What the first list of a process has read and no pass has taken yet.

Filled by `resync`, emptied by `loop`: after a start every object is looked at once, and reading each of them a second time by name costs more
than the rest of most passes. A copy is used for one pass at most, and never after something newer was heard of. It may be as old as its
list, so that a pass trusts it no more than any other read: what follows from it is fenced by its resourceVersion. Holds a bounded number of
objects; it decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from gradatim.operator.kube import Body
from gradatim.operator.queue import Key

PAGE = 50  # objects; a page is held beside ROOM
ROOM = 50
PATIENCE = 2.0  # seconds in which no copy was taken: passes wait for something else then
LONGEST = 120.0  # seconds for which a list may wait for passes: its page tokens live for five minutes, and liveness counts resyncs


class FirstList:
    """Copies by key, each for one pass. For one event loop."""

    def __init__(self, patience: float = PATIENCE, longest: float = LONGEST) -> None:
        self._patience = patience
        self._longest = longest
        self._waited = 0.0
        self._copies: dict[Key, Body] = {}
        self._watched: dict[Key, str] | None = {}  # what the watches have listed while the first list went on
        self._offers = True
        self._taken = asyncio.Event()

    def covers(self, key: Key, version: str) -> bool:
        """Return whether an object that a watch lists at its start needs no pass of its own, as the first list will come to it."""
        if self._watched is None:
            return False
        self._watched[key] = version
        return True

    def offer(self, key: Key, body: Body) -> None:
        """Keep a copy for the next pass over `key`, unless passes are too slow for copies to stay fresh."""
        if self._offers:
            self._copies[key] = body

    def take(self, key: Key) -> Body | None:
        """Return the copy and forget it."""
        found = self._copies.pop(key, None)
        if found is not None:
            self._taken.set()
        return found

    def heard(self, key: Key, version: str) -> None:
        """Forget a copy of another version than the one that an event tells of."""
        held = self._copies.get(key)
        if held is not None and held["metadata"].get("resourceVersion") != version:
            self.take(key)

    async def room(self) -> None:
        """Wait until there is room for another page. Where passes take nothing for a while, or too little in all, no more copies are kept."""
        while self._offers and len(self._copies) > ROOM:
            self._taken.clear()
            begun = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await self._taken.wait()
            self._waited += time.monotonic() - begun
            self._offers = self._taken.is_set() and self._waited < self._longest

    def end(self, listed: dict[Key, str]) -> dict[Key, str]:
        """Offer nothing from now on; return what the watches listed and `listed` has not, or in another version."""
        watched, self._watched, self._offers = self._watched or {}, None, False
        return {key: version for key, version in watched.items() if listed.get(key) != version}
