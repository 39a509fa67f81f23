"""Acceptance 8: wrong and hostile specs end in a condition that says what to do, and putting them right heals the object."""

from __future__ import annotations

import copy
from typing import Any

import aiohttp
import pytest
from tests.support.operator import Bench, merged
from tests.support.watcher import PATHS, Body, condition, kstatus, truth

from gradatim.api.meta import MANAGER
from gradatim.operator.naming import run_name

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = ("Dataset", "RAGIndex")
Key = tuple[str, str, str]


def made(b: Bench, kind: str, ns: str, **spec: Any) -> Body:
    """Return an object of a kind."""
    return b.dataset(ns, "one", **spec) if kind == "Dataset" else b.index(ns, "one", **spec)


SUITE = {"validation": {"suiteRef": {"name": "suite"}}}
STALLED: list[tuple[str, Body, str, str]] = [
    ("more workers than allowed", {"compute": {"workers": 999}}, "ProfileNotAllowed", "999"),
    ("a suite that is not there", SUITE, "InvalidSpec", "suite.json"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("wrong", "reason", "word"), [c[1:] for c in STALLED], ids=[c[0] for c in STALLED])
async def test_stalled_by(b: Bench, kind: str, wrong: Body, reason: str, word: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    right = made(b, kind, ns)
    key = await b.apply(made(b, kind, ns, **wrong))
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "stalled")
    assert truth(body, "Stalled") == ("True", reason)
    assert word in condition(body, "Stalled")["message"]
    assert truth(body, "Ready") == ("False", reason)
    assert "run" not in body["status"]
    undo: dict[str, Any] = {name: None for name in wrong if name not in right["spec"]}
    undo |= {"compute": {"workers": None}} if "compute" in wrong else {}
    await b.change(key, {"spec": undo})
    await b.current(key)
    await b.change(key, {"spec": copy.deepcopy(wrong)})
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "stalled again")
    assert (truth(body, "Ready")[0], body["status"]["active"] is not None) == ("True", True), "what serves goes on"
    await b.change(key, {"spec": undo})
    await b.current(key)


SCHEDULES: list[tuple[str, Body, str]] = [
    ("an hour that no day has", {"refresh": {"schedule": "0 25 * * *"}}, "cron"),
    ("a time zone that is none", {"refresh": {"schedule": "0 3 * * *", "timeZone": "Mars/X"}}, "IANA"),
    ("a folder of time zones", {"refresh": {"schedule": "0 3 * * *", "timeZone": "Europe"}}, "IANA"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("wrong", "word"), [c[1:] for c in SCHEDULES], ids=[c[0] for c in SCHEDULES])
async def test_a_schedule_that_is_none_is_told_beside_the_runs_that_go_on(
    b: Bench, kind: str, wrong: Body, word: str
) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1, afterSeconds=0.5)
    key = await b.apply(made(b, kind, ns, **wrong))
    body = await b.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
    assert truth(body, "Stalled") == ("True", "InvalidSpec")
    assert word in condition(body, "Stalled")["message"]
    assert body["status"]["run"]["succeeded"]
    assert "nextRefresh" not in body["status"]
    await b.change(key, {"spec": {"refresh": None}})
    await b.current(key)


WAITING: list[tuple[str, Body, str]] = [
    ("a profile that is not there", {"compute": {"profileRef": {"name": "nowhere"}}}, "ProfileNotFound"),
    ("a Dataset that is not there", {"source": {"datasetRef": {"name": "nothing"}}}, "DatasetNotFound"),
]


@pytest.mark.parametrize(("wrong", "reason"), [c[1:] for c in WAITING], ids=[c[0] for c in WAITING])
async def test_waiting_for(b: Bench, wrong: Body, reason: str) -> None:
    ns = await b.namespace()
    body = b.dataset(ns, "one")
    right = copy.deepcopy(body["spec"])
    if "source" in wrong:
        del body["spec"]["source"]
    body["spec"] = merged(body["spec"], wrong)
    key = await b.apply(body)
    found = await b.watcher.until(key, lambda o: truth(o, "Reconciling") == ("True", reason), reason)
    assert truth(found, "Ready") == ("False", reason)
    undo = {"source": right["source"] | {"datasetRef": None}, "compute": right["compute"]}
    await b.change(key, {"spec": undo})
    await b.current(key)


async def test_a_profile_of_other_namespaces_is_refused_until_the_namespace_is_labelled(b: Bench) -> None:
    profile = f"{b.profile}-closed"
    selector = {"selector": {"matchLabels": {"team": "ml"}}}
    await b.cluster.create(b.profile_body(profile, allowedNamespaces=selector))
    ns = await b.namespace()
    key = await b.apply(b.dataset(ns, "one", compute={"profileRef": {"name": profile}}))
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "refused")
    assert truth(body, "Stalled") == ("True", "ProfileNotAllowed")
    assert "store" not in body["status"], "nothing of a profile is used that is not allowed"
    await b.cluster.merge("Namespace", "", ns, {"metadata": {"labels": {"team": "ml"}}})
    await b.current(key)
    await b.cluster.delete("ComputeProfile", "", profile)


