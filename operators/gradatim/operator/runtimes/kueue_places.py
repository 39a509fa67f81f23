"""Where Workloads stand in their LocalQueue, from Kueue's visibility API: a courtesy that nothing depends on.

Held by `opened` for the whole process, because one answer serves everybody in a queue. Kueue without that API, or one that is away, is asked
again after a minute; meanwhile places are left out.
"""

from __future__ import annotations

import time

from gradatim.operator.errors import OperatorError
from gradatim.operator.kube import Body, Kube
from gradatim.operator.runtimes.kueue import VISIBILITY, place_in

FRESH_SECONDS, SILENT_SECONDS = 10.0, 60.0
_QUEUES = 1024


class QueuePlaces:
    """Summaries of pending Workloads by LocalQueue, each for a short time."""

    def __init__(self, kube: Kube) -> None:
        """Take the API."""
        self._kube = kube
        self._known: dict[tuple[str, str], tuple[float, Body | None]] = {}

    async def place(self, namespace: str, queue: str, workload: str) -> int | None:
        """Return the place of a Workload, from 0; None where Kueue does not tell."""
        key, now = (namespace, queue), time.monotonic()
        until, pending = self._known.get(key, (0.0, None))
        if now >= until:
            pending = await self._read(namespace, queue)
            if len(self._known) >= _QUEUES:
                self._known.pop(next(iter(self._known)))
            self._known[key] = (now + (SILENT_SECONDS if pending is None else FRESH_SECONDS), pending)
        return None if pending is None else place_in(pending, workload)

    async def _read(self, namespace: str, queue: str) -> Body | None:
        try:
            return await self._kube.find(VISIBILITY, namespace, f"{queue}/pendingworkloads")
        except OperatorError:
            return None
