"""One object whose pass never ends well keeps nobody else from starting, and one stray that cannot go does not end the process."""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.operator.dependents import Dependents
from gradatim.operator.kube import ApiUnreachable, Body, Conflict, KubeError
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key, WorkQueue
from gradatim.operator.resync import Resync
from gradatim.operator.slots import Slots

KEY = Key("datasets", "team", "one")
SILENT = ApiUnreachable("no answer")


async def looked_at(reading: Exception | None, passing: Exception | None) -> bool:
    """Let a worker make one pass and return whether its object counts as looked at."""
    ended = asyncio.Event()

    async def find(*_: Any) -> Body | None:
        if reading is not None:
            raise reading
        return {"metadata": {"namespace": KEY.namespace, "name": KEY.name, "uid": "u", "resourceVersion": "1"}}

    async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        del context, key, body, now
        if passing is not None:
            raise passing
        return Outcome()

    context: Any = SimpleNamespace(
        kube=SimpleNamespace(find=find), metrics=Metrics(), wake=[], slots=Slots(), dependents=Dependents()
    )
    loop = Loop(context, WorkQueue(), {"datasets": reconcile})
    loop.queue.add(KEY)
    measure = loop._measure

    def note(key: Key, started: float, arrived: float | None, outcome: str) -> None:
        measure(key, started, arrived, outcome)
        ended.set()

    loop._measure = note  # type: ignore[method-assign]
    worker = asyncio.create_task(loop.work())
    await ended.wait()
    await asyncio.sleep(0)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return KEY in (loop.looked or set())


@pytest.mark.parametrize(
    ("reading", "passing", "looked"),
    [
        pytest.param(None, None, True, id="all is well"),
        pytest.param(SILENT, None, False, id="the object was never read"),
        pytest.param(None, SILENT, True, id="a later call is never answered"),
        pytest.param(None, Conflict(409, "Conflict", "written"), True, id="somebody writes all the time"),
        pytest.param(None, KubeError(500, "InternalError", "failed calling webhook"), True, id="a webhook is away"),
    ],
)
async def test_what_was_read_has_been_looked_at(
    reading: Exception | None, passing: Exception | None, looked: bool
) -> None:
    assert await looked_at(reading, passing) is looked


@pytest.mark.parametrize(
    ("status", "active"),
    [
        pytest.param({"run": {"name": "one-1"}, "store": {"profile": "p"}}, 1, id="a Run is active"),
        pytest.param({"run": {"name": "one-1", "done": True}, "store": {"profile": "p"}}, 0, id="its Run is over"),
        pytest.param({"store": {"profile": "p"}}, 0, id="it has no Run"),
        pytest.param({"run": {"name": "one-1"}}, 0, id="its Run has no profile yet"),
        pytest.param(None, 0, id="it has no status"),
    ],
)
async def test_an_active_run_holds_its_slot_although_no_pass_over_it_is_finished(
    status: Body | None, active: int
) -> None:
    async def find(*_: Any) -> Body:
        return {"metadata": {"namespace": KEY.namespace, "name": KEY.name, "uid": "u"}, "status": status}

    async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        raise SILENT

    context: Any = SimpleNamespace(kube=SimpleNamespace(find=find), metrics=Metrics(), wake=[], slots=Slots())
    loop = Loop(context, WorkQueue(), {"datasets": reconcile})
    loop.queue.add(KEY)
    assert await loop._once(await loop.queue.take()) == "unreachable"
    assert context.slots.active("p") == active


async def test_a_stray_whose_deletion_is_not_answered_stays() -> None:
    asked: list[str] = []

    async def delete(_: object, body: Body) -> None:
        asked.append(body["metadata"]["name"])
        raise SILENT

    loop: Any = SimpleNamespace(context=SimpleNamespace(kube=SimpleNamespace(delete=delete)))
    await Resync(loop, ())._sweep({"metadata": {"namespace": "team", "name": "stray"}})
    assert asked == ["stray"]
