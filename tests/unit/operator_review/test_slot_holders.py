"""A slot that was given and not used, because the start failed on its way to status, must not lock its holder out."""

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
