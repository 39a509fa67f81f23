"""Ticks of a real schedule, a refresh in place, a Weaviate that hangs, and a token that is rotated while the operator runs."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from tests.support.faultproxy import Answer, Call, refusal
from tests.support.operator import Bench, Body, bench, kstatus, truth

from gradatim.platform import PlatformState

Key = tuple[str, str, str]
EVERY_MINUTE = {"refresh": {"schedule": "* * * * *"}}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_tick_starts_one_run_while_what_serves_goes_on(b: Bench) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.docs", collectionObjects=1)
    keys = [await b.apply(b.dataset(ns, "rows", **EVERY_MINUTE)), await b.apply(b.index(ns, "docs", **EVERY_MINUTE))]
    firsts = [await b.current(key) for key in keys]

    def refreshed(body: Body) -> bool:
        return bool(body["status"]["run"]["trigger"] == "schedule" and body["status"]["run"]["done"])

    bodies = await asyncio.gather(*(b.watcher.until(key, refreshed, "refreshed", 75) for key in keys))
    for key, first, body in zip(keys, firsts, bodies, strict=True):
        await b.change(key, {"spec": {"refresh": None}})
        tick = body["status"]["lastTick"]
        assert tick >= first["status"]["nextRefresh"]
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


async def _hangs(call: Call) -> Answer | None:
    await asyncio.sleep(3600)
    return None


async def test_a_weaviate_that_hangs_holds_up_nobody_who_does_not_use_it(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    async with bench(operator_platform, tmp_path) as b:
        await b.operator().start()
        plain = f"{b.profile}-plain"
        profile = b.profile_body(plain)
        del profile["spec"]["vectorStore"]
        await b.cluster.create(profile)
        ns, other = await b.namespace(), await b.namespace()
        b.instant.script("default", collectionObjects=1)
        indexes = [await b.apply(b.index(ns, f"docs-{n}")) for n in range(20)]
        for key in indexes:
            await b.current(key)
        with b.vectors.fault(before=_hangs):
            # Every index looks at its alias again every two seconds: each look is a call that hangs.
            await b.watcher.until(indexes[0], lambda o: truth(o, "Reconciling")[0] == "True", "waiting", 40)
            took = []
            for number in range(5):
                began = time.monotonic()
                spec: Body = {"compute": {"profileRef": {"name": plain}}}
                await b.current(await b.apply(b.dataset(other, f"rows-{number}", **spec)), 20)
                took.append(time.monotonic() - began)
            assert max(took) < 8, f"Datasets waited for a Weaviate that they do not use: {took}"
            calls = len(b.vectors.calls)
            body = await b.watcher.until(indexes[1], lambda o: truth(o, "Stalled")[0] == "True", "overdue")
            assert truth(body, "Ready")[0] == "True"
            assert len(b.vectors.calls) - calls < 20, "a server that hangs is left alone"
        for key in indexes:
            await b.current(key)
        await b.purge()
        await b.cluster.delete("ComputeProfile", "", plain)
        assert b.watcher.all_violations() == []


async def test_a_rotated_token_is_read_from_the_file_and_nothing_is_lost(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    valid, refused = {"unused"}, 0

    async def check(call: Call) -> Answer | None:
        nonlocal refused
        if call.token in valid:
            return None
        refused += 1
        return refusal(401, "Unauthorized")

    async with bench(operator_platform, tmp_path) as b:
        operator = b.operator(GRADATIM_RESYNC_SECONDS="600")
        with b.api.fault(before=check):
            await operator.start()
            ns = await b.namespace()
            b.instant.script("default", collectionObjects=1, afterSeconds=2)
            keys: list[Key] = [await b.apply(b.dataset(ns, "rows")), await b.apply(b.index(ns, "docs"))]
            for key in keys:
                await b.run_until(key, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
            path = Path(operator.env["KUBECONFIG"])
            config = json.loads(path.read_text())
            config["users"][0]["user"]["token"] = "rotated"
            path.with_suffix(".part").write_text(json.dumps(config))
            path.with_suffix(".part").replace(path)
            valid.clear()
            valid.add("rotated")
            b.api.cut_streams()
            for key in keys:
                await b.current(key)
            late = await b.apply(b.dataset(ns, "late"))
            await b.current(late, 20)  # by its watch, since no resync is due
            assert operator.process is not None
            assert (operator.process.returncode, refused > 0) == (None, True)
            assert len(b.instant.started()) == 3
            await b.purge()
        assert b.watcher.all_violations() == []
