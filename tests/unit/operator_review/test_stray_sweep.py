"""Sweeping strays: only what our owner reference claims, and nothing that a tenant does to one ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.operator.firstlist import FirstList
from gradatim.operator.kube import Body, Conflict, KubeError, Resource
from gradatim.operator.queue import Key
from gradatim.operator.resync import Resync
from gradatim.operator.settings import Settings

OLD = "2020-01-01T00:00:00Z"


def config_map(name: str, owner: str, *, owned: bool = True) -> Body:
    """Return a ConfigMap that bears our labels."""
    reference = {
        "controller": True,
        "uid": owner,
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "Dataset",
        "name": "one",
    }
    metadata = {"name": name, "namespace": "team", "labels": {"gradatim.dev/owner": owner}, "creationTimestamp": OLD}
    return {"metadata": metadata | {"ownerReferences": [reference] if owned else []}}


class Server:
    """Lists one Dataset and the given ConfigMaps, and refuses to delete some."""

    def __init__(self, maps: list[Body], refused: dict[str, KubeError]) -> None:
        self.maps, self.refused, self.deleted = maps, refused, list[str]()
        self.found = 0

    async def pages(self, resource: Resource, _: str = "", **__: Any) -> AsyncIterator[list[Body]]:
        """Return one page."""
        yield self.maps if resource.plural == "configmaps" else []

    async def find(self, *_: Any) -> Body:
        """Return the Dataset as it is now."""
        self.found += 1
        metadata = {"name": "one", "namespace": "team", "uid": "u", "resourceVersion": "1"}
        return {"metadata": metadata, "status": {"run": {"name": "run"}}}

    async def delete(self, _: Resource, body: Body) -> None:
        """Delete one or refuse."""
        name = body["metadata"]["name"]
        if name in self.refused:
            raise self.refused[name]
        self.deleted.append(name)


@pytest.mark.parametrize(
    "error",
    [Conflict(409, "Conflict", "it has been written"), KubeError(403, "Forbidden", "a webhook says no")],
    ids=["somebody writes to a stray all the time", "an admission webhook refuses"],
)
def test_a_stray_that_cannot_be_removed_stays_until_the_next_time(error: KubeError) -> None:
    maps = [
        config_map("first", "u"),
        config_map("run", "u"),
        config_map("copy", "u", owned=False),
        config_map("other", "x"),
        config_map("last", "u"),
    ]
    server = Server(maps, {"first": error})
    nothing = SimpleNamespace(labels=lambda *_: SimpleNamespace(set=lambda _: None), inc=lambda: None)
    context = SimpleNamespace(
        kube=server, settings=Settings(), metrics=SimpleNamespace(objects=nothing, resyncs=nothing)
    )
    loop: Any = SimpleNamespace(
        context=context,
        queue=SimpleNamespace(add=lambda *_: None),
        written={},
        runs={Key("datasets", "team", "one"): ("u", "run")},
        upstream=lambda *_: None,
        first=FirstList(),
        first_list_ended=lambda: None,
        seen={},
    )
    asyncio.run(Resync(loop, ()).once())
    assert (server.deleted, server.found) == (["last"], 3), (
        "the object itself is asked before anything goes, and only then"
    )
