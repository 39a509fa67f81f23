"""What the first list of a process has read and no pass has taken yet.

Filled by `resync`, emptied by `loop`: after a start every object is looked at once, and reading each of them a second time by name costs more
than most of those passes. A copy may be as old as the beginning of its list. Holds a bounded number of objects; it decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from gradatim.operator.copies import Copies
from gradatim.operator.kube import Body
from gradatim.operator.queue import Key

PAGE = 50  # objects; a page is held beside ROOM
ROOM = 50
# Seconds for which a page waits for passes. Where these take fewer than ten copies a second, something else is slow, and everybody's key is
# better in the queue, where namespaces take turns, than on a later page. Less would give up while kopf goes through its own list.
PATIENCE = 5.0
LONGEST = 60.0  # seconds for which all pages wait: tokens of pages live for five minutes, and liveness counts resyncs


class FirstList(Copies):
    """The copies, and which versions the list and the watches have shown."""

    def __init__(self, patience: float = PATIENCE, longest: float = LONGEST) -> None:
        super().__init__()
        self._patience = patience
        self._longest = longest
        self._waited = 0.0
        self._watched: dict[Key, str] = {}  # what watches have listed before the first list came to it
        self._handed: dict[Key, str] = {}
        self._open = self._offers = True
        self._taken = asyncio.Event()

    def covers(self, key: Key, version: str) -> bool:
        """Return whether what a watch lists when it begins needs no pass of its own, since the first list comes to it or has come."""
        if not self._open:
            return False
        if key in self._handed:
            return self._handed[key] == version
        self._watched[key] = version
        return True

    def hand(self, key: Key, body: Body, *, copy: bool) -> None:
        """Take note of an object of the list. Keeps it for the next pass if `copy` and nothing newer is known of it."""
        version = body["metadata"]["resourceVersion"]
        self.heard(key, version)
        self._handed[key] = version
        if copy and self._offers and self._watched.get(key, version) == version:
            self._copies[key] = body

    def take(self, key: Key) -> Body | None:
        """Return the copy and forget it."""
        found = super().take(key)
        if found is not None:
            self._taken.set()
        return found

    async def room(self) -> None:
        """Wait until there is room for another page. Where passes are too slow for that, no more copies are kept."""
        begun = time.monotonic()
        left = min(self._patience, self._longest - self._waited)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                while self._offers and len(self._copies) > ROOM:
                    self._taken.clear()
                    await self._taken.wait()
        self._waited += time.monotonic() - begun
        self._offers = self._offers and len(self._copies) <= ROOM

    def end(self) -> dict[Key, str]:
        """Keep no more copies from now on; return what watches have listed and the list has not, or in another version."""
        missed = {key: version for key, version in self._watched.items() if self._handed.get(key) != version}
        self._open = self._offers = False
        self._watched, self._handed = {}, {}
        return missed
