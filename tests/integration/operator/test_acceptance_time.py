"""Ticks of a real schedule, and a refresh in place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.operator import Bench
from tests.support.watcher import Body, kstatus, truth

from gradatim.operator.clock import now

Key = tuple[str, str, str]
EVERY_MINUTE = {"refresh": {"schedule": "* * * * *"}}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_tick_starts_one_run_while_what_serves_goes_on(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.docs", collectionObjects=1)
    left = 60 - now().second
    await asyncio.sleep(left if left <= 15 else 0)  # a tick before there is a first version starts that one
    keys = [await b.apply(b.dataset(ns, "rows", **EVERY_MINUTE)), await b.apply(b.index(ns, "docs", **EVERY_MINUTE))]
    for key in keys:
        await b.current(key)

    def refreshed(body: Body) -> bool:
        return bool(body["status"]["run"]["trigger"] == "schedule" and body["status"]["run"]["done"])

    bodies = await asyncio.gather(*(b.watcher.until(key, refreshed, "refreshed", 75) for key in keys))
    for key, body in zip(keys, bodies, strict=True):
        assert body["status"]["run"]["succeeded"]
        await b.change(key, {"spec": {"refresh": None}})
        tick = body["status"]["lastTick"]
        assert tick > body["metadata"]["creationTimestamp"]
        assert tick.endswith(":00Z")
        assert body["status"]["nextRefresh"] > tick
        name, generation = body["status"]["run"]["name"], body["metadata"]["generation"]
        states = [s for s in b.watcher.states[body["metadata"]["uid"]] if s["metadata"]["generation"] == generation]
        during = [s for s in states if s.get("status", {}).get("run", {}).get("name") == name]
        assert {(truth(s, "Ready")[0], truth(s, "Reconciling")[0], kstatus(s)) for s in during} == {
            ("True", "False", "Current")
        }
        assert [a for a in b.instant.started(name) if a != f"{name}-a1"] == [], "one tick, one attempt"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refresh_in_place_keeps_the_collection_and_drops_the_old_artifact_after_its_grace(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1, content="1")
    in_place = {"refresh": {"strategy": "inPlace"}, "versions": {"keep": 1, "dropAfterSeconds": 3}}
    key = await b.apply(b.index(ns, "one", **in_place))
    first = (await b.current(key))["status"]["active"]
    old = _artifact(b, first["uri"])
    b.instant.script(f"{ns}.one", collectionObjects=1, content="2")
    await b.change(key, {"metadata": {"annotations": {"gradatim.dev/requested-at": "2"}}})
    body = await b.watcher.until(key, lambda o: o["status"]["active"]["label"] == "v2", "refreshed")
    second = body["status"]["active"]
    new = _artifact(b, second["uri"])
    assert (second["collection"], second["digest"] != first["digest"]) == (first["collection"], True)
    marks = [(v["label"], v["dropping"], v["collectionDropped"]) for v in body["status"]["history"]]
    assert marks == [("v2", False, False), ("v1", True, True)]
    assert old.exists(), "who reads it has its grace"
    body = await b.watcher.until(key, lambda o: not o["status"]["history"][1]["dropping"], "dropped")
    assert (old.exists(), new.exists()) == (False, True)
    assert await b.collections(body) == [second["collection"]]
    assert (await b.aliases())[body["status"]["alias"]] == second["collection"]


def _artifact(b: Bench, uri: str) -> Path:
    """Put a file into an artifact's folder, which the instant runtime does not fill."""
    path = Path(uri.removeprefix("file://")) / "chunks.parquet"
    assert path.is_relative_to(b.store)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"rows")
    return path
