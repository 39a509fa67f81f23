"""What keeps the operator from burdening a store: one budget of reads for the whole process, few calls at a time per store.

Used by `artifacts`. Blocking calls run in threads; a thread that a dead file system holds cannot be ended, so it keeps its place until it
returns, and the callers after it are told that the store does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

CALLS_PER_STORE = 4


class Budget:
    """A token bucket: `rate` tokens a second, `burst` at once. Waiting callers are served in order."""

    def __init__(self, rate: float = 50.0, burst: float | None = None) -> None:
        """Start full. `burst` defaults to one second's tokens."""
        self._rate = rate
        self._burst = burst if burst is not None else max(1.0, rate)
        self._tokens = self._burst
        self._at: float | None = None

    async def take(self) -> None:
        """Wait for a token. A token may be owed: the debt says how long the next caller waits."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        gained = 0.0 if self._at is None else (now - self._at) * self._rate
        self._tokens = min(self._burst, self._tokens + gained) - 1.0
        self._at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)


class Places:
    """Runs blocking calls of one store in threads of its own, at most four at a time: a dead store holds no other's threads."""

    def __init__(self, places: int = CALLS_PER_STORE) -> None:
        """Start no thread yet."""
        self._threads = ThreadPoolExecutor(max_workers=places, thread_name_prefix="store")
        self._free = asyncio.Semaphore(places)

    def close(self) -> None:
        """Take no more calls; threads that a dead store holds are left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, call: Callable[[], T], seconds: float) -> T:
        """Return the call's result. Raises `TimeoutError` when no place or no result comes within `seconds` each."""
        await asyncio.wait_for(self._free.acquire(), seconds)
        try:
            work = asyncio.get_running_loop().run_in_executor(self._threads, call)
        except BaseException:
            self._free.release()
            raise
        work.add_done_callback(self._done)
        return await asyncio.wait_for(asyncio.shield(work), seconds)

    def _done(self, work: asyncio.Future[T]) -> None:
        self._free.release()
        if not work.cancelled():
            # Nobody waits for a call that was given up; reading its error keeps the loop from reporting it as lost.
            work.exception()
