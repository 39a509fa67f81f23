"""The watch event of a pass's own write is worth no second pass, whichever of event and answer comes first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.operator.dependents import Dependents
from gradatim.operator.kube import Body, Conflict
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key, WorkQueue
from gradatim.operator.slots import Slots

KEY = Key("datasets", "team", "one")


async def waiting_after(during: Callable[[Loop], None], written: str | None, error: Exception | None = None) -> int:
    """Run one pass in which `during` happens and return how many keys wait at its end."""

    async def find(*_: Any) -> Body:
        return {"metadata": {"namespace": KEY.namespace, "name": KEY.name, "uid": "u", "resourceVersion": "1"}}

    async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        del context, key, body, now
        during(loop)
        if error is not None:
            raise error
        return Outcome(written=written)

    context: Any = SimpleNamespace(
        kube=SimpleNamespace(find=find), metrics=Metrics(), wake=[], slots=Slots(), dependents=Dependents()
    )
    loop = Loop(context, WorkQueue(), {"datasets": reconcile})
    loop.queue.add(await_key := KEY)
    key = await loop.queue.take()
    assert key == await_key
    await loop._once(key)
    return loop.queue.depth()


def heard(*versions: str) -> Callable[[Loop], None]:
    """Return what lets the watch bring these events."""

    def events(loop: Loop) -> None:
        for version in versions:
            loop.event(KEY, version)

    return events


@pytest.mark.parametrize(
    ("during", "written", "waiting"),
    [
        pytest.param(heard(), "2", 0, id="the event has not come yet"),
        pytest.param(heard("2"), "2", 0, id="the event came before the answer"),
        pytest.param(heard("0", "2"), "2", 0, id="an older event, which the write has seen, came too"),
        pytest.param(heard("2", "3"), "2", 1, id="somebody else wrote after us"),
        pytest.param(heard("3"), None, 1, id="somebody else wrote and we did not"),
    ],
)
async def test_a_pass_follows_only_what_others_did(
    during: Callable[[Loop], None], written: str | None, waiting: int
) -> None:
    assert await waiting_after(during, written) == waiting


async def test_an_event_before_a_conflict_is_not_lost() -> None:
    assert await waiting_after(heard("3"), None, Conflict(409, "Conflict", "written")) == 0


async def test_the_event_after_the_pass_is_known_too() -> None:
    queue = WorkQueue()
    context: Any = SimpleNamespace(kube=None)
    loop = Loop(context, queue, {})
    loop.written[KEY] = "2"
    loop.event(KEY, "2")
    assert queue.depth() == 0
    loop.event(KEY, "3")
    assert queue.depth() == 1
