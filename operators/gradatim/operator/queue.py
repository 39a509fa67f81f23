"""The work queue: which object is looked at next.

`main` and `resync` add keys, `loop` takes them. A key is in work at most once at a time; one added meanwhile runs again afterwards. Three
lanes (news of Runs, events, resync) and a fair turn between namespaces keep one busy tenant from starving the rest, and thousands of new
objects from hiding what has finished. In memory only: everything it holds can be found again by listing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum


class Lane(IntEnum):
    """Which keys go first."""

    RUN = 0
    EVENT = 1
    RESYNC = 2


OTHERS_IN_A_ROW = 20  # then a resync's turn comes: polls of many Runs alone may fill the lane of events for ever
RUNS_IN_A_ROW = 3  # then an event's turn comes: a Run's news must not keep a user's change waiting for ever


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object: kind (its plural), namespace ('' for cluster-scoped), name."""

    plural: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.plural}/{self.namespace}/{self.name}" if self.namespace else f"{self.plural}/{self.name}"


@dataclass(slots=True)
class _Lane:
    """Keys by namespace, namespaces in turn."""

    by_namespace: OrderedDict[str, OrderedDict[Key, None]] = field(default_factory=OrderedDict)

    def push(self, key: Key, *, first: bool = False) -> None:
        keys = self.by_namespace.setdefault(key.namespace, OrderedDict())
        keys[key] = None
        if first:
            keys.move_to_end(key, last=False)

    def pop(self) -> Key:
        namespace, keys = next(iter(self.by_namespace.items()))
        key, _ = keys.popitem(last=False)
        del self.by_namespace[namespace]
        if keys:
            self.by_namespace[namespace] = keys  # to the end of the turn
        return key

    def remove(self, key: Key) -> None:
        keys = self.by_namespace[key.namespace]
        del keys[key]  # not searched for: thousands move up when a resync meets the first events
        if not keys:
            del self.by_namespace[key.namespace]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays after failures, in seconds: exponential with full jitter above the half."""

    base: float = 1.0
    cap: float = 300.0

    def delay(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Return the delay after the n-th failure in a row, n from 1."""
        whole = min(self.cap, self.base * 2 ** min(failures - 1, 30))
        return float(whole / 2 + whole / 2 * chance())


class WorkQueue:
    """Keyed, de-duplicating, in lanes, fair between namespaces. For one event loop."""

    def __init__(self, backoff: Backoff | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._lanes = {lane: _Lane() for lane in Lane}
        self._queued: dict[Key, tuple[Lane, float]] = {}
        self._in_work: dict[Key, float] = {}
        self._again: dict[Key, Lane] = {}
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._ready = asyncio.Event()
        self._closed = False
        self._runs_in_a_row = 0
        self._others_in_a_row = 0

    def add(self, key: Key, lane: Lane = Lane.EVENT) -> None:
        """Ask for a look at `key`. A key already waiting moves to the better lane; one in work is looked at again."""
        if self._closed:
            return
        if key in self._in_work:
            self._again[key] = min(lane, self._again.get(key, lane))
            return
        known = self._queued.get(key)
        if known is not None:
            if lane < known[0]:
                self._lanes[known[0]].remove(key)
                self._lanes[lane].push(key, first=lane is Lane.RUN)  # it may have been the next event
                self._queued[key] = (lane, known[1])
            return
        self._lanes[lane].push(key)
        self._queued[key] = (lane, self._clock())
        self._ready.set()

    def add_after(self, key: Key, delay: float, lane: Lane = Lane.EVENT) -> None:
        """Ask for a look in `delay` seconds; an earlier request for the same key stays."""
        if self._closed:
            return
        if delay <= 0:
            self.add(key, lane)
            return
        loop = asyncio.get_running_loop()
        old = self._timers.get(key)
        if old is not None:
            if old.when() <= loop.time() + delay:
                return
            old.cancel()
        self._timers[key] = loop.call_later(delay, self._fire, key, lane)

    def _fire(self, key: Key, lane: Lane) -> None:
        self._timers.pop(key, None)
        self.add(key, lane)

    async def take(self) -> Key:
        """Return the next key and mark it in work. Raises `asyncio.CancelledError` once closed and empty."""
        while not self._queued:
            if self._closed:
                raise asyncio.CancelledError
            self._ready.clear()
            await self._ready.wait()
        key = self._lanes[self._next_lane()].pop()
        del self._queued[key]
        self._in_work[key] = self._clock()
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        return key

    def _next_lane(self) -> Lane:
        first, *others = (lane for lane in Lane if self._lanes[lane].by_namespace)
        if first is Lane.RESYNC or (Lane.RESYNC in others and self._others_in_a_row >= OTHERS_IN_A_ROW):
            self._others_in_a_row = 0
            return Lane.RESYNC
        self._others_in_a_row += 1
        if first is Lane.RUN and self._runs_in_a_row < RUNS_IN_A_ROW:
            self._runs_in_a_row += 1
            return first
        self._runs_in_a_row = 0
        return Lane.EVENT if Lane.EVENT in others else first

    def done(self, key: Key, requeue_after: float | None = None) -> None:
        """Give `key` back after a good pass."""
        self._failures.pop(key, None)
        self._give_back(key, requeue_after)

    def failed(self, key: Key, delay: float | None = None) -> float:
        """Give `key` back after a failed pass and return the delay until the next: `delay`, or the back-off's.

        What was asked for meanwhile may be what cures it, so that it waits no longer than after a first failure.
        """
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        wait = self._backoff.delay(failures) if delay is None else delay
        meanwhile = self._again.pop(key, None)
        if meanwhile is not None:
            wait = min(wait, self._backoff.base)
        self._give_back(key, wait, Lane.RUN if meanwhile is Lane.RUN else Lane.EVENT)
        return wait

    def _give_back(self, key: Key, requeue_after: float | None, lane: Lane = Lane.EVENT) -> None:
        self._in_work.pop(key, None)
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, again)
        elif requeue_after is not None:
            self.add_after(key, requeue_after, lane)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of an object that is gone."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Take no more keys; waiting takers end."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._ready.set()

    def depth(self, lane: Lane | None = None) -> int:
        """Return how many keys wait, in one lane or in all."""
        return sum(1 for found, _ in self._queued.values() if lane is None or found is lane)

    def in_work(self) -> int:
        """Return how many keys are looked at now."""
        return len(self._in_work)

    def works_on(self, key: Key) -> bool:
        """Return whether `key` is looked at now."""
        return key in self._in_work

    def holds(self, key: Key) -> bool:
        """Return whether `key` waits, is looked at now, or will be after a delay."""
        return key in self._queued or key in self._in_work or key in self._timers

    def oldest_age(self) -> float:
        """Return for how many seconds the oldest waiting key has waited."""
        return max((self._clock() - at for _, at in self._queued.values()), default=0.0)

    def longest_pass(self) -> float:
        """Return for how many seconds the longest pass in work has run."""
        return max((self._clock() - at for at in self._in_work.values()), default=0.0)

    def quiescent(self) -> bool:
        """Return whether nothing waits and nothing is in work; timers may be set."""
        return not self._queued and not self._in_work and not self._again
