"""Acceptance 9: nothing is written while nothing happens, and a deletion at any phase leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.operator import Bench
from tests.support.watcher import Body, condition, truth

from gradatim.operator.kube import owner_reference

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = ("Dataset", "RAGIndex")


def made(b: Bench, kind: str, ns: str, **spec: Any) -> Body:
    """Return an object of a kind."""
    return b.dataset(ns, "one", **spec) if kind == "Dataset" else b.index(ns, "one", **spec)


def running(body: Body) -> bool:
    """Return whether the first attempt runs."""
    attempts = body.get("status", {}).get("run", {}).get("attempts", [{}])
    return bool(attempts[0].get("outcome") == "Running")


Phase = tuple[str, dict[str, Any], dict[str, Any], Callable[[Body], bool]]
FOR_EVER = {"afterSeconds": None}
LOST = {"outcome": "Failed", "failure": "NodeLost", "phase": "Failed"}
PHASES: list[Phase] = [
    ("as soon as it exists", {}, {}, lambda _: True),
    ("before anything started", {}, {"suspend": True}, lambda o: truth(o, "Suspended")[0] == "True"),
    ("while it cannot start", {}, {"compute": {"workers": 999}}, lambda o: truth(o, "Stalled")[0] == "True"),
    ("once the first attempt is recorded", {}, {}, lambda o: "run" in o.get("status", {})),
    ("while an attempt runs", FOR_EVER, {}, running),
    ("while an attempt runs that ignores stops", FOR_EVER | {"honoursStop": False}, {}, running),
    ("between two attempts", LOST, {}, lambda o: "notBefore" in o.get("status", {}).get("run", {})),
    ("after it failed", {"outcome": "Failed", "failure": "User"}, {}, lambda o: truth(o, "Stalled")[0] == "True"),
    ("while it is promoted", {}, {}, lambda o: o.get("status", {}).get("run", {}).get("done") is True),
    ("while it serves", {}, {}, lambda o: truth(o, "Ready")[0] == "True"),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deletion_leaves_nothing(b: Bench, kind: str) -> None:
    """At every phase, all at once: see PHASES for their names."""

    async def delete_at(
        name: str, script: dict[str, Any], spec: dict[str, Any], reached: Callable[[Body], bool]
    ) -> Body:
        ns = await b.namespace()
        b.instant.script(f"{ns}.one", **({"collectionObjects": 1} | script))
        key = await b.apply(made(b, kind, ns, **spec))
        body = await b.watcher.until(key, reached, name)
        await b.remove(key)
        return b.watcher.states[body["metadata"]["uid"]][-1]

    last = await asyncio.gather(*(delete_at(*phase) for phase in PHASES))
    for body in last:
        await b.until_nothing_left(body)


async def test_a_deleted_namespace_goes_with_everything_in_it(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    keys = [await b.apply(made(b, kind, ns)) for kind in KINDS]
    bodies = [await b.current(key) for key in keys]
    await b.cluster.delete("Namespace", "", ns)
    for key, body in zip(keys, bodies, strict=True):
        await b.watcher.until_gone(key)
        await b.until_nothing_left(body)


async def test_a_deletion_needs_no_profile(b: Bench) -> None:
    profile = f"{b.profile}-gone"
    await b.cluster.create(b.profile_body(profile))
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    compute = {"compute": {"profileRef": {"name": profile}}}
    keys = [await b.apply(made(b, kind, ns, **compute)) for kind in KINDS]
    bodies = [await b.current(key) for key in keys]
    await b.cluster.delete("ComputeProfile", "", profile)
    for key, body in zip(keys, bodies, strict=True):
        await b.remove(key)
        await b.until_nothing_left(body)


async def test_a_replaced_run_leaves_nothing_behind_but_its_stop_request(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", **FOR_EVER)
    key = await b.apply(b.dataset(ns, "one"))
    first = await b.watcher.until(key, running, "running")
    b.instant.script(f"{ns}.one")
    await b.change(key, {"spec": {"columns": {"a": "b"}}})
    await b.current(key)
    old = first["status"]["run"]["name"]
    assert not [s for s in b.instant.submissions() if s.startswith(old)]
    assert await b.cluster.find("ConfigMap", ns, old) is None
    control = b.store / ns / "_control"
    assert [f.name for f in (control / old).iterdir()] == ["stop.json"]
    await b.remove(key)
    assert [f.name for f in control.iterdir() if f.name != "probe"] == []


async def test_a_stray_config_map_of_ours_is_swept_and_a_foreign_one_is_not(b: Bench) -> None:
    ns = await b.namespace()
    key = await b.apply(b.dataset(ns, "one"))
    body = await b.current(key)
    labels = {"app.kubernetes.io/managed-by": "gradatim-operator", "gradatim.dev/kind": "Dataset"}
    foreign = {"name": "foreign", "namespace": ns, "labels": labels | {"gradatim.dev/owner": body["metadata"]["uid"]}}
    stray = foreign | {"name": "stray", "ownerReferences": [owner_reference(body)]}
    for metadata in (stray, foreign):
        await b.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    async with asyncio.timeout(60):
        while await b.cluster.find("ConfigMap", ns, "stray") is not None:
            await asyncio.sleep(0.2)
    assert await b.cluster.find("ConfigMap", ns, "foreign") is not None
    assert await b.cluster.find("ConfigMap", ns, body["status"]["run"]["name"]) is not None


async def test_nothing_is_written_over_five_resyncs_at_steady_state(b: Bench) -> None:
    await b.purge()
    ns = await b.namespace()
    gate = {"name": "good", "metric": "ndcg@10", "threshold": {"min": 0.5}}
    refused = {"questions": {"path": "file:///q"}, "gates": [gate]}
    b.instant.script(f"{ns}.index", collectionObjects=1)
    b.instant.script(f"{ns}.refused", collectionObjects=1)
    b.instant.script(f"{ns}.failed", outcome="Failed", failure="User", message="no")
    bodies = [
        b.dataset(ns, "data"),
        b.index(ns, "index", refresh={"schedule": "0 3 * * *", "maxStalenessSeconds": 86400}),
        b.index(ns, "refused", evaluation=refused, versions={"dropAfterSeconds": 600}),
        b.dataset(ns, "failed"),
        b.dataset(ns, "invalid", refresh={"schedule": "0 25 * * *"}),
        b.dataset(ns, "waiting", source={"datasetRef": {"name": "nothing"}, "path": None}),
        b.dataset(ns, "suspended", suspend=True),
    ]
    del bodies[5]["spec"]["source"]["path"]
    keys = [await b.apply(body) for body in bodies]
    for key in keys[:5]:
        await b.settled(key)
    await b.watcher.until(keys[5], lambda o: truth(o, "Reconciling")[0] == "True", "waiting")
    await b.watcher.until(keys[6], lambda o: truth(o, "Suspended")[0] == "True", "suspended")
    assert condition(await b.cluster.get(*keys[2]), "Stalled")["reason"] == "GateUnproven"

    def resyncs() -> int:
        lists = [c for c in b.api.calls if c.plural == "ragindices" and not c.name and not c.watch and c.query]
        return len(lists)

    async with asyncio.timeout(120):
        settled = resyncs()
        while resyncs() < settled + 4:  # the profile counts Runs at its next probe
            await asyncio.sleep(0.1)
        writes, start = len(b.api.writes), resyncs()
        states = {k: len(v) for k, v in b.watcher.states.items()}
        while resyncs() < start + 5:
            await asyncio.sleep(0.1)
    assert [str(c) for c in b.api.writes[writes:]] == []
    assert {k: len(v) for k, v in b.watcher.states.items()} == states
