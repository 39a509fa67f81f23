"""A change that arrives while a pass fails is not left to a long back-off; many keys change lanes without a search."""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from gradatim.operator.errors import TryLater
from gradatim.operator.kube import Body
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Backoff, Key, Lane, WorkQueue
from gradatim.operator.slots import Slots

ONE, TWO = Key("datasets", "a", "1"), Key("datasets", "a", "2")


async def test_what_was_asked_for_during_a_failing_pass_waits_no_longer_than_after_a_first_failure() -> None:
    queue = WorkQueue(Backoff(base=1.0, cap=300.0))
    for _ in range(12):
        queue.add(ONE)
        await queue.take()
        assert queue.failed(ONE) > 0
    queue.add(ONE)
    await queue.take()
    queue.add(ONE)  # somebody has repaired it
    assert queue.failed(ONE) == 1.0
    queue.add(ONE)
    await queue.take()
    assert queue.failed(ONE) >= 150.0, "without news the back-off goes on"
    queue.close()


async def test_thousands_of_keys_move_to_the_better_lane_in_their_order() -> None:
    queue, keys = WorkQueue(), [Key("datasets", "a", str(n)) for n in range(5000)]
    for key in keys:
        queue.add(key, Lane.RESYNC)
    for key in reversed(keys):
        queue.add(key)
    assert (queue.depth(Lane.EVENT), queue.depth(Lane.RESYNC)) == (5000, 0)
    assert [await queue.take() for _ in range(3)] == [keys[4999], keys[4998], keys[4997]]


async def test_who_is_to_be_woken_is_woken_in_turn_also_by_a_pass_that_fails() -> None:
    async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        context.wake.extend([TWO, Key("datasets", "a", "3")])
        raise TryLater("the store is down", 60.0)

    async def find(*_: Any) -> dict[str, Any]:
        return {"metadata": {"namespace": ONE.namespace, "name": ONE.name}}

    context: Any = SimpleNamespace(wake=[], slots=Slots(), kube=SimpleNamespace(find=find), metrics=Metrics())
    loop = Loop(context, WorkQueue(), {"datasets": reconcile})
    loop.queue.add(ONE)
    worker = asyncio.create_task(loop.work())
    seen: list[Key] = []
    real = loop.queue.add
    loop.queue.add = lambda key, lane=Lane.EVENT: seen.append(key) if key != ONE else real(key, lane)  # type: ignore[method-assign]
    while not seen:
        await asyncio.sleep(0)
    assert (seen, context.wake) == ([TWO, Key("datasets", "a", "3")], [])
    loop.queue.close()
    await asyncio.gather(worker, return_exceptions=True)


async def test_the_lag_of_an_event_that_arrives_during_a_pass_ends_with_the_next_pass() -> None:
    passes = 0

    async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        nonlocal passes
        passes += 1
        if passes == 1:
            loop.event(ONE, "2")
        return Outcome()

    async def find(*_: Any) -> dict[str, Any]:
        return {"metadata": {"namespace": ONE.namespace, "name": ONE.name}}

    metrics = Metrics()
    context: Any = SimpleNamespace(wake=[], slots=Slots(), kube=SimpleNamespace(find=find), metrics=metrics)
    loop = Loop(context, WorkQueue(), {"datasets": reconcile})
    loop.event(ONE, "1")
    worker = asyncio.create_task(loop.work())
    while passes < 2:
        await asyncio.sleep(0)
    loop.queue.close()
    await asyncio.gather(worker, return_exceptions=True)
    count = metrics.registry.get_sample_value("gradatim_event_lag_seconds_count", {"kind": "datasets"})
    assert (passes, count) == (2, 2.0)
