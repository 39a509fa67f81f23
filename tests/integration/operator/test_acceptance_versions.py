"""Versions of an index on a real Weaviate: gates, promotion, rollback by pin, dropping, upstream changes, losses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.operator import Bench
from tests.support.watcher import Body, condition, kstatus, truth

pytestmark = pytest.mark.asyncio(loop_scope="module")
QUESTIONS = {"path": "file:///data/questions.jsonl"}
GATE = {"name": "good", "metric": "ndcg@10", "threshold": {"min": 0.5}, "minSamples": 10}
Key = tuple[str, str, str]


def measured(value: float, samples: int = 50) -> list[Body]:
    """Return the metrics of a build."""
    return [{"name": "ndcg@10", "value": value, "samples": samples}]


async def rerun(b: Bench, key: Key, content: str, **script: Any) -> None:
    """Let the next build read other content, and ask for it."""
    b.instant.script(f"{key[1]}.{key[2]}", collectionObjects=1, content=content, **script)
    await b.change(key, {"metadata": {"annotations": {"gradatim.dev/requested-at": content}}})


async def served(b: Bench, key: Key, label: str) -> Body:
    """Return the index once that version serves, as Weaviate says too."""
    body = await b.watcher.until(
        key, lambda o: o["status"].get("active", {}).get("label") == label and kstatus(o) == "Current", label
    )
    assert (await b.aliases())[body["status"]["alias"]] == body["status"]["active"]["collection"]
    return body


FAILS: list[tuple[str, list[Body], str]] = [
    ("misses the bound", measured(0.4), "GateFailed"),
    ("rests on too few samples", measured(0.9, samples=3), "GateUnproven"),
    ("was not measured", [], "GateUnproven"),
]


@pytest.mark.parametrize(("metrics", "reason"), [c[1:] for c in FAILS], ids=[c[0] for c in FAILS])
async def test_a_version_is_refused_and_the_old_one_serves_when_the_metric(
    b: Bench, metrics: list[Body], reason: str
) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1, content="1", metrics=measured(0.8))
    spec = {"evaluation": {"questions": QUESTIONS, "gates": [GATE]}}
    key = await b.apply(b.index(ns, "one", **spec))
    first = await served(b, key, "v1")
    await rerun(b, key, "2", metrics=metrics)
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "refused")
    assert {k: truth(body, k) for k in ("Ready", "Current", "Stalled", "Evaluated", "Reconciling")} == {
        "Ready": ("True", "Succeeded"),
        "Current": ("False", reason),
        "Stalled": ("True", reason),
        "Evaluated": ("False", reason),
        "Reconciling": ("False", "Succeeded"),
    }
    assert "ndcg@10" in condition(body, "Stalled")["message"]
    assert body["status"]["active"] == first["status"]["active"]
    body = await b.watcher.until(key, lambda o: o["status"]["history"][0].get("collectionDropped") is True, "dropped")
    assert await b.collections(body) == [first["status"]["active"]["collection"]]
    await rerun(b, key, "3", metrics=measured(0.9))
    assert (await served(b, key, "v3"))["status"]["state"] == "Ready"


async def test_a_first_version_that_its_gate_refuses_serves_nobody(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1, metrics=measured(0.1))
    key = await b.apply(b.index(ns, "one", evaluation={"questions": QUESTIONS, "gates": [GATE]}))
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "refused")
    assert "active" not in body["status"]
    assert truth(body, "Ready") == ("False", "GateFailed")
    assert body["status"]["alias"] not in await b.aliases()


async def test_a_stricter_gate_does_not_bring_back_an_older_version(b: Bench) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns, evaluation={"questions": QUESTIONS, "gates": [GATE]})
    strict = GATE | {"threshold": {"min": 0.95}}
    await b.change(key, {"spec": {"evaluation": {"gates": [strict]}}})
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "refused")
    assert (body["status"]["active"]["label"], truth(body, "Ready")[0]) == ("v2", "True")
    assert (await b.aliases())[body["status"]["alias"]] == body["status"]["active"]["collection"]


async def _two_versions(b: Bench, ns: str, **spec: Any) -> Key:
    b.instant.script(f"{ns}.one", collectionObjects=1, content="1", metrics=measured(0.8))
    base: Body = {"versions": {"dropAfterSeconds": 600}}
    key = await b.apply(b.index(ns, "one", **(base | spec)))
    await served(b, key, "v1")
    await rerun(b, key, "2", metrics=measured(0.9))
    await served(b, key, "v2")
    return key


async def test_a_pin_switches_back_and_forth_without_a_build(b: Bench) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns)
    body = await b.cluster.get(*key)
    run, started = body["status"]["run"]["name"], b.instant.started()
    digests = {v["label"]: v["digest"] for v in body["status"]["history"]}
    await b.change(key, {"spec": {"versions": {"pin": {"digest": digests["v1"]}}}})
    assert (await served(b, key, "v1"))["status"]["promotion"]["reason"] == "Pinned"
    await b.change(key, {"spec": {"versions": {"pin": None}}})
    body = await served(b, key, "v2")
    assert (body["status"]["run"]["name"], b.instant.started()) == (run, started)


async def test_of_a_run_that_another_has_replaced_nothing_is_left_in_the_store(b: Bench) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns)
    body = await b.cluster.get(*key)
    folder = b.store / ns / "ragindex" / "one" / body["metadata"]["uid"]
    assert [path.name for path in folder.iterdir()] == [body["status"]["run"]["name"]]


async def test_a_pin_that_is_not_kept_is_stalled_and_the_served_version_stays(b: Bench) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns)
    await b.change(key, {"spec": {"versions": {"pin": {"digest": "sha256:" + "0" * 64}}}})
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "stalled")
    assert (truth(body, "Stalled"), body["status"]["active"]["label"]) == (("True", "PinNotFound"), "v2")
    assert "v1" in condition(body, "Stalled")["message"]
    await b.change(key, {"spec": {"versions": {"pin": None}}})
    await served(b, key, "v2")


async def test_versions_beyond_those_kept_are_dropped_after_their_grace_and_no_others(b: Bench) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns, versions={"keep": 1, "dropAfterSeconds": 2})
    body = await b.watcher.until(key, lambda o: o["status"]["history"][-1].get("collectionDropped") is True, "dropped")
    assert await b.collections(body) == [body["status"]["active"]["collection"]]
    marks = [(v["label"], v.get("collectionDropped", False)) for v in body["status"]["history"]]
    assert marks == [("v2", False), ("v1", True)]
    folder = b.store / ns / "ragindex" / "one"
    assert not list(folder.rglob(f"artifacts/{body['status']['history'][1]['digest'].removeprefix('sha256:')}"))


async def test_however_many_versions_are_refused_the_serving_one_stays(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1, content="1", metrics=measured(0.8))
    spec: Body = {"evaluation": {"questions": QUESTIONS, "gates": [GATE]}, "versions": {"dropAfterSeconds": 600}}
    key = await b.apply(b.index(ns, "one", **spec))
    first = await served(b, key, "v1")
    for number in range(2, 15):
        await rerun(b, key, str(number), metrics=measured(0.1))
        await b.watcher.until(
            key,
            lambda o, n=number: o["status"]["versionsBuilt"] == n and kstatus(o) == "Failed",  # type: ignore[misc]
            f"refused {number}",
        )
    body = await b.cluster.get(*key)
    assert len(body["status"]["history"]) == 10
    assert body["status"]["history"][-1]["label"] == "v1"
    active = first["status"]["active"]["collection"]
    assert (await b.aliases())[body["status"]["alias"]] == active
    assert active in await b.collections(body)
    assert len(await b.collections(body)) <= 10, "what status forgets is dropped"


async def test_a_changed_dataset_rebuilds_the_index_that_follows_it_once(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script("Dataset", content="a")
    source = await b.apply(b.dataset(ns, "papers"))
    b.instant.script(f"{ns}.one", collectionObjects=1, content="1")
    follow = {"sources": [{"name": "p", "source": {"datasetRef": {"name": "papers"}}}], "refresh": {"onChange": True}}
    key = await b.apply(b.index(ns, "one", **follow))
    await served(b, key, "v1")
    old = (await b.current(source))["status"]["digest"]
    b.instant.script(f"{ns}.papers", content="b")
    b.instant.script(f"{ns}.one", collectionObjects=1, content="2")
    await b.change(source, {"metadata": {"annotations": {"gradatim.dev/requested-at": "1"}}})
    body = await b.watcher.until(key, lambda o: o["status"]["active"]["label"] == "v2", "rebuilt")
    assert (body["status"]["run"]["trigger"], body["status"]["upstream"]["papers"] != old) == ("upstream", True)
    b.instant.script(f"{ns}.papers", content="c")
    b.instant.script(f"{ns}.one", outcome="Failed", failure="User", phase="Failed", message="no")
    await b.change(source, {"metadata": {"annotations": {"gradatim.dev/requested-at": "2"}}})
    body = await b.watcher.until(key, lambda o: truth(o, "Current") == ("False", "UserError"), "failed")
    assert (truth(body, "Ready")[0], truth(body, "Stalled")[0], kstatus(body)) == ("True", "False", "Current")
    run = body["status"]["run"]["name"]
    resyncs = await _calls(b, 12)
    assert (await b.cluster.get(*key))["status"]["run"]["name"] == run, f"repeated by itself within {resyncs} calls"


async def _calls(b: Bench, count: int) -> int:
    """Wait until the operator has listed our kinds so often."""
    before = len([c for c in b.api.calls if not c.name and c.plural == "ragindices"])
    async with asyncio.timeout(60):
        while len([c for c in b.api.calls if not c.name and c.plural == "ragindices"]) < before + count // 4:
            await asyncio.sleep(0.1)
    return count


async def test_an_index_waits_for_its_dataset(b: Bench) -> None:
    ns = await b.namespace()
    sources = [{"name": "p", "source": {"datasetRef": {"name": "later"}}}]
    b.instant.script(f"{ns}.one", collectionObjects=1)
    key = await b.apply(b.index(ns, "one", sources=sources))
    body = await b.watcher.until(key, lambda o: truth(o, "Reconciling")[0] == "True", "waiting")
    assert truth(body, "Reconciling") == ("True", "DatasetNotFound")
    b.instant.script(f"{ns}.later", afterSeconds=0.5)
    await b.apply(b.dataset(ns, "later"))
    await b.watcher.until(key, lambda o: truth(o, "Reconciling") == ("True", "WaitingForDataset"), "waiting for a Run")
    await served(b, key, "v1")


async def test_an_alias_that_somebody_moved_or_removed_is_put_back(b: Bench) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns)
    body = await b.cluster.get(*key)
    alias, collections = body["status"]["alias"], [v["collection"] for v in body["status"]["history"]]
    for call in (("PUT", {"class": collections[1]}), ("DELETE", None)):
        assert await b.vectors_call(call[0], f"/v1/aliases/{alias}", call[1]) < 300
        async with asyncio.timeout(60):
            while (await b.aliases()).get(alias) != collections[0]:
                await asyncio.sleep(0.1)
    await served(b, key, "v2")


@pytest.mark.parametrize("label", [None, "v1"], ids=["the newest", "a pinned one"])
async def test_a_version_that_the_store_lost_is_loaded_from_its_artifact_whatever_the_source_holds_by_now(
    b: Bench, label: str | None
) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns)
    if label is not None:
        versions = {v["label"]: v["digest"] for v in (await b.cluster.get(*key))["status"]["history"]}
        await b.change(key, {"spec": {"versions": {"pin": {"digest": versions[label]}}}})
        await served(b, key, label)
    before = (await b.cluster.get(*key))["status"]
    b.instant.script(f"{ns}.one", collectionObjects=1, content="3", metrics=measured(0.1))
    assert await b.vectors_call("DELETE", f"/v1/schema/{before['active']['collection']}") < 300
    await b.run_until(key, lambda r: r["trigger"] == "restore" and r["succeeded"], "restored")
    body = await served(b, key, before["active"]["label"])
    assert before["active"]["collection"] in await b.collections(body)
    assert [body["status"][name] for name in ("active", "history", "versionsBuilt", "lastChecked")] == [
        before[name] for name in ("active", "history", "versionsBuilt", "lastChecked")
    ]
    assert truth(body, "Current") == truth({"status": before}, "Current")


async def test_a_version_is_loaded_again_by_the_operator_that_comes_after_the_one_that_began(b: Bench) -> None:
    ns = await b.namespace()
    key = await _two_versions(b, ns)
    before = (await b.cluster.get(*key))["status"]
    b.instant.script(f"{ns}.one", collectionObjects=1, content="3", afterSeconds=None)
    assert await b.vectors_call("DELETE", f"/v1/schema/{before['active']['collection']}") < 300
    body = await b.run_until(key, lambda r: r["trigger"] == "restore" and not r.get("done"), "begun")
    name = body["status"]["run"]["name"]
    await b.run_until(key, lambda r: r["attempts"][-1]["outcome"] == "Running", "running")
    (running,) = [o for o in b.operators if o.process is not None and o.process.returncode is None]
    await running.kill()
    b.instant.finish(f"{name}-a1")
    await running.start()
    body = await served(b, key, "v2")
    assert (body["status"]["run"]["name"], b.instant.started(name)) == (name, [f"{name}-a1"])
    assert body["status"]["history"] == before["history"]
