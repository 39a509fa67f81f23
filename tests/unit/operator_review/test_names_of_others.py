"""Names that tenants write lead nowhere but to objects of their own namespace, and only what was asked for is looked at."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from kopf._cogs.structs import references

from gradatim.operator import watches
from gradatim.operator.dependents import Dependents
from gradatim.operator.kube import CONFIG_MAPS, Body, InvalidName, Kube, NotFound, Resource, ours
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.owners import owner_key
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key, Lane, WorkQueue
from gradatim.operator.slots import Slots

KEY = Key("ragindices", "team", "docs")
ELSEWHERE = "../../victim/ragindices/docs"
HOSTILE = [
    pytest.param(ELSEWHERE, id="a path to another namespace"),
    pytest.param("..", id="a folder up"),
    pytest.param("docs/status", id="a subresource"),
    pytest.param("docs?dryRun=All", id="a query"),
    pytest.param("%2e%2e", id="dots that a client may decode"),
    pytest.param("docs\n", id="a line's end"),
    pytest.param("a..b", id="an empty label"),
    pytest.param("Docs", id="a capital letter"),
    pytest.param("d" * 254, id="too long"),
]


def refuse(**_: Any) -> kopf.ConnectionInfo:
    """Give no identity: nothing may be sent."""
    raise AssertionError("a call was made")


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_that_nothing_can_have_is_absent_and_nothing_is_sent(name: str) -> None:
    kube = Kube(refuse)
    assert await kube.find(CONFIG_MAPS, "team", name) is None
    with pytest.raises(NotFound, match="is no name of an object"):
        await kube.get(CONFIG_MAPS, "team", name)
    with pytest.raises(InvalidName):
        CONFIG_MAPS.path(name, "docs")


async def test_an_empty_name_is_not_the_whole_collection() -> None:
    assert await Kube(refuse).find(CONFIG_MAPS, "team", "") is None


@pytest.mark.parametrize("name", ["docs", "docs.v1", "0", "a-b.c-d", "d" * 253])
def test_names_of_objects_make_paths(name: str) -> None:
    assert CONFIG_MAPS.path("team", name) == f"/api/v1/namespaces/team/configmaps/{name}"
    wanted = f"/apis/gradatim.dev/v1alpha1/namespaces/team/ragindices/{name}/status"
    assert ours("ragindices").path("team", name, "status") == wanted


async def enqueued(reference: Body, event: str | None = "MODIFIED") -> list[tuple[Key, Lane]]:
    """Return what the watch of RayJobs enqueues for one of the namespace team with this owner."""
    found: list[tuple[Key, Lane]] = []
    loop: Any = SimpleNamespace(queue=SimpleNamespace(add=lambda key, lane: found.append((key, lane))))
    body: Any = {"metadata": {"namespace": "team", "name": "job", "ownerReferences": [reference]}}
    await watches._owners(loop)(body=body, type=event)
    return found


def owned_by(name: object) -> Body:
    """Return a reference as a controller of ours would have it."""
    return {"apiVersion": "gradatim.dev/v1alpha1", "kind": "RAGIndex", "name": name, "uid": "u", "controller": True}


@pytest.mark.parametrize("name", [*HOSTILE, pytest.param(None, id="null")])
async def test_owners_with_such_names_are_not_looked_at(name: object) -> None:
    assert await enqueued(owned_by(name)) == []
    assert owner_key({"metadata": {"namespace": "team", "ownerReferences": [owned_by(name)]}}) is None


async def test_our_objects_are_looked_at_when_what_they_own_changes() -> None:
    assert await enqueued(owned_by("docs")) == [(KEY, Lane.RUN)]
    for no_news in (None, "ADDED", "DELETED"):
        assert await enqueued(owned_by("docs"), event=no_news) == [(KEY, Lane.EVENT)]
    assert owner_key({"metadata": {"namespace": "team", "ownerReferences": [owned_by("docs")]}}) == KEY


@pytest.mark.parametrize(
    ("namespace", "name", "passes"),
    [
        pytest.param("team", "docs", 1, id="what was asked for"),
        pytest.param("victim", "docs", 0, id="another namespace's"),
        pytest.param("team", "other", 0, id="another one"),
        pytest.param(None, "docs", 0, id="one of no namespace"),
    ],
)
async def test_only_the_object_that_was_asked_for_gets_a_pass(namespace: str | None, name: str, passes: int) -> None:
    done: list[str] = []

    async def find(*_: Any) -> Body:
        return {"metadata": {"namespace": namespace, "name": name, "uid": "u", "resourceVersion": "1"}}

    async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        del context, key, now
        done.append(body["metadata"]["uid"])
        return Outcome()

    context: Any = SimpleNamespace(
        kube=SimpleNamespace(find=find), metrics=Metrics(), wake=[], slots=Slots(), dependents=Dependents()
    )
    loop = Loop(context, WorkQueue(), {"ragindices": reconcile})
    loop.queue.add(KEY)
    outcome = await loop._once(await loop.queue.take())
    assert (outcome, len(done)) == ("ok" if passes else "refused", passes)
    assert (loop.queue.depth(), KEY in loop.runs) == (0, bool(passes))


def test_only_our_rayjobs_are_listed_and_watched() -> None:
    selectors = watches.operator_settings().watching.label_selectors
    kinds = [("ray.io", "v1", "rayjobs"), ("ray.io", "v1", "rayclusters"), ("gradatim.dev", "v1alpha1", "datasets")]
    found = [selectors.collect(references.Resource(*kind, namespaced=True)) for kind in kinds]
    assert found == [["app.kubernetes.io/managed-by=gradatim-operator"], [], []]


def test_the_resource_of_a_cluster_needs_no_namespace() -> None:
    assert Resource("", "v1", "namespaces").path("", "team") == "/api/v1/namespaces/team"
