"""A crowd of callers costs one read; a failure is told to those who waited, a cancelled caller spoils nothing."""

from __future__ import annotations

import asyncio

import pytest

from gradatim.operator.sharedread import RECENT_SECONDS, SharedRead


class Source:
    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.reads, self.gate = error, 0, asyncio.Event()

    async def read(self) -> str:
        self.reads += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return "answer"


async def test_who_asks_meanwhile_and_soon_after_shares_the_answer() -> None:
    source = Source()
    shared = SharedRead(source.read(), now=10.0)
    waiting = [asyncio.create_task(shared.answer()) for _ in range(3)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*waiting, shared.answer()) == ["answer"] * 4
    assert source.reads == 1
    assert [shared.stale(10.0 + age) for age in (0.0, RECENT_SECONDS, RECENT_SECONDS + 0.01)] == [False, False, True]


async def test_a_failure_is_told_to_those_who_waited_and_is_stale_at_once() -> None:
    source = Source(OSError("away"))
    shared = SharedRead(source.read(), now=10.0)
    assert not shared.stale(10.0)
    source.gate.set()
    with pytest.raises(OSError, match="away"):
        await shared.answer()
    assert shared.stale(10.0)


async def test_a_cancelled_caller_leaves_the_read_to_the_others() -> None:
    source = Source()
    shared = SharedRead(source.read(), now=10.0)
    gone, stays = (asyncio.create_task(shared.answer()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    source.gate.set()
    assert await stays == "answer"
    assert gone.cancelled()


async def test_a_cancelled_read_is_stale() -> None:
    shared = SharedRead(Source().read(), now=10.0)
    shared._reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shared.answer()
    assert shared.stale(10.0)
