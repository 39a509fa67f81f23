"""Deletion with a dependency that is gone for good: it waits, and then what the others hold is removed all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.meta import FINALIZER
from gradatim.api.runstatus import Attempt, RunStatus, StoreIdentity
from gradatim.operator import cleanup
from gradatim.operator.errors import Dependency, DependencyError
from gradatim.operator.kube import Body
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Outcome
from gradatim.operator.queue import Key
from gradatim.operator.runtimes.base import Tenant
from gradatim.operator.settings import Settings
from gradatim.operator.slots import Slots

DELETED = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("ragindices", "team", "docs")
IDENTITY = StoreIdentity(
    profile="p", profile_uid="p", artifact_root="file:///s/{namespace}/", vector_endpoint="http://w"
)
RUN = RunStatus(name="docs-1", trigger="generation", attempts=[Attempt(number=1)], done=True)
BODY: Body = {
    "apiVersion": "gradatim.dev/v1alpha1",
    "kind": "RAGIndex",
    "metadata": {
        "name": "docs",
        "namespace": "team",
        "uid": "u",
        "resourceVersion": "1",
        "deletionTimestamp": "2026-03-01T12:00:00Z",
        "finalizers": [FINALIZER],
    },
}


class World:
    """The runtime, both stores and the API server; `dead` ones do not answer."""

    def __init__(self, *dead: Dependency) -> None:
        self.dead, self.done = dead, list[str]()
        self.status: Body = {}

    def _answer(self, dependency: Dependency, what: str) -> None:
        if dependency in self.dead:
            raise DependencyError(dependency, f"{dependency} cannot be reached")
        self.done.append(what)

    async def runtime(self, _: StoreIdentity, tenant: Tenant) -> Any:
        """Return the runtime."""
        assert tenant.namespace
        assert tenant.uid

        async def delete(name: str) -> None:
            self._answer("runtime", f"attempt {name}")

        return SimpleNamespace(delete=delete)

    async def vectors(self, _: StoreIdentity) -> Any:
        """Return the vector store."""

        async def delete(name: str) -> None:
            self._answer("vectorStore", name)

        async def collections(prefix: str) -> list[str]:
            assert prefix.startswith("G")
            return ["G1"]

        return SimpleNamespace(delete_alias=delete, delete_collection=delete, collections=collections)

    async def artifacts(self, _: StoreIdentity, namespace: str) -> Any:
        """Return the artifact store."""

        async def delete(path: str, *, within: str) -> None:
            assert (namespace, path) == ("team", within)
            self._answer("artifactStore", path)

        async def read(path: str, limit: int) -> bytes:
            assert (path, limit > 0) == ("_control/object-u/stopped.json", True)
            return b'["docs-0123456789", "another-0123456789", "docs-two-0123456789", 7]'

        return SimpleNamespace(delete=delete, read=read)

    async def set_finalizers(self, _: Any, __: Body, left: list[str]) -> None:
        """Take the finalizer off."""
        assert left == []
        self.done.append("released")

    async def put_status(self, _: Any, body: Body) -> Body:
        """Take a status."""
        self.status = body["status"]
        return {"resourceVersion": "2"}

    async def create(self, _: Any, __: str, body: Body) -> None:
        """Take an event."""
        self.done.append(body["message"])

    async def finalize(self, after: float) -> Outcome:
        """Run one step of the deletion so many seconds after it was asked for."""
        context: Any = SimpleNamespace(
            kube=self, edges=self, settings=Settings(), metrics=Metrics(), slots=Slots(), wake=[]
        )
        now = DELETED + timedelta(seconds=after)
        body = BODY | {"status": self.status}
        return await cleanup.finalize(context, KEY, body, identity=IDENTITY, run=RUN, alias="Nt", now=now)


REST = ["Nt", "G1", "_control/docs-1", "_control/docs-0123456789", "_control/object-u", "ragindex/docs/u"]


async def test_with_everything_there_it_is_done_in_one_step() -> None:
    world = World()
    assert await world.finalize(1) == Outcome()
    assert world.done == ["attempt docs-1-a1", *REST, "released"]


async def test_before_the_deadline_nothing_follows_what_does_not_answer() -> None:
    world = World("runtime")
    assert await world.finalize(40) == Outcome(requeue=11.0, written="2")
    assert world.done == []


async def test_what_a_deletion_waits_for_is_said_once_and_not_at_once() -> None:
    world = World("runtime")
    assert await world.finalize(10) == Outcome(requeue=3.5)
    assert world.status == {}
    assert (await world.finalize(20)).written == "2"
    said = {c["type"]: (c["status"], c["reason"], c["message"]) for c in world.status["conditions"]}
    assert said == {
        "Reconciling": ("True", "RuntimeUnreachable", "deletion waits: runtime cannot be reached"),
        "Stalled": ("False", "RuntimeUnreachable", ""),
    }
    assert (await world.finalize(30)).written is None


@pytest.mark.parametrize(
    ("dead", "done"),
    [
        pytest.param(("runtime",), REST, id="a Ray cluster that is gone"),
        pytest.param(("vectorStore",), ["attempt docs-1-a1", *REST[2:]], id="a Weaviate that is gone"),
        pytest.param(("runtime", "artifactStore"), REST[:2], id="only Weaviate is left"),
    ],
)
async def test_past_the_deadline_the_rest_is_removed(dead: tuple[Dependency, ...], done: list[str]) -> None:
    world = World(*dead)
    assert await world.finalize(901) == Outcome()
    why = "; ".join(f"{name} cannot be reached" for name in dead)
    assert world.done == [*done, f"released without clean-up, data may be left behind: {why}", "released"]
