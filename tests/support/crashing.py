"""Crashes of an operator at chosen calls: one at a time, or at chosen writes of many lives at once.

Used by the crash tests of all runtimes. The proxy holds the call, before it reaches its server or before its answer comes back, until the
process has been killed. Of many lives each has a namespace of its own and at most one such write: one kill is a crash for each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.support.faultproxy import Answer, Call, Cut, Proxy
from tests.support.operator import Operator
from tests.support.watcher import Body

HOLD_SECONDS = 180


class Hold:
    """Holds the first call that is `wanted`, "before" it reaches its server or "after" it was done, until the operator is dead."""

    def __init__(self, when: str, wanted: Callable[[Call], bool]) -> None:
        """Take which of the two, and what tells the call from all others."""
        self._when, self._wanted = when, wanted
        self._held, self._release = asyncio.Event(), asyncio.Event()

    async def before(self, call: Call) -> Answer | None:
        """Hold a call that must not reach the server."""
        if self._when == "before":
            await self._hold(call)
        return None

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Hold the answer of a call that was done."""
        if self._when == "after":
            await self._hold(call)
        return answer

    async def kill(self, operator: Operator) -> None:
        """Kill the operator once the call is held; whoever starts after it meets no obstacle."""
        async with asyncio.timeout(HOLD_SECONDS):
            await self._held.wait()
        await operator.kill()
        self._release.set()

    async def _hold(self, call: Call) -> None:
        if not self._held.is_set() and self._wanted(call):
            self._held.set()
            await self._release.wait()
            raise Cut


@dataclass
class Crashing:
    """A life in a namespace of its own: where it crashes, what was written, and whether it came to its end."""

    ns: str
    crash: tuple[int, str] | None = None
    writes: list[str] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    last: Body = field(default_factory=dict)


def outcome_written(call: Call) -> str | None:
    """Return the outcome of the last attempt in a status that the call writes; None for any other call."""
    if not call.write or call.subresource != "status":
        return None
    attempts = (call.document["status"].get("run") or {}).get("attempts") or [{}]
    found: str | None = attempts[-1].get("outcome")
    return found


class Crashes:
    """Counts the writes of every namespace and holds the one at which it is to crash."""

    def __init__(self, lives: Iterable[Crashing]) -> None:
        self.lives = {life.ns: life for life in lives}
        self.release = asyncio.Event()

    async def before(self, call: Call) -> Answer | None:
        """Hold a write that must not reach the server."""
        life = self.lives.get(call.namespace)
        if life is None or not call.write:
            return None
        life.writes.append(str(call))
        if life.crash == (len(life.writes), "before"):
            await self._hold(life)
        return None

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Hold the answer of a write that has been done."""
        life = self.lives.get(call.namespace)
        if life is not None and call.write and life.crash == (len(life.writes), "after"):
            await self._hold(life)
        return answer

    async def _hold(self, life: Crashing) -> None:
        life.held.set()
        await self.release.wait()
        raise Cut

    async def all_held(self) -> None:
        """Wait until every life is held or has ended without coming to its point."""
        for life in self.lives.values():
            while not life.held.is_set() and not life.ended:
                await asyncio.sleep(0.02)


async def crash_all(
    api: Proxy, operator: Operator, lives: Sequence[Crashing], tasks: Sequence[asyncio.Task[None]]
) -> None:
    """Kill the operator once each of the running lives has come to its point, and let them end under another one."""
    crashes = Crashes(lives)
    with api.fault(before=crashes.before, after=crashes.after):
        try:
            await operator.start()
            async with asyncio.timeout(HOLD_SECONDS):
                await crashes.all_held()
            await operator.kill()
            crashes.release.set()
            for life in lives:
                life.crash = None
            await operator.start()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    await operator.stop()
