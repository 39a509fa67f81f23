"""One read whose answer everybody shares who asks within a second of its begin.

Used by `kube` for objects that thousands of passes look at, and by `stores.aliases` for the list of aliases. A crowd of callers costs one
request then. It must not be used for what a pass writes to: the answer may be a second old. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Generic, TypeVar

T = TypeVar("T")
RECENT_SECONDS = 1.0


class SharedRead(Generic[T]):
    """A read under way, or its answer."""

    def __init__(self, read: Awaitable[T], now: float) -> None:
        self._begun, self._reading = now, asyncio.ensure_future(read)

    def stale(self, now: float) -> bool:
        """Return whether to read anew: it is too long ago, or it has failed, which is told to those who waited and to nobody after them."""
        done = self._reading
        failed = done.done() and (done.cancelled() or done.exception() is not None)
        return failed or now - self._begun > RECENT_SECONDS

    async def answer(self) -> T:
        """Return the answer, or raise the read's error. A caller that is cancelled does not take the read from the others."""
        return await asyncio.shield(self._reading)
