"""Acceptance 2 to 6 on the runtime `kuberay`: lost events, stale reads, foreign writers, outages, KubeRay away.

`Player` plays KubeRay and what runs below it; the API server, its garbage collector and the operators are real.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.faultproxy import Answer, Call, Cut, refusal
from tests.support.kuberay import RAY
from tests.support.kuberay_player import is_running, ready, running
from tests.support.watcher import condition, truth

from gradatim.operator.clock import now, rfc3339
from gradatim.platform import PlatformState

Body = dict[str, Any]


async def test_without_any_watch_event_rayjobs_are_followed_all_the_same(
    kuberay_platform: PlatformState, tmp_path: Path
) -> None:
    dropped: set[str] = set()

    async def drop(call: Call, line: bytes) -> bytes | None:
        event = json.loads(line)
        if event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
            dropped.add(event["object"].get("kind", ""))
            return None
        return line

    async with running(kuberay_platform, tmp_path) as (k, player, _):
        with k.api.fault(on_event=drop):
            ns = await k.namespace()
            player.fails.add(ns)
            async with player.playing():
                key = await k.dataset(ns)
                found = await ready(k, key)
                assert [a["number"] for a in found["status"]["run"]["attempts"]] == [1, 2]
                await k.cluster.delete(*key)
                await k.watcher.until_gone(key)
                await k.until_no_job(ns)
        assert len(dropped) > 0


async def test_nothing_is_created_or_deleted_on_a_stale_read(kuberay_platform: PlatformState, tmp_path: Path) -> None:
    old: dict[str, Answer] = {}
    served = 0

    async def replay(call: Call, answer: Answer) -> Answer:
        nonlocal served
        if call.method == "GET" and not call.watch and call.path in old and served < 30:
            served += 1
            return old[call.path]
        return answer

    async with running(kuberay_platform, tmp_path) as (k, player, _):
        ns = await k.namespace()
        player.runs.add(ns)
        recorded: Body = {}
        async with player.playing():
            key = await k.dataset(ns)
            recorded = await k.watcher.until(key, lambda o: bool(o.get("status", {}).get("run")), "recorded")
            await is_running(k, key)
            job = await k.job(ns)
            name = job["metadata"]["name"]
            gone = refusal(404, "NotFound")
            # Before the attempt was handed over: status says Recorded, and there is no RayJob.
            assert recorded["status"]["run"]["attempts"][0]["outcome"] == "Recorded"
            old[f"/apis/gradatim.dev/v1alpha1/namespaces/{ns}/datasets/papers"] = Answer(
                200, json.dumps(recorded).encode()
            )
            old[f"{RAY}/namespaces/{ns}/rayjobs/{name}"] = gone
            with k.api.fault(after=replay):
                async with asyncio.timeout(60):
                    while served < 30:  # by polls: an event would bring the object as it is now, which is no stale read
                        await asyncio.sleep(0.1)
            await is_running(k, key)
            assert [j["metadata"]["uid"] for j in await k.objects(ns)] == [job["metadata"]["uid"]]
            player.runs.clear()
            await ready(k, key)
        assert await k.attempts(key) == [(1, "Succeeded", None)]
        assert [c for c in k.api.writes if c.namespace == ns and (c.method, c.plural) == ("DELETE", "rayjobs")] == []


async def test_a_rayjob_that_changes_between_read_and_removal_is_removed_as_it_is_now(
    kuberay_platform: PlatformState, tmp_path: Path
) -> None:
    async with running(kuberay_platform, tmp_path) as (k, player, _):
        ns = await k.namespace()
        player.fails.add(ns)
        meddled: list[str] = []

        async def meddle(call: Call) -> Answer | None:
            if (call.method, call.plural, call.namespace) == ("DELETE", "rayjobs", ns) and len(meddled) < 2:
                path = f"{RAY}/namespaces/{ns}/rayjobs/{call.name}"
                label = {"metadata": {"labels": {f"foreign-{len(meddled)}": "kept"}}}
                await k.cluster.call("PATCH", path, label, "application/merge-patch+json")
                meddled.append(call.name)
            return None

        with k.api.fault(before=meddle):
            async with player.playing():
                key = await k.dataset(ns)
                await ready(k, key)
        assert [n.rpartition("-")[2] for n in meddled] == ["a1", "a1"]
        assert [j["metadata"]["name"].rpartition("-")[2] for j in await k.objects(ns)] == ["a2"]


@pytest.mark.parametrize("fault", ["503", "cut"])
async def test_an_end_during_an_outage_of_the_api_server_is_seen_after_it(
    kuberay_platform: PlatformState, tmp_path: Path, fault: str
) -> None:
    async def refuse(call: Call) -> Answer | None:
        if fault == "cut":
            raise Cut
        return refusal(503, "Outage", **{"Retry-After": "1"})

    async with running(kuberay_platform, tmp_path) as (k, player, operator):
        ns = await k.namespace()
        player.runs.add(ns)
        async with player.playing():
            key = await k.dataset(ns)
            await is_running(k, key)
            operator.keep()
            with k.api.fault(before=refuse):
                k.api.cut_streams()
                player.runs.clear()
                player.fails.add(ns)
                before = len(k.api.calls)
                await k.job(ns, lambda j: j["status"]["jobDeploymentStatus"] == "Failed")
                async with asyncio.timeout(60):
                    while len(k.api.calls) < before + 8:
                        await asyncio.sleep(0.1)
            await ready(k, key)
        assert await k.attempts(key) == [(1, "Failed", "NodeLost"), (2, "Succeeded", None)]
        assert all(code != 0 for code in operator.exits)


async def test_while_kuberay_is_away_nothing_ends_and_nothing_overlaps(
    kuberay_platform: PlatformState, tmp_path: Path
) -> None:
    async with running(kuberay_platform, tmp_path) as (k, player, _):
        ns, late = await k.namespace(), await k.namespace()
        player.runs.add(ns)
        async with player.playing():
            key = await k.dataset(ns)
            await is_running(k, key)
            first = await k.job(ns)
        waits = await k.dataset(late)
        await k.job(late)
        found = await k.watcher.until(waits, lambda o: "is pending" in _said(o), "pending")
        assert truth(found, "Stalled")[0] == "False"
        # It ends as Ray says and KubeRay goes away: its finalizer holds the RayJob that the retry has to remove.
        await k.tell(first, "Failed", "FAILED", endTime=rfc3339(now()))
        found = await k.watcher.until(key, lambda o: "is being removed before the next one" in _said(o), "waiting")
        assert [a["number"] for a in found["status"]["run"]["attempts"]] == [1, 2]
        assert [j["metadata"]["name"] for j in await k.objects(ns)] == [first["metadata"]["name"]]
        player.runs.clear()
        async with player.playing():
            await asyncio.gather(ready(k, key), ready(k, waits))
        assert await k.attempts(key) == [(1, "Failed", "NodeLost"), (2, "Succeeded", None)]
        assert await k.attempts(waits) == [(1, "Succeeded", None)]


def _said(body: Body) -> str:
    return str(condition(body, "Reconciling").get("message", ""))