async def test_a_wrong_profile_can_be_exchanged_before_anything_was_built_and_not_after(b: Bench) -> None:
    other = f"{b.profile}-other"
    elsewhere = {"root": f"file://{b.folder}/elsewhere/{{namespace}}/"}
    (b.folder / "elsewhere").mkdir(exist_ok=True)
    limits = {"maxWorkers": 1}
    await b.cluster.create(b.profile_body(other, artifactStore=elsewhere, limits=limits))
    ns = await b.namespace()
    key = await b.apply(b.dataset(ns, "one", compute={"profileRef": {"name": other}, "workers": 2}))
    await b.watcher.until(key, lambda o: truth(o, "Stalled") == ("True", "ProfileNotAllowed"), "refused")
    await b.change(key, {"spec": {"compute": {"profileRef": {"name": b.profile}}}})
    await b.current(key)
    await b.change(key, {"spec": {"compute": {"profileRef": {"name": other}, "workers": 1}}})
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "refused")
    assert truth(body, "Stalled") == ("True", "ProfileIdentityChanged")
    await b.change(key, {"spec": {"compute": {"profileRef": {"name": b.profile}}}})
    await b.current(key)
    await b.cluster.delete("ComputeProfile", "", other)


async def test_an_unready_profile_holds_runs_back_and_says_why(b: Bench) -> None:
    profile = f"{b.profile}-broken"
    await b.cluster.create(b.profile_body(profile, artifactStore={"root": "file:///no/such/folder/{namespace}/"}))
    ns = await b.namespace()
    key = await b.apply(b.dataset(ns, "one", compute={"profileRef": {"name": profile}}))
    body = await b.watcher.until(
        key,
        lambda o: (
            truth(o, "Reconciling") == ("True", "ProfileNotReady")
            and "artifact store" in condition(o, "Reconciling")["message"]
        ),
        "held back",
    )
    assert "run" not in body["status"]
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "overdue")
    assert truth(body, "Stalled") == ("True", "ProfileNotReady")
    await b.change(key, {"spec": {"compute": {"profileRef": {"name": b.profile}}}})
    await b.current(key)
    await b.cluster.delete("ComputeProfile", "", profile)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_foreign_config_map_under_the_run_s_name_is_never_touched(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    key = await b.apply(made(b, kind, ns, suspend=True))
    uid = (await b.watcher.until(key, lambda o: truth(o, "Suspended")[0] == "True", "suspended"))["metadata"]["uid"]
    twin = await b.namespace()
    b.instant.script(f"{twin}.one", collectionObjects=1)
    other = await b.apply(made(b, kind, twin))
    run = (await b.current(other))["status"]["run"]
    generation = (await b.cluster.get(*key))["metadata"]["generation"] + 1
    name = run_name("one", uid, f"generation/{generation}/{run['specDigest']}")
    data = {"metadata": {"name": name, "namespace": ns}, "kind": "ConfigMap", "data": {"config.json": "{}"}}
    await b.cluster.create(data | {"apiVersion": "v1"})
    await b.change(key, {"spec": {"suspend": False}})
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "stalled")
    assert truth(body, "Stalled") == ("True", "NameConflict")
    assert name in condition(body, "Stalled")["message"]
    assert (await b.cluster.get("ConfigMap", ns, name))["data"] == {"config.json": "{}"}
    assert b.instant.started(name) == []
    await b.cluster.delete("ConfigMap", ns, name)
    body = await b.current(key)
    assert body["status"]["run"]["name"] == name


@pytest.mark.parametrize(
    "spec",
    [{"dedup": {"exact": "perhaps"}}, {"source": {"path": "file:///a/../b"}}, {"retry": {"maxRetries": 99}}],
    ids=["a wrong type", "a way out of the root", "too many retries"],
)
async def test_the_schema_refuses(b: Bench, spec: Body) -> None:
    ns = await b.namespace()
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await b.apply(b.dataset(ns, "one", **spec))
    assert refused.value.status == 422


@pytest.mark.parametrize("kind", KINDS)
async def test_a_status_write_leaves_the_spec_and_who_owns_it(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    wanted = made(b, kind, ns)
    wanted["metadata"]["annotations"] = {"example.com/owner": "somebody"}
    checked = await b.cluster.call("POST", f"{PATHS[kind].format(ns=ns)}?dryRun=All", wanted)  # with all defaults
    key = await b.apply(wanted)
    now = await b.current(key)
    assert now["spec"] == checked["spec"]
    assert now["metadata"]["generation"] == 1
    assert now["metadata"]["annotations"] == {"example.com/owner": "somebody"}
    managed = now["metadata"]["managedFields"]
    owned = {(m["manager"], m.get("subresource")): set(m["fieldsV1"]) for m in managed}
    ours = {where: fields for where, fields in owned.items() if where[0] == MANAGER}
    assert ours.pop((MANAGER, "status")) == {"f:status"}
    assert all(fields == {"f:metadata"} for fields in ours.values())  # the finalizer
    assert {"f:spec", "f:metadata"} in [fields for where, fields in owned.items() if where[0] != MANAGER]


async def test_a_status_that_somebody_broke_is_written_anew(b: Bench) -> None:
    ns = await b.namespace()
    key = await b.apply(b.dataset(ns, "one"))
    before = await b.current(key)
    wrong: Body = {"state": "Nonsense", "conditions": [], "active": None, "digest": None}
    try:
        await b.cluster.merge(*key, {"status": wrong}, "/status")
    except aiohttp.ClientResponseError:  # the schema keeps what the operator cannot read out of status
        await b.cluster.merge(*key, {"status": {"state": "Degraded", "conditions": []}}, "/status")
    body = await b.watcher.until(key, lambda o: o["status"]["state"] == before["status"]["state"], "put right")
    assert truth(body, "Ready") == ("True", "Succeeded")
