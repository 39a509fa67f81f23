"""An index that was let go without clean-up and made anew: told once what to adopt from, and never touching what is not its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.operator import Bench
from tests.support.watcher import Body, condition, kstatus, truth

from gradatim.api.run import object_path

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOBODY = "00000000-0000-4000-8000-000000000000"
Key = tuple[str, str, str]


def folder_of(b: Bench, body: Body) -> Path:
    metadata = body["metadata"]
    return b.store / metadata["namespace"] / object_path("RAGIndex", metadata["name"], metadata["uid"])


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


async def orphaned(b: Bench, ns: str) -> Body:
    """Return an index that has served and is gone, with all that it made left behind: its finalizer is bypassed."""
    b.instant.script(f"{ns}.one", collectionObjects=2, content="1", chunks=40)
    key = await b.apply(b.index(ns, "one"))
    body = await b.current(key)
    await b.operators[-1].stop()
    await b.cluster.merge(*key, {"metadata": {"finalizers": None}})
    await b.cluster.delete(*key)
    await b.watcher.until_gone(key)
    await b.operator().start()
    return body


async def inputs(b: Bench, key: Key, run: str) -> Body:
    """Return the frozen inputs of a Run."""
    held = await b.cluster.get("ConfigMap", key[1], run)
    found: Body = json.loads(held["data"]["config.json"])
    return found


def adopting(b: Bench, ns: str, uid: str, **more: Any) -> Body:
    return b.index(ns, "one", versions={"dropAfterSeconds": 0, "adoptFrom": {"uid": uid}}, **more)


async def test_a_lost_index_is_made_anew_and_the_old_one_is_left_alone_to_the_end(b: Bench) -> None:
    ns = await b.namespace()
    old = await orphaned(b, ns)
    uid, before, collections = old["metadata"]["uid"], content(folder_of(b, old)), await b.collections(old)
    assert before
    assert collections

    b.instant.script(f"{ns}.one", collectionObjects=2, content="1", chunks=40, adopted=38)
    key = await b.apply(adopting(b, ns, uid))
    body = await b.watcher.until(key, lambda o: o["metadata"]["uid"] != uid and kstatus(o) == "Current", "Current anew")
    run = body["status"]["run"]["name"]
    config = await inputs(b, key, run)
    assert config["indexInputs"]["adoptFrom"] == uid
    assert "adoptFrom" not in config["index"]["versions"]
    assert body["status"]["adoption"] == {"uid": uid, "run": run, "chunks": 38, "embedded": 2}
    assert condition(body, "Built")["message"] == f"40 chunks, 2 embedded anew, 38 with vectors of {uid}"

    started = b.instant.started()
    await b.change(key, {"spec": {"versions": {"adoptFrom": {"uid": NOBODY}}}})
    await b.current(key)
    await b.change(key, {"spec": {"versions": {"adoptFrom": None}}})
    body = await b.current(key)
    assert (b.instant.started(), body["status"]["adoption"]["uid"]) == (started, uid)

    b.instant.script(f"{ns}.one", collectionObjects=2, content="2", chunks=40, adopted=38)
    await b.change(key, {"metadata": {"annotations": {"gradatim.dev/requested-at": "1"}}})
    body = await b.watcher.until(
        key, lambda o: o["status"]["active"]["label"] == "v2" and kstatus(o) == "Current", "v2"
    )
    later = await inputs(b, key, body["status"]["run"]["name"])
    assert "adoptFrom" not in later["indexInputs"]
    assert body["status"]["adoption"]["run"] == run

    await b.remove(key)
    assert not [p for p in folder_of(b, body).rglob("*") if p.is_file()], "what is its own goes with it"
    assert await b.collections(body) == []
    assert content(folder_of(b, old)) == before
    assert await b.collections(old) == collections
    assert old["status"]["alias"] in await b.aliases()


async def test_adding_it_to_an_index_that_serves_starts_nothing(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    key = await b.apply(b.index(ns, "one"))
    body = await b.current(key)
    started, own = b.instant.started(), body["metadata"]["uid"]
    for uid in (NOBODY, own):
        changed = await b.change(key, {"spec": {"versions": {"adoptFrom": {"uid": uid}}}})
        generation = changed["metadata"]["generation"]
        body = await b.watcher.until(
            key,
            lambda o, g=generation: o["status"]["observedGeneration"] >= g,
            "observed",  # type: ignore[misc]
        )
        assert (kstatus(body), b.instant.started()) == ("Current", started)
        assert "adoption" not in body["status"]


async def test_nothing_to_adopt_is_said_and_cured_by_correcting_or_removing_the_field(b: Bench) -> None:
    ns = await b.namespace()
    told = "there is nothing to adopt"
    failing = {"outcome": "Failed", "failure": "User", "phase": "Failed", "reason": "AdoptionFailed", "message": told}
    b.instant.script(f"{ns}.one", **failing)
    key = await b.apply(adopting(b, ns, NOBODY))
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "stalled")
    assert (truth(body, "Stalled"), condition(body, "Stalled")["message"]) == (("True", "AdoptionFailed"), told)
    assert (len(body["status"]["run"]["attempts"]), body["status"]["adoption"]) == (1, {"uid": NOBODY})

    other = NOBODY.replace("0000-4", "0001-4")
    await b.change(key, {"spec": {"versions": {"adoptFrom": {"uid": other}}}})
    body = await b.watcher.until(
        key, lambda o: kstatus(o) == "Failed" and o["status"]["adoption"]["uid"] == other, "stalled again"
    )
    own = body["metadata"]["uid"]
    await b.change(key, {"spec": {"versions": {"adoptFrom": {"uid": own}}}})
    body = await b.watcher.until(key, lambda o: truth(o, "Stalled") == ("True", "InvalidSpec"), "refused")
    assert "this object's own uid" in condition(body, "Stalled")["message"]

    b.instant.script(f"{ns}.one", collectionObjects=1)
    await b.change(key, {"spec": {"versions": {"adoptFrom": None}}})
    body = await b.current(key)
    assert (body["status"]["active"]["label"], "adoption" in body["status"]) == ("v1", False)


async def test_adding_it_while_the_first_build_runs_replaces_that_build(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", afterSeconds=None)
    key = await b.apply(b.index(ns, "one"))
    body = await b.run_until(key, lambda r: r.get("attempts", [{}])[-1].get("outcome") == "Running", "running")
    first = body["status"]["run"]["name"]
    b.instant.script(f"{ns}.one", collectionObjects=1, chunks=10, adopted=10)
    await b.change(key, {"spec": {"versions": {"adoptFrom": {"uid": NOBODY}}}})
    body = await b.current(key)
    assert body["status"]["run"]["name"] != first
    assert body["status"]["adoption"]["chunks"] == 10


async def test_an_index_that_is_deleted_as_usual_leaves_nothing_to_adopt(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    key = await b.apply(b.index(ns, "one"))
    body = await b.current(key)
    assert content(folder_of(b, body))
    await b.remove(key)
    await b.until_nothing_left(body)
    assert not folder_of(b, body).exists()
