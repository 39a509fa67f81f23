"""How often an object is looked at while what it needs does not answer: soon at first, then ever more rarely, within a bound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.reasons import Reason
from gradatim.operator import running
from gradatim.operator.queue import Key
from gradatim.operator.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("datasets", "team", "one")
TROUBLE = [(Reason.RUNTIME_UNREACHABLE, "it cannot be reached")]


@pytest.mark.parametrize(
    ("silent", "delay"),
    [
        pytest.param(None, 5.0, id="the first time"),
        pytest.param(8, 5.0, id="for some seconds"),
        pytest.param(100, 25.0, id="for a while"),
        pytest.param(86_400, 60.0, id="for a day"),
    ],
)
def test_the_wait_grows_with_the_silence(silent: float | None, delay: float) -> None:
    since = {} if silent is None else {KEY: NOW - timedelta(seconds=silent)}
    context: Any = SimpleNamespace(settings=Settings(), unreachable_since=since)
    assert running.retry_in(context, KEY, None, TROUBLE, NOW) == delay
    assert running.retry_in(context, KEY, None, [], NOW) is None


def test_what_was_written_is_read_again_at_once_and_then_ever_later() -> None:
    context: Any = SimpleNamespace(settings=Settings(), moving_since={})

    def wait(after: float, *, moving: bool = True) -> float | None:
        return running.lagging(context, KEY, moving=moving, now=NOW + timedelta(seconds=after))

    assert [wait(0), wait(0.2), wait(4), wait(600)] == [0.0, 0.2, 2.1, 30.0]
    assert wait(601, moving=False) is None
    assert wait(700) == 0.0, "another switch begins anew"
