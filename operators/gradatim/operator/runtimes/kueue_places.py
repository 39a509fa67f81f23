"""Where Workloads stand in their LocalQueue, from Kueue's visibility API: a courtesy that nothing depends on.

Held by `opened` for the whole process, because one answer serves everybody in a queue. Kueue without that API, or one that is away, is asked
again after a minute; meanwhile places are left out.
"""

from __future__ import annotations

import asyncio
import time

from gradatim.operator.errors import OperatorError
from gradatim.operator.kube import Body, Kube
from gradatim.operator.runtimes.kueue import VISIBILITY, place_in

FRESH_SECONDS, SILENT_SECONDS = 10.0, 60.0
_QUEUES = 1024
_Answer = tuple[float, Body | None]  # until when it counts


class QueuePlaces:
    """Summaries of pending Workloads by LocalQueue, each for a short time."""

    def __init__(self, kube: Kube) -> None:
        """Take the API."""
        self._kube = kube
        self._known: dict[tuple[str, str], asyncio.Task[_Answer]] = {}

    async def place(self, namespace: str, queue: str, workload: str) -> int | None:
        """Return the place of a Workload, from 0; None where Kueue does not tell."""
        key = namespace, queue
        held = self._known.get(key)
        if held is None or _over(held):
            # Kept before it is awaited: thousands of waiting attempts must not ask a slow Kueue all at once.
            held = asyncio.ensure_future(self._read(namespace, queue))
            if key not in self._known and len(self._known) >= _QUEUES:
                self._known.pop(next(iter(self._known)))
            self._known[key] = held
        _, pending = await asyncio.shield(held)
        return None if pending is None else place_in(pending, workload)

    async def _read(self, namespace: str, queue: str) -> _Answer:
        try:
            pending = await self._kube.find(VISIBILITY, namespace, queue, "pendingworkloads")
        except OperatorError:
            pending = None
        return time.monotonic() + (SILENT_SECONDS if pending is None else FRESH_SECONDS), pending


def _over(held: asyncio.Task[_Answer]) -> bool:
    if not held.done():
        return False
    return held.cancelled() or held.exception() is not None or time.monotonic() >= held.result()[0]
