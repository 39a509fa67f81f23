"""A dependency that hangs: when calls are refused, for how long, and that one trial decides; and that it holds few places."""

from __future__ import annotations

import asyncio

import pytest

from gradatim.operator.breaker import Breaker, Guard, Guards, Refused, Rules, Ticket

RULES = Rules(timeouts=3, pause=4.0, longest=10.0, places=2, slow=0.02)
PAUSES: list[tuple[str, float, list[float]]] = [
    ("the middle of the jitter", 0.5, [4.0, 8.0, 10.0, 10.0]),
    ("the shortest", 0.0, [3.0, 6.0, 7.5, 7.5]),
    ("the longest", 1.0, [5.0, 10.0, 12.5, 12.5]),
]


def opened(chance: float = 0.5) -> Breaker:
    """Return a breaker that has just seen the third timeout, at the moment 0."""
    found = Breaker(RULES, lambda: chance)
    for _ in range(3):
        assert found.admit(0.0) is Ticket.ORDINARY
        found.silent(Ticket.ORDINARY, 0.0)
    return found


@pytest.mark.parametrize(("chance", "lengths"), [p[1:] for p in PAUSES], ids=[p[0] for p in PAUSES])
def test_the_pauses_grow_up_to_a_bound(chance: float, lengths: list[float]) -> None:
    breaker, now = opened(chance), 0.0
    for length in lengths:
        assert breaker.wait(now) == pytest.approx(length)
        assert breaker.admit(now + length - 0.001) is None
        now += length
        assert breaker.admit(now) is Ticket.TRIAL
        breaker.silent(Ticket.TRIAL, now)


def test_two_timeouts_and_an_answer_refuse_nothing() -> None:
    breaker = Breaker(RULES)
    for _ in range(5):
        breaker.silent(Ticket.ORDINARY, 0.0)
        breaker.silent(Ticket.ORDINARY, 0.0)
        breaker.answered()
    assert breaker.admit(0.0) is Ticket.ORDINARY


def test_one_trial_at_a_time_and_its_answer_opens_the_way_for_all() -> None:
    breaker = opened()
    assert [breaker.admit(4.0), breaker.admit(4.0)] == [Ticket.TRIAL, None]
    assert breaker.wait(4.0) == pytest.approx(0.8), "who is refused meanwhile asks again soon, not at once"
    breaker.answered()
    assert [breaker.admit(4.0), breaker.admit(4.0)] == [Ticket.ORDINARY, Ticket.ORDINARY]


def test_a_trial_that_was_given_up_leaves_the_next_one_to_others() -> None:
    breaker = opened()
    assert breaker.admit(4.0) is Ticket.TRIAL
    breaker.abandoned(Ticket.ORDINARY)
    assert breaker.admit(4.0) is None
    breaker.abandoned(Ticket.TRIAL)
    assert breaker.admit(4.0) is Ticket.TRIAL


def test_calls_that_began_before_the_pause_do_not_lengthen_it() -> None:
    breaker = opened()
    for _ in range(10):
        breaker.silent(Ticket.ORDINARY, 3.0)
    assert breaker.admit(4.0) is Ticket.TRIAL
    breaker.silent(Ticket.ORDINARY, 4.0)
    assert breaker.admit(4.0) is None, "the trial is still under way"


async def _hang() -> None:
    await asyncio.sleep(3600)


async def _silent() -> None:
    raise TimeoutError


async def test_behind_calls_that_hang_nobody_waits() -> None:
    guard = Guard(RULES)
    hanging = [asyncio.create_task(guard.run(_hang)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="is slow"):
        await guard.run(_hang)
    with pytest.raises(Refused, match="is slow"):
        await asyncio.wait_for(guard.run(_hang), 0.01)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert await guard.run(lambda: asyncio.sleep(0, "there is room again")) == "there is room again"


async def test_behind_calls_that_are_quick_everybody_has_a_turn() -> None:
    guard = Guard(Rules(places=2, slow=1.0))
    under_way, most = 0, 0

    async def quick() -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return 1

    assert sum(await asyncio.gather(*(guard.run(quick) for _ in range(50)))) == 50
    assert most == 2


@pytest.mark.parametrize(
    ("seconds", "error", "refused"),
    [
        pytest.param(0.0, OSError("curl: 7"), False, id="a refused connection is an answer"),
        pytest.param(9.0, OSError("curl: 28"), True, id="one that breaks down late is none"),
        pytest.param(9.0, ValueError("too much for one pass"), False, id="work that took its time is one"),
    ],
)
async def test_errors_of_a_client(seconds: float, error: Exception, refused: bool) -> None:
    now = 0.0

    async def fails() -> None:
        nonlocal now
        now += seconds
        raise error

    guard = Guard(RULES, lambda: now)
    for number in range(4):
        with pytest.raises(Refused if refused and number == 3 else type(error)):
            await guard.run(fails)


async def test_one_endpoint_has_one_guard_and_others_have_their_own() -> None:
    guards = Guards(RULES)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await guards.of("vectorStore", "http://a").run(_silent)
    with pytest.raises(Refused, match="does not answer"):
        await guards.of("vectorStore", "http://a").run(_silent)
    with pytest.raises(TimeoutError):
        await guards.of("vectorStore", "http://b").run(_silent)
