"""Slots that were given and not used, and whose turn it is: nobody is locked out, and not everybody is woken for one slot."""

from __future__ import annotations

from gradatim.api.computeprofile import ConcurrencyLimit
from gradatim.operator.queue import Key
from gradatim.operator.slots import Slots

ONE, TWO = Key("datasets", "a", "one"), Key("datasets", "a", "two")


def test_who_holds_a_slot_may_start_again_after_a_start_that_was_not_recorded() -> None:
    slots, limit = Slots(primed=True), ConcurrencyLimit(total=1)
    assert slots.may_start(ONE, "p", limit)
    slots.take(ONE, "p")
    # The status write met a conflict: the next pass asks again.
    assert slots.may_start(ONE, "p", limit)
    assert slots.waiting("p") == []
    assert not slots.may_start(TWO, "p", limit)
    assert slots.release(ONE) == [TWO]


def waiting(slots: Slots, limit: ConcurrencyLimit, **namespaces: int) -> dict[str, list[Key]]:
    """Let so many objects of each namespace ask while nothing is free."""
    found = {ns: [Key("datasets", ns, str(n)) for n in range(count)] for ns, count in namespaces.items()}
    for keys in found.values():
        for key in keys:
            assert not slots.may_start(key, "p", limit)
    return found


def full(total: int) -> tuple[Slots, ConcurrencyLimit]:
    """Return slots of which ONE's namespace holds all."""
    slots, limit = Slots(primed=True), ConcurrencyLimit(total=total)
    for n in range(total):
        holder = Key("ragindices", "a", f"holder-{n}")
        assert slots.may_start(holder, "p", limit)
        slots.take(holder, "p")
    return slots, limit


def test_one_free_slot_wakes_one_and_the_namespace_with_the_fewest_first() -> None:
    slots, limit = full(2)
    found = waiting(slots, limit, a=1000, b=1000)
    assert slots.release(Key("ragindices", "a", "holder-0")) == [found["b"][0]]
    assert slots.may_start(found["b"][0], "p", limit)
    assert slots.take(found["b"][0], "p") == [], "nothing is free any more"


def test_a_start_wakes_the_next_while_slots_are_free() -> None:
    slots, limit = Slots(), ConcurrencyLimit(total=3)
    found = waiting(slots, limit, a=2, b=1)
    slots.primed = True
    assert slots.may_start(found["a"][0], "p", limit)
    assert slots.take(found["a"][0], "p") == [found["b"][0], found["a"][1]]
    assert not slots.may_start(found["a"][1], "p", limit), "it was looked at too early"
    assert slots.may_start(found["b"][0], "p", limit)
    assert slots.take(found["b"][0], "p") == [found["a"][1]]


def test_who_cannot_start_steps_back_and_holds_up_nobody() -> None:
    slots, limit = full(2)
    found = waiting(slots, limit, a=1, b=1)
    assert slots.release(Key("ragindices", "a", "holder-0")) == found["b"]
    assert not slots.may_start(found["a"][0], "p", limit)
    assert slots.step_back(found["b"][0]) == found["a"], "its pass failed"
    assert slots.may_start(found["a"][0], "p", limit)
    assert slots.step_back(Key("ragindices", "a", "holder-1")) == [], "a failed pass gives no slot back"
    assert slots.active("p") == 1


def test_the_bound_of_a_namespace_counts_when_turns_are_given() -> None:
    slots, limit = Slots(), ConcurrencyLimit(per_namespace=1)
    found = waiting(slots, limit, a=3, b=2)
    slots.primed = True
    assert slots.turns("p") == [found["a"][0], found["b"][0]]


def test_a_run_without_a_limit_is_given_back_too() -> None:
    slots = Slots(primed=True)
    slots.take(ONE, "q")
    assert (slots.active("q"), slots.release(ONE), slots.active("q")) == (1, [], 0)
