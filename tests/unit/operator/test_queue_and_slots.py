"""The work queue and the concurrency slots: who is looked at next, and who may start."""

from __future__ import annotations

import asyncio

import pytest

from gradatim.api.computeprofile import ConcurrencyLimit
from gradatim.operator.dependents import Dependents
from gradatim.operator.queue import OTHERS_IN_A_ROW, Backoff, Key, Lane, WorkQueue
from gradatim.operator.slots import Slots


def key(name: str, namespace: str = "a") -> Key:
    """Return the key of a Dataset."""
    return Key("datasets", namespace, name)


ONE, TWO, THREE = key("1"), key("2"), key("3")


async def drained(queue: WorkQueue) -> list[Key]:
    """Return what the queue gives out, each key given back at once."""
    found = []
    while queue.depth():
        found.append(await queue.take())
        queue.done(found[-1])
    return found


async def test_a_key_waits_once_however_often_it_is_added() -> None:
    queue = WorkQueue()
    for _ in range(5):
        queue.add(ONE)
        queue.add(ONE, Lane.RESYNC)
    assert (queue.depth(), await drained(queue)) == (1, [ONE])


async def test_events_go_before_resync_and_lift_a_key_that_waits_there() -> None:
    queue = WorkQueue()
    for one in (ONE, TWO, THREE):
        queue.add(one, Lane.RESYNC)
    queue.add(key("4"))
    queue.add(THREE)
    assert (queue.depth(Lane.EVENT), queue.depth(Lane.RESYNC)) == (2, 2)
    assert await drained(queue) == [key("4"), THREE, ONE, TWO]


async def test_news_of_runs_go_first_but_not_for_ever() -> None:
    queue = WorkQueue()
    new, running = [key(f"new-{n}") for n in range(2)], [key(f"run-{n}") for n in range(5)]
    for one in new:
        queue.add(one)
    for one in running:
        queue.add(one, Lane.RUN)
    queue.add(THREE, Lane.RESYNC)
    assert await drained(queue) == [*running[:3], new[0], *running[3:], new[1], THREE]


async def test_news_of_a_run_lift_a_key_that_waits_as_an_event() -> None:
    queue = WorkQueue()
    for one in (ONE, TWO):
        queue.add(one)
    queue.add(TWO, Lane.RUN)
    assert (queue.depth(Lane.RUN), queue.depth(Lane.EVENT)) == (1, 1)
    assert await drained(queue) == [TWO, ONE]


async def test_a_key_lifted_to_the_lane_of_runs_waits_no_longer_than_before() -> None:
    queue = WorkQueue()
    queue.add(ONE)
    for one in (TWO, THREE):
        queue.add(one, Lane.RUN)
    queue.add(ONE, Lane.RUN)
    assert await queue.take() == ONE


async def test_news_of_a_run_during_a_failed_pass_keep_their_lane() -> None:
    queue = WorkQueue()
    queue.add(ONE)
    await queue.take()
    queue.add(ONE, Lane.RUN)
    queue.failed(ONE, delay=0.0)
    assert (queue.depth(Lane.RUN), queue.depth(Lane.EVENT)) == (1, 0)


async def test_namespaces_take_turns() -> None:
    queue = WorkQueue()
    busy = [key(str(n), "busy") for n in range(4)]
    for one in busy:
        queue.add(one)
    queue.add(key("x", "quiet"))
    queue.add(key("y", "quiet"))
    found = await drained(queue)
    assert found == [busy[0], key("x", "quiet"), busy[1], key("y", "quiet"), busy[2], busy[3]]


async def test_a_key_in_work_is_not_given_out_twice_but_looked_at_again_afterwards() -> None:
    queue = WorkQueue()
    queue.add(ONE)
    assert await queue.take() == ONE
    queue.add(ONE, Lane.RESYNC)
    queue.add(ONE)
    assert (queue.depth(), queue.in_work(), queue.quiescent()) == (0, 1, False)
    queue.done(ONE, requeue_after=60)
    assert (queue.depth(Lane.EVENT), await drained(queue), queue.quiescent()) == (1, [ONE], True)


async def test_failures_back_off_until_a_good_pass() -> None:
    queue = WorkQueue(Backoff(base=1.0, cap=8.0))
    waits = []
    for _ in range(6):
        queue.add(ONE)
        await queue.take()
        waits.append(queue.failed(ONE))
    for wait, whole in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert whole / 2 <= wait <= whole
    queue.add(ONE)
    await queue.take()
    queue.done(ONE)
    queue.add(ONE)
    await queue.take()
    assert queue.failed(ONE) <= 1.0
    queue.close()


@pytest.mark.parametrize(
    ("failures", "chance", "expected"), [(1, 0.0, 0.5), (1, 1.0, 1.0), (4, 0.5, 6.0), (99, 1.0, 300.0)]
)
def test_the_back_off_is_exponential_with_jitter_above_the_half(failures: int, chance: float, expected: float) -> None:
    assert Backoff().delay(failures, lambda: chance) == expected


