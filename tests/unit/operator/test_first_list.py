"""The first list after a start: every object is read once, looked at once, and never by a copy that something newer was heard of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.operator import firstlist, watches
from gradatim.operator.dependents import Dependents
from gradatim.operator.firstlist import FirstList
from gradatim.operator.kube import Body, Conflict, Resource
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key, WorkQueue
from gradatim.operator.resync import Resync
from gradatim.operator.settings import Settings
from gradatim.operator.slots import Slots


def index(number: int, version: str = "1") -> Body:
    """Return an object of the list."""
    metadata = {"namespace": "team", "name": f"index-{number}", "uid": f"u{number}", "resourceVersion": version}
    return {"kind": "RAGIndex", "metadata": metadata}


def key(number: int) -> Key:
    """Return its key."""
    return Key("ragindices", "team", f"index-{number}")


class World:
    """A loop whose API server lists indexes, and everything that it was asked and that was looked at."""

    def __init__(self, count: int) -> None:
        self.now = {key(n): index(n) for n in range(count)}
        self.read: list[Key] = []
        self.passes: list[tuple[Key, str]] = []
        self.errors: list[Exception] = []
        self.before_page: Callable[[int], None] = lambda _: None
        self.held, self.takes = 0, 0.0
        self.blocked: asyncio.Event | None = None
        context: Any = SimpleNamespace(
            kube=self,
            metrics=Metrics(),
            wake=[],
            slots=Slots(),
            dependents=Dependents(),
            settings=Settings(),
            unreachable_since={},
            moving_since={},
            answered={},
            unswept=set(),
            released={},
        )
        self.loop = Loop(context, WorkQueue(), {"ragindices": self.reconcile})
        self.resync = Resync(self.loop, ())

    async def pages(
        self, resource: Resource, _: str = "", *, limit: int = 500, **asked: Any
    ) -> AsyncIterator[list[Body]]:
        """Yield what there was when the list began, page by page."""
        found = list(self.now.values()) if resource.plural == "ragindices" else []
        for start in range(0, len(found), limit):
            self.before_page(start // limit)
            await asyncio.sleep(0)
            slim = asked.get("metadata_only")
            yield [{"metadata": b["metadata"]} if slim else b for b in found[start : start + limit]]

    async def find(self, _: Resource, namespace: str, name: str) -> Body | None:
        """Return one as it is now."""
        self.read.append(Key("ragindices", namespace, name))
        return self.now.get(self.read[-1])

    async def reconcile(self, context: Context, at: Key, body: Body, now: datetime) -> Outcome:
        """Note what was looked at."""
        del context, now
        self.held = max(self.held, len(self.loop.first))
        if self.blocked is not None:
            await self.blocked.wait()
        await asyncio.sleep(self.takes)
        self.passes.append((at, body["metadata"]["resourceVersion"]))
        if self.errors:
            raise self.errors.pop()
        return Outcome()

    async def run(self, *, lists: bool = True) -> None:
        """List everything once beside two workers, and let these finish."""
        workers = [asyncio.create_task(self.loop.work()) for _ in range(2)]
        try:
            if lists:
                await self.resync.once()
            async with asyncio.timeout(10):
                while not self.loop.queue.quiescent():
                    await asyncio.sleep(0.01)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def test_every_object_is_looked_at_once_and_read_by_no_name_and_few_are_held_at_a_time() -> None:
    world = World(10 * firstlist.PAGE)
    world.takes = 0.002
    for n in range(10 * firstlist.PAGE):
        world.loop.listed(key(n), "1")  # the watch lists them too
    await world.run()
    assert sorted(at for at, _ in world.passes) == sorted(world.now)
    assert world.read == []
    assert firstlist.ROOM < world.held <= firstlist.PAGE + firstlist.ROOM


async def test_later_lists_hand_nothing_over() -> None:
    world = World(3)
    await world.run()
    world.now[key(1)] = index(1, "2")
    world.passes.clear()
    await world.run()
    assert (world.passes, world.read) == ([(key(1), "2")], [key(1)])


async def test_what_changed_while_the_copy_waited_is_read_anew() -> None:
    world = World(2)
    world.loop.hand(key(0), index(0))
    world.loop.hand(key(1), index(1))
    world.now[key(0)] = index(0, "2")
    world.loop.event(key(0), "2")
    world.loop.event(key(1), "1")  # what the copy says already
    await world.run(lists=False)
    assert set(world.passes) == {(key(0), "2"), (key(1), "1")}
    assert world.read == [key(0)]


async def test_a_page_of_an_old_list_never_replaces_a_newer_look() -> None:
    world = World(2 * firstlist.PAGE)
    late = key(2 * firstlist.PAGE - 1)

    def change(page: int) -> None:
        if page == 1:
            world.now[late] = index(2 * firstlist.PAGE - 1, "2")
            world.loop.event(late, "2")

    world.before_page = change
    await world.run()
    assert {version for at, version in world.passes if at == late} == {"2"}


@pytest.mark.parametrize("version", ["1", "2"])
async def test_what_only_the_watch_has_listed_is_looked_at(version: str) -> None:
    world = World(1)
    world.loop.listed(key(0), version)
    world.loop.listed(key(7), "1")
    world.now[key(7)] = index(7)
    late = {at: body for at, body in world.now.items() if at == key(7)}
    world.now.pop(key(7))  # made after the list began
    world.before_page = lambda _: world.now.update(late)
    await world.run()
    assert (key(7), "1") in world.passes
    assert world.read.count(key(7)) == 1
    assert (key(0) in world.read) is (version == "2")


async def test_an_event_that_waits_for_its_pass_is_older_than_no_copy() -> None:
    world = World(1)
    world.now[key(0)] = index(0, "2")
    world.loop.event(key(0), "2")
    world.loop.hand(key(0), index(0))
    await world.run(lists=False)
    assert (world.passes, world.read) == ([(key(0), "2")], [key(0)])


async def test_an_object_that_could_not_be_read_is_read_again_and_not_taken_from_the_list() -> None:
    world = World(1)
    world.now[key(0)] = index(0, "2")
    world.loop.queue.add_after(key(0), 0.05)  # what a pass leaves behind that the API server did not answer
    world.loop.hand(key(0), index(0))
    await world.run(lists=False)
    assert {version for _, version in world.passes} == {"2"}


async def test_a_list_that_begins_again_hands_over_the_newer_object() -> None:
    world = World(1)
    world.loop.hand(key(0), index(0))
    world.now[key(0)] = index(0, "2")
    world.loop.hand(key(0), index(0, "2"))
    await world.run(lists=False)
    assert world.passes == [(key(0), "2")]


@pytest.mark.parametrize("looked", [False, True], ids=["the copy waits", "the copy was used"])
async def test_a_watch_that_lists_again_tells_of_what_the_first_list_has_not(*, looked: bool) -> None:
    world = World(1)
    world.loop.hand(key(0), index(0))
    if looked:
        await world.run(lists=False)
    world.now[key(0)] = index(0, "2")
    world.loop.listed(key(0), "2")
    await world.run(lists=False)
    assert world.passes[-1] == (key(0), "2")
    world.passes.clear()
    world.loop.listed(key(0), "1")
    await world.run(lists=False)
    assert world.passes == [], "what it has is no news"


async def test_a_copy_that_a_watch_knows_to_be_old_is_not_used() -> None:
    world = World(1)
    world.loop.listed(key(0), "2")
    world.now[key(0)] = index(0, "2")
    world.loop.hand(key(0), index(0))
    await world.run(lists=False)
    assert world.passes == [(key(0), "2")]


async def test_the_kind_of_an_object_is_told_where_only_its_list_tells_it() -> None:
    world = World(1)
    body = world.now[key(0)]
    del body["kind"]
    await world.run()
    assert (body["kind"], body["apiVersion"]) == ("RAGIndex", "gradatim.dev/v1alpha1")


async def test_after_the_first_list_a_watch_that_lists_tells_of_news_alone() -> None:
    world = World(1)
    await world.run()
    world.loop.listed(key(0), "1")
    assert not world.loop.queue.holds(key(0)), "watches of many objects are slower than the first list"
    world.loop.listed(key(0), "2")
    world.loop.listed(key(1), "1")
    assert world.loop.queue.holds(key(0))
    assert world.loop.queue.holds(key(1))


async def test_a_copy_serves_one_pass() -> None:
    world = World(1)
    world.errors = [Conflict(409, "Conflict", "somebody wrote")]
    await world.run()
    await asyncio.sleep(0.1)  # when a pass that met a conflict is repeated
    await world.run(lists=False)
    assert (len(world.passes), world.read) == (2, [key(0)])


async def test_a_list_waits_for_slow_passes_no_longer_than_it_may() -> None:
    first = FirstList(patience=10, longest=0.1)
    for n in range(firstlist.ROOM + 3):
        first.hand(key(n), index(n), copy=True)
    async with asyncio.timeout(5):
        await first.room()
    first.hand(key(1000), index(1000), copy=True)
    assert first.take(key(1000)) is None
    assert first.take(key(0)) is not None, "what was kept serves all the same"


async def test_passes_that_hang_hold_up_no_list_and_no_memory() -> None:
    world = World(10 * firstlist.PAGE)
    world.loop.first = FirstList(patience=0.05)
    world.blocked = asyncio.Event()
    workers = [asyncio.create_task(world.loop.work()) for _ in range(2)]
    async with asyncio.timeout(10):
        await world.resync.once()
    assert len(world.loop.first) <= firstlist.PAGE + firstlist.ROOM
    world.blocked.set()
    async with asyncio.timeout(10):
        while not world.loop.queue.quiescent():
            await asyncio.sleep(0.01)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(at for at, _ in world.passes) == sorted(world.now)


class Heard:
    """A loop that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Key, str]] = []

    def event(self, key: Key, version: str, _: Body | None = None) -> None:
        """Take an event."""
        self.told.append(("event", key, version))

    def listed(self, key: Key, version: str) -> None:
        """Take what a watch lists."""
        self.told.append(("listed", key, version))


@pytest.mark.parametrize(
    ("said", "told"), [(None, "listed"), ("ADDED", "event"), ("MODIFIED", "event"), ("DELETED", "event")]
)
async def test_what_a_watch_lists_is_told_apart_from_what_happens(said: str | None, told: str) -> None:
    heard: Any = Heard()
    body = {"metadata": {"namespace": "team", "name": "docs", "resourceVersion": "7"}}
    await watches._handler(heard, "ragindices")(body=body, type=said)
    assert heard.told == [(told, Key("ragindices", "team", "docs"), "7")]
