"""What a pass over an index does to the stores: nothing that an alias leads to is removed, and what failed is repeated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from gradatim.api.build import collection_prefix
from gradatim.operator.errors import DependencyError
from gradatim.operator.kube import Body
from gradatim.operator.metrics import Metrics
from gradatim.operator.queue import Key
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import Plan, plan
from gradatim.operator.ragindex.reconcile import _vectors
from gradatim.operator.settings import RunSettings

KEY = Key("ragindices", "team", "docs")
BODY: Body = {"kind": "RAGIndex", "metadata": {"name": "docs", "namespace": "team", "uid": "u", "resourceVersion": "1"}}
STRAY = f"{collection_prefix('u')}stray"


class Stores:
    """A vector store and an artifact store that remember what was removed; `broken` ones refuse."""

    root = "file:///store/team/"

    def __init__(self, aliases: dict[str, str]) -> None:
        self.led, self.broken, self.removed = aliases, False, list[str]()

    async def aliases(self) -> dict[str, str]:
        """Return the aliases."""
        return self.led

    async def collections(self, prefix: str) -> list[str]:
        """Return the collections of the object."""
        return [STRAY] if STRAY.startswith(prefix) and STRAY not in self.removed else []

    async def delete_collection(self, name: str) -> None:
        """Remove a collection."""
        if self.broken:
            raise DependencyError("vectorStore", "Weaviate answered with status 500")
        self.removed.append(name)

    async def delete(self, path: str, *, within: str) -> None:
        """Remove an artifact."""
        assert path.startswith(within)
        self.removed.append(path)


def context_of(stores: Stores) -> Any:
    """Return the context of passes that reach those stores."""

    async def opened(*_: Any) -> Stores:
        return stores

    async def put_status(*_: Any) -> None:
        return None

    return SimpleNamespace(
        kube=SimpleNamespace(put_status=put_status),
        edges=SimpleNamespace(vectors=opened, artifacts=opened),
        metrics=Metrics(),
        unreachable_since={},
        unswept=set(),
    )


def doomed(seen: World) -> Plan:
    """Return a plan that drops another version beside the one that serves."""
    found = plan(seen, RunSettings())
    version = found.history[0].model_copy(
        update={
            "digest": "sha256:" + "2" * 64,
            "collection": "G2",
            "uri": "file:///store/team/ragindex/docs/u/artifacts/2/",
            "dropping": True,
        }
    )
    return dataclasses.replace(found, drop=(version,))


async def test_a_version_that_an_alias_leads_to_since_it_was_looked_at_stays(world: Callable[..., World]) -> None:
    seen, stores = world(), Stores({"Nfoo": "G2"})
    assert await _vectors(context_of(stores), KEY, BODY, seen, doomed(seen), seen.status.store) == (frozenset(), [])
    assert stores.removed == []
    stores.led = {}
    dropped, _ = await _vectors(context_of(stores), KEY, BODY, seen, doomed(seen), seen.status.store)
    assert dropped == {"sha256:" + "2" * 64}
    assert stores.removed == ["G2", "ragindex/docs/u/artifacts/2"]


async def test_a_sweep_that_failed_is_repeated_by_later_passes_and_not_while_a_run_loads(
    world: Callable[..., World],
) -> None:
    seen, stores = world(), Stores({})
    context, calm = context_of(stores), plan(world(), RunSettings())
    stores.broken = True
    _, troubles = await _vectors(context, KEY, BODY, seen, dataclasses.replace(calm, sweep=True), seen.status.store)
    assert len(troubles) == 1
    stores.broken = False
    assert seen.status.run is not None
    running = seen.status.run.model_copy(update={"done": False})
    step = dataclasses.replace(calm.decision.step, run=running)
    busy = dataclasses.replace(calm, decision=dataclasses.replace(calm.decision, step=step))
    await _vectors(context, KEY, BODY, seen, busy, seen.status.store)
    assert stores.removed == []
    await _vectors(context, KEY, BODY, seen, calm, seen.status.store)
    assert stores.removed == [STRAY]
    await _vectors(context, KEY, BODY, seen, calm, seen.status.store)
    assert (stores.removed, context.unswept) == ([STRAY], set())
