"""What an event brought serves one pass; where something newer is known, or nothing was brought, the pass reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import kopf
import pytest

from gradatim.operator import watches
from gradatim.operator.dependents import Dependents
from gradatim.operator.eventcopies import EventCopies
from gradatim.operator.kube import Body, Conflict, NotFound, Resource
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key, WorkQueue
from gradatim.operator.resync import Resync
from gradatim.operator.slots import Slots

KEY = Key("ragindices", "team", "handbook")
CONFLICT = Conflict(409, "Conflict", "written")


def index(version: str) -> Body:
    """Return the object at a resourceVersion."""
    metadata = {"namespace": "team", "name": "handbook", "uid": "u1", "resourceVersion": version}
    return {"kind": "RAGIndex", "metadata": metadata, "spec": {}}


class World:
    """A loop over one index whose newest version is 9, what was read and what was looked at."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)
        self.reads = 0
        self.passes: list[str] = []
        self.during: Callable[[], None] = lambda: None
        context: Any = SimpleNamespace(
            kube=self, metrics=Metrics(), wake=[], slots=Slots(), dependents=Dependents(), unreachable_since={},
            moving_since={}, answered={}, unswept=set(), released={},
        )  # fmt: skip
        self.loop = Loop(context, WorkQueue(), {"ragindices": self.reconcile})

    async def find(self, _: Resource, __: str, ___: str) -> Body:
        """Return the newest."""
        self.reads += 1
        return index("9")

    async def reconcile(self, context: Context, at: Key, body: Body, now: datetime) -> Outcome:
        """Note the version and end as was asked."""
        del context, at, now
        self.passes.append(body["metadata"]["resourceVersion"])
        during, self.during = self.during, lambda: None
        during()
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def event(self, version: str, *, body: bool = True) -> None:
        """Let the watch bring an event."""
        self.loop.event(KEY, version, index(version) if body else None)

    async def once(self) -> None:
        """Run the pass that waits."""
        await self.loop._once(await self.loop.queue.take())


async def test_a_copy_serves_the_pass_of_its_event_and_no_other() -> None:
    world = World()
    world.event("5")
    await world.once()
    assert (world.passes, world.reads, len(world.loop.copies)) == (["5"], 0, 0)
    world.loop.queue.add(KEY)  # a timer
    await world.once()
    assert (world.passes, world.reads) == (["5", "9"], 1)


async def test_the_newest_copy_counts_and_an_event_without_one_forgets_it() -> None:
    world = World()
    world.event("5")
    world.event("6")
    await world.once()
    world.event("7")
    world.event("8", body=False)
    await world.once()
    assert (world.passes, world.reads) == (["6", "9"], 1)


async def test_an_event_during_a_pass_that_wrote_nothing_serves_the_next() -> None:
    world = World()
    world.event("5")
    world.during = lambda: world.event("6")
    await world.once()
    await world.once()
    assert (world.passes, world.reads) == (["5", "6"], 0)


@pytest.mark.parametrize("outcome", [Outcome(written="7"), CONFLICT])
async def test_what_came_during_a_write_or_a_conflict_is_read_anew(outcome: Outcome | Exception) -> None:
    world = World(outcome)
    world.event("5")
    world.during = lambda: world.event("6")
    await world.once()
    await world.once()
    assert (world.passes, world.reads) == (["5", "9"], 1)


async def test_an_event_from_before_our_last_write_is_looked_at_by_a_read() -> None:
    world = World(Outcome(written="10"))
    world.event("5")
    await world.once()
    world.event("6")  # late
    world.event("10")  # the echo
    await world.once()
    assert (world.passes, world.reads) == (["5", "9"], 1)
    world.event("11")
    await world.once()
    assert (world.passes, world.reads) == (["5", "9", "11"], 1)


async def test_after_a_conflict_events_are_looked_at_by_a_read_until_one_was_made() -> None:
    world = World(CONFLICT)
    world.event("5")
    await world.once()
    world.event("6")
    await world.once()
    world.event("10")
    await world.once()
    assert (world.passes, world.reads) == (["5", "9", "10"], 1)


async def test_an_object_that_is_gone_when_its_copy_is_looked_at_is_read() -> None:
    world = World(NotFound(404, "NotFound", "gone"))
    world.event("5")
    assert await world.loop._once(await world.loop.queue.take()) == "conflict"
    await world.once()
    assert (world.passes, world.reads) == (["5", "9"], 1)


async def test_a_list_with_something_newer_outdates_the_copy() -> None:
    world = World()
    world.event("5")
    world.loop.copies.heard(KEY, "5")
    assert len(world.loop.copies) == 1
    resync = Resync(world.loop, ())
    resync.first.set()
    resync._look("ragindices", index("9"), {})
    await world.once()
    assert (world.passes, world.reads) == (["9"], 1)
    world.event("5")
    world.loop.hand(KEY, index("9"))
    await world.once()
    assert world.passes == ["9", "9"]


async def test_an_event_from_before_the_last_list_is_looked_at_by_a_read() -> None:
    world = World()
    world.loop.seen = {KEY: "9"}
    world.event("6")
    await world.once()
    assert (world.passes, world.reads) == (["9"], 1)


def test_few_bytes_are_held_at_a_time() -> None:
    copies = EventCopies(room=2 * len(json.dumps(index("1"), separators=(",", ":"))) + 1)
    for number in range(3):
        copies.put(Key("ragindices", "team", str(number)), index("1"))
    assert len(copies) == 2
    assert copies.take(Key("ragindices", "team", "2")) is None
    assert copies.take(Key("ragindices", "team", "1")) == index("1")
    copies.put(Key("ragindices", "team", "2"), index("2"))
    assert copies.take(Key("ragindices", "team", "2")) == index("2")


@pytest.mark.parametrize(
    ("type_", "body", "kept"),
    [
        ("ADDED", index("5"), True),
        ("MODIFIED", index("5"), True),
        ("DELETED", index("5"), False),
        ("MODIFIED", {"metadata": index("5")["metadata"]}, False),
        (None, index("5"), False),
    ],
)
async def test_what_the_watch_hands_on(type_: str | None, body: Any, *, kept: bool) -> None:
    world = World()
    await watches._handler(world.loop, "ragindices")(body=kopf.Body(body), type=type_)
    assert len(world.loop.copies) == kept


async def test_managed_fields_are_not_kept() -> None:
    world, body = World(), index("5")
    body["metadata"]["managedFields"] = [{"manager": "somebody"}]
    await watches._handler(world.loop, "ragindices")(body=kopf.Body(body), type="ADDED")
    assert world.loop.copies.take(KEY) == index("5")
