"""Where the aliases of one vector store lead, for passes that come in crowds: one list instead of thousands of questions.

Kept by `stores.identity`, asked and told by `stores.weaviate`. After a start every index is looked at within seconds, and a question by name
costs each pass more than anything else in it. A list serves for a second; what this process writes ends that at once. Knows no protocol.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from gradatim.operator.sharedread import SharedRead

CROWD = 50  # questions within a second: below that, a list of ten thousand aliases costs more than the questions

Listing = Mapping[str, str]


class AliasBook:
    """Counts questions, and shares a list among them when they are many. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second, self._asked, self._before = 0, 0, 0
        self._listing: SharedRead[Listing] | None = None
        self._written: set[str] = set()  # since the list was begun

    def crowded(self, alias: str) -> bool:
        """Count a question; return whether a list answers it: there are many, and this process has not written the alias since."""
        second = int(self._clock())
        if second != self._second:
            self._before = self._asked if second == self._second + 1 else 0
            self._second, self._asked = second, 0
        self._asked += 1
        return max(self._asked, self._before) > CROWD and (self._stale() or alias not in self._written)

    async def listing(self, read: Callable[[], Awaitable[Listing]]) -> Listing:
        """Return every alias as read at most a second ago. Whoever asks while it is read shares the answer, or the error."""
        held = self._listing
        if held is None or self._stale():
            self._written.clear()
            held = self._listing = SharedRead(read(), self._clock())
        return await held.answer()

    def changed(self, alias: str) -> None:
        """Ask by name until the next list: this process has written the alias, or tried to."""
        if self._listing is not None:
            self._written.add(alias)

    def _stale(self) -> bool:
        return self._listing is None or self._listing.stale(self._clock())