async def test_a_timer_fires_and_an_earlier_one_stays() -> None:
    queue = WorkQueue()
    queue.add_after(ONE, 60)
    queue.add_after(ONE, 0.01)
    queue.add_after(ONE, 30)
    assert await asyncio.wait_for(queue.take(), 5) == ONE
    assert queue.depth() == 0


async def test_taking_a_key_cancels_its_timer() -> None:
    queue = WorkQueue()
    queue.add_after(ONE, 0.01)
    queue.add(ONE)
    await queue.take()
    queue.done(ONE)
    await asyncio.sleep(0.05)
    assert queue.quiescent()


async def test_what_is_gone_is_forgotten() -> None:
    queue = WorkQueue(Backoff(base=8.0))
    queue.add(ONE)
    await queue.take()
    queue.failed(ONE)
    queue.forget(ONE)
    queue.add(ONE)
    await queue.take()
    assert queue.failed(ONE) <= 8.0
    queue.close()


async def test_a_closed_queue_takes_nothing_and_ends_its_takers() -> None:
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    queue.add(ONE)
    queue.add_after(ONE, 0.0)
    assert queue.depth() == 0


def test_ages_are_told_by_the_queue_s_own_clock() -> None:
    now = [100.0]
    queue = WorkQueue(clock=lambda: now[0])
    assert (queue.oldest_age(), queue.longest_pass()) == (0.0, 0.0)
    queue.add(ONE)
    now[0] = 105.0
    queue.add(TWO)
    assert queue.oldest_age() == 5.0


def slots() -> Slots:
    """Return slots that are open."""
    return Slots(primed=True)


def may(slots: Slots, who: Key, **limit: int) -> bool:
    """Ask for a slot, and take it when it is given."""
    granted = slots.may_start(who, "p", ConcurrencyLimit(**limit))
    if granted:
        slots.take(who, "p")
    return granted


def test_without_a_limit_everybody_may_start_even_before_all_were_looked_at() -> None:
    assert Slots().may_start(ONE, "p", ConcurrencyLimit())


def test_with_a_limit_nobody_starts_before_all_were_looked_at() -> None:
    assert not Slots().may_start(ONE, "p", ConcurrencyLimit(total=5))


def test_the_total_bounds_all_namespaces_and_a_release_wakes_who_waits() -> None:
    open_ = slots()
    assert [may(open_, one, total=2) for one in (ONE, key("x", "b"), TWO)] == [True, True, False]
    assert (open_.active("p"), open_.waiting("p")) == (2, [TWO])
    assert open_.release(ONE) == [TWO]
    assert may(open_, TWO, total=2)
    assert open_.waiting("p") == []


def test_a_namespace_s_own_bound_does_not_hold_up_others() -> None:
    open_ = slots()
    limit = {"per_namespace": 1, "total": 3}
    assert [may(open_, one, **limit) for one in (ONE, TWO, key("x", "b"))] == [True, False, True]


def test_a_free_slot_goes_to_the_namespace_with_the_fewest() -> None:
    open_ = slots()
    assert may(open_, ONE, total=2)
    assert may(open_, TWO, total=2)
    assert not may(open_, THREE, total=2)
    assert not may(open_, key("x", "b"), total=2)
    open_.release(ONE)
    assert not may(open_, THREE, total=2), "its namespace runs one already"
    assert may(open_, key("x", "b"), total=2)


def test_profiles_do_not_share_slots() -> None:
    open_ = slots()
    limit = ConcurrencyLimit(total=1)
    open_.take(ONE, "p")
    assert not open_.may_start(TWO, "p", limit)
    assert open_.may_start(TWO, "q", limit)


def test_releasing_who_only_waited_frees_nothing() -> None:
    open_ = slots()
    assert may(open_, ONE, total=1)
    assert not may(open_, TWO, total=1)
    assert (open_.release(TWO), open_.all_waiting()) == ([], [])


def test_dependents_follow_what_each_pass_reads() -> None:
    found = Dependents()
    profile, data = Key("computeprofiles", "", "p"), key("data")
    found.update(TWO, [profile, data])
    found.update(ONE, [profile])
    assert (found.readers(profile), found.readers(data)) == ([ONE, TWO], [TWO])
    found.update(TWO, [data])
    assert (found.readers(profile), found.readers(data)) == ([ONE], [TWO])
    found.update(TWO, ())
    assert found.readers(data) == []


async def test_events_without_end_leave_a_turn_to_the_resync() -> None:
    queue = WorkQueue()
    queue.add(ONE, Lane.RESYNC)
    for number in range(100, 110):
        queue.add(key(str(number)))
    found: list[Key] = []
    while ONE not in found and len(found) < 100:  # each asks for its next poll at once
        found.append(await queue.take())
        queue.done(found[-1])
        if found[-1] != ONE:
            queue.add(found[-1])
    assert len(found) == OTHERS_IN_A_ROW + 1
