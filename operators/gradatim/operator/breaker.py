"""Keeps a dependency that hangs from holding the operator's workers: bounded calls at once, and none while it is known not to answer.

`Breaker` is the state machine, pure with the clock as argument; `Guard` is one endpoint's breaker with its places. Used by `wire` and by
`stores.artifacts` around every call. It knows no protocol; an answer of any kind counts as an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

T = TypeVar("T")

_GUARDS = 256


@dataclass(frozen=True, slots=True)
class Rules:
    """When calls are refused. Seconds; `slow` is how long a call may hold a place before nobody waits behind it any more."""

    timeouts: int = 3
    pause: float = 5.0
    longest: float = 30.0
    places: int = 6
    slow: float = 2.0


class Refused(Exception):
    """The call was not made. `delay` is when to ask again, in seconds; the text follows the endpoint's name."""

    def __init__(self, message: str, delay: float) -> None:
        """Keep both."""
        super().__init__(message)
        self.delay = delay


class Ticket(Enum):
    """What a call was admitted as."""

    ORDINARY = "ordinary"
    TRIAL = "trial"


@dataclass(slots=True)
class Breaker:
    """Closed; open after `timeouts` in a row, for a time that grows; then one trial call decides. Jitter: a quarter up or down."""

    rules: Rules = field(default_factory=Rules)
    chance: Callable[[], float] = random.random
    _timeouts: int = 0
    _pauses: int = 0
    _until: float | None = None
    _trying: bool = False

    def admit(self, now: float) -> Ticket | None:
        """Return a ticket, or None while calls are refused. The first call after a pause is the trial: no other until it has ended."""
        if self._until is None:
            return Ticket.ORDINARY
        if self._trying or now < self._until:
            return None
        self._trying = True
        return Ticket.TRIAL

    def wait(self, now: float) -> float:
        """Return the seconds after which a call may be admitted, at least a fifth of the first pause."""
        left = 0.0 if self._until is None else self._until - now
        return max(left, self.rules.pause / 5)

    def answered(self) -> None:
        """Record an answer, of whatever call: every trouble is forgotten."""
        self._timeouts = self._pauses = 0
        self._until, self._trying = None, False

    def silent(self, ticket: Ticket, now: float) -> None:
        """Record a call without an answer. One that began before the pause adds nothing to it."""
        if ticket is Ticket.ORDINARY and self._until is not None:
            return
        self._timeouts += 1
        if ticket is Ticket.TRIAL or self._timeouts >= self.rules.timeouts:
            length = min(self.rules.longest, self.rules.pause * 2 ** min(self._pauses, 30))
            self._until = now + length * (0.75 + self.chance() / 2)
            self._pauses += 1
            self._trying = False

    def abandoned(self, ticket: Ticket) -> None:
        """Record a call that was given up before anything was known; the next one may be the trial."""
        if ticket is Ticket.TRIAL:
            self._trying = False


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    ticket: Ticket
    begun: float


class Guard:
    """One endpoint: at most `places` calls at once, and the breaker before them. For one event loop."""

    def __init__(self, rules: Rules | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules or Rules()
        self._clock = clock
        self._breaker = Breaker(self._rules)
        self._calls: set[_Call] = set()
        self._freed = asyncio.Event()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the call's result, or raise its error, or `Refused`.

        A `TimeoutError` is no answer, nor is an `OSError` that took longer than `slow`: clients turn their own timeouts into one.
        """
        entered = await self._enter()
        over = False
        try:
            found = await call()
            over = True
            self._breaker.answered()
            return found
        except Exception as error:
            over = True
            now = self._clock()
            late = now - entered.begun > self._rules.slow
            if isinstance(error, TimeoutError) or (late and isinstance(error, OSError)):
                self._breaker.silent(entered.ticket, now)
            else:
                self._breaker.answered()
            raise
        finally:
            if not over:
                self._breaker.abandoned(entered.ticket)
            self._calls.discard(entered)
            self._freed.set()

    async def _enter(self) -> _Call:
        """Take a place. Nobody waits behind calls that may never end, and nobody longer than `slow`."""
        deadline = self._clock() + self._rules.slow
        while len(self._calls) >= self._rules.places:
            oldest = min(c.begun for c in self._calls)
            left = min(oldest + self._rules.slow, deadline) - self._clock()
            if left <= 0:
                raise Refused("is slow: as many calls as it may get at once are under way", self._rules.slow)
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), left)
        now = self._clock()
        ticket = self._breaker.admit(now)
        if ticket is None:
            raise Refused("does not answer; it is asked again from time to time", self._breaker.wait(now))
        entered = _Call(ticket, now)
        self._calls.add(entered)
        return entered


class Guards:
    """The guards of all endpoints that were used lately, by what tells them apart."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules
        self._guards: OrderedDict[Hashable, Guard] = OrderedDict()

    def of(self, *endpoint: Hashable) -> Guard:
        """Return the guard of an endpoint."""
        if endpoint not in self._guards:
            self._guards[endpoint] = Guard(self._rules)
        self._guards.move_to_end(endpoint)
        while len(self._guards) > _GUARDS:
            self._guards.popitem(last=False)
        return self._guards[endpoint]
