"""Who reads a profile or a Dataset is woken by what concerns it, and also when the watch has missed that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.operator.dependents import DELETED, Dependents, Says, says
from gradatim.operator.kube import Body, Resource
from gradatim.operator.loop import Loop
from gradatim.operator.queue import Key, WorkQueue
from gradatim.operator.resync import Resync
from gradatim.operator.settings import Settings

PROFILE, DATA = Key("computeprofiles", "", "p"), Key("datasets", "team", "data")
READER = Key("ragindices", "team", "docs")


def profile(*, ready: str = "True", message: str = "", **status: Any) -> Body:
    """Return a profile."""
    conditions = [{"type": "Ready", "status": ready, "reason": "Probed", "message": message}]
    return {"metadata": {"uid": "p", "generation": 1}, "status": status | {"conditions": conditions}}


def dataset(digest: str, **status: Any) -> Body:
    """Return a Dataset."""
    active = {"active": {"digest": digest, "uri": f"file:///{digest}/"}}
    metadata = {"name": "data", "namespace": "team", "uid": "d", "generation": 1, "resourceVersion": digest}
    return {"metadata": metadata, "status": status | active}


@pytest.mark.parametrize(
    ("plural", "before", "after", "new"),
    [
        pytest.param("computeprofiles", profile(), profile(activeRuns=7), False, id="the number of active Runs"),
        pytest.param("computeprofiles", profile(), profile(ready="False"), True, id="a dependency that is down"),
        pytest.param("computeprofiles", profile(), profile(message="x"), True, id="another reason to wait"),
        pytest.param("datasets", dataset("1"), dataset("1", progress={"percent": 5}), False, id="progress of a Run"),
        pytest.param("datasets", dataset("1"), dataset("2"), True, id="another version"),
        pytest.param("datasets", {"metadata": {"uid": "d"}}, {"metadata": {"uid": "e"}}, True, id="another object"),
    ],
)
def test_only_what_readers_depend_on_is_news(plural: str, before: Body, after: Body, new: bool) -> None:
    found = Dependents()
    assert found.news(DATA, says(plural, before))
    assert found.news(DATA, says(plural, after)) is new


def loop_of(pages: dict[str, list[Body]]) -> Loop:
    """Return a loop over a server that lists those objects; READER reads DATA."""

    async def listed(resource: Resource, *_: Any, **__: Any) -> AsyncIterator[list[Body]]:
        yield pages.get(resource.plural, [])

    nothing = SimpleNamespace(labels=lambda *_: SimpleNamespace(set=lambda _: None), inc=lambda: None)
    context: Any = SimpleNamespace(
        kube=SimpleNamespace(pages=listed, forget_recent=lambda *_: None),
        settings=Settings(),
        metrics=SimpleNamespace(objects=nothing, resyncs=nothing),
        dependents=Dependents(),
    )
    context.dependents.update(READER, [DATA])
    return Loop(context, WorkQueue(), {})


async def woken(queue: WorkQueue) -> set[Key]:
    """Return what waits, and empty the queue."""
    found = set()
    while queue.depth():
        found.add(key := await queue.take())
        queue.done(key)
    return found


@pytest.mark.parametrize("told", [("other",), DELETED], ids=["changed", "deleted"])
async def test_an_event_wakes_readers_once(told: Says) -> None:
    loop = loop_of({})
    loop.upstream(DATA, told)
    assert await woken(loop.queue) == {READER}
    loop.upstream(DATA, told)
    assert await woken(loop.queue) == set()


async def test_a_resync_wakes_readers_of_what_the_watch_missed_even_if_we_wrote_it() -> None:
    pages = {"datasets": [dataset("1")]}
    loop = loop_of(pages)
    resync = Resync(loop, ())
    await resync.once()
    assert await woken(loop.queue) == {DATA, READER}
    await resync.once()
    assert await woken(loop.queue) == set()
    pages["datasets"] = [dataset("2")]
    loop.written[DATA] = "2"
    await resync.once()
    assert await woken(loop.queue) == {READER}
    pages["datasets"] = []
    await resync.once()
    assert await woken(loop.queue) == {DATA, READER}
