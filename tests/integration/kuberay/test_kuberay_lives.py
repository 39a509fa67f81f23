"""Acceptance 7 and 9 to 11 on the runtime `kuberay`: any order of specs, quiescence, deletion at any phase, two operators, upgrade.

`Player` plays KubeRay and what runs below it; the API server, its garbage collector and the operators are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Generation
from hypothesis import strategies as st
from tests.support.kuberay import Key, KubeRayBench, install, kuberay_bench
from tests.support.kuberay_player import Player, is_running, ready, running
from tests.support.operator import merged
from tests.support.walks import walks
from tests.support.watcher import kstatus, truth

from gradatim.operator.clock import now, rfc3339
from gradatim.platform import PlatformState

GOLDEN = Path(__file__).parents[2] / "data" / "rayjob_v1alpha1_first_release.json"
Body = dict[str, Any]


async def test_two_operators_at_once_make_one_rayjob_of_every_attempt(
    kuberay_platform: PlatformState, tmp_path: Path
) -> None:
    async with running(kuberay_platform, tmp_path) as (k, player, _):
        await k.operator().start()
        spaces = [await k.namespace() for _ in range(4)]
        player.fails.update(spaces[:2])
        async with player.playing():
            keys = [await k.dataset(ns) for ns in spaces]
            for key in keys:
                await ready(k, key)
            for key in keys:
                await k.cluster.merge(*key, {"spec": {"columns": {"text": "body"}}})
            for key in keys:
                await ready(k, key, 2)
        for key in keys:
            assert await k.attempts(key) == [(1, "Succeeded", None)]
        assert len(player.created) == 2 + 2 * len(spaces)


async def test_a_running_rayjob_of_the_first_release_is_left_alone_and_ends_well(
    kuberay_platform: PlatformState, tmp_path: Path
) -> None:
    async with kuberay_bench(kuberay_platform, tmp_path) as k:
        await install(k.cluster, kueue=True)
        await k.make_profile(k.profile)
        ns = await k.namespace()
        key, job = await k.restored(json.loads(GOLDEN.read_text()), ns)
        await k.operator().start()
        await k.resyncs(3)
        assert await k.attempts(key) == [(1, "Running", None)]
        assert [str(c) for c in k.api.writes if c.namespace == ns and c.plural in {"rayjobs", "configmaps"}] == []
        (left,) = await k.objects(ns)
        assert (left["metadata"]["uid"], left["spec"]) == (job["metadata"]["uid"], job["spec"])
        await k.result(job)
        await k.tell(job, "Complete", "SUCCEEDED", endTime=rfc3339(now()))
        await ready(k, key)
        assert await k.attempts(key) == [(1, "Succeeded", None)]
        assert k.watcher.all_violations() == []


Phase = tuple[str, Callable[[Player, str], None], dict[str, Any], Callable[[Body], bool]]


def _attempt(body: Body, **wanted: Any) -> bool:
    attempts = (body.get("status", {}).get("run") or {}).get("attempts") or [{}]
    return all(attempts[-1].get(name) == value for name, value in wanted.items())


PHASES: list[Phase] = [
    ("as soon as it exists", lambda p, ns: p.runs.add(ns), {}, lambda _: True),
    ("once an attempt is recorded", lambda p, ns: p.runs.add(ns), {}, lambda o: _attempt(o, outcome="Recorded")),
    ("while its RayJob starts", lambda p, ns: p.runs.add(ns), {}, lambda o: _attempt(o, outcome="Running")),
    ("while it runs", lambda p, ns: p.runs.add(ns), {}, lambda o: bool(o.get("status", {}).get("progress"))),
    ("between two attempts", lambda p, ns: p.fails.add(ns), {}, lambda o: "notBefore" in (o.get("status", {}).get("run") or {})),
    ("while the next attempt waits", lambda p, ns: p.fails.add(ns), {}, lambda o: _attempt(o, number=2)),
    ("before anything started", lambda p, ns: None, {"suspend": True}, lambda o: truth(o, "Suspended")[0] == "True"),
    ("while it is refused", lambda p, ns: None, {"compute": {"workers": 999}}, lambda o: truth(o, "Stalled")[0] == "True"),
    ("when it is done", lambda p, ns: None, {}, lambda o: truth(o, "Ready")[0] == "True"),
]  # fmt: skip


async def test_a_deletion_at_any_phase_leaves_nothing_and_then_nothing_is_written(
    kuberay_platform: PlatformState, tmp_path: Path
) -> None:
    deleted: set[str] = set()
    async with running(kuberay_platform, tmp_path) as (k, player, _):

        async def delete_at(
            name: str, say: Callable[[Player, str], None], spec: dict[str, Any], reached: Callable[[Body], bool]
        ) -> None:
            ns = await k.namespace()
            deleted.add(ns)
            say(player, ns)
            key = await k.dataset(ns, **spec)
            await k.watcher.until(key, reached, name)
            await k.cluster.delete(*key)
            await k.watcher.until_gone(key)
            player.runs.discard(ns)
            await k.until_no_job(ns)
            files = [p for p in (k.store / ns).rglob("*") if p.is_file() and "probe" not in p.parts]
            assert files == [], name

        async with player.playing():
            await asyncio.gather(*(delete_at(*phase) for phase in PHASES))
            # Every state in which an object may stay.
            quiet = {n: await k.namespace() for n in ("done", "runs", "waits", "refused")}
            player.runs.add(quiet["runs"])
            queued = await k.make_profile(queueName="team-a")
            keys = {n: await k.dataset(ns, queued if n == "waits" else "") for n, ns in quiet.items() if n != "refused"}
            keys["refused"] = await k.dataset(quiet["refused"], compute={"workers": 999})
            await ready(k, keys["done"])
            await is_running(k, keys["runs"])
            await k.watcher.until(keys["refused"], lambda o: truth(o, "Stalled")[0] == "True", "refused")
            await k.tell(await k.job(quiet["waits"]), "Suspended")
            await k.watcher.until(keys["waits"], lambda o: truth(o, "Queued")[0] == "True", "queued")
            # Other tests' profiles live on in this API server. Ours count Runs at their next probe, which is every five seconds.
            profiles = {k.profile, queued}
            async with asyncio.timeout(120):
                while await _written(k, profiles, asyncio.sleep(11)):
                    pass
            assert await _written(k, profiles | deleted | set(quiet.values()), k.resyncs(5)) == []


async def _written(k: KubeRayBench, own: set[str], meanwhile: Coroutine[Any, Any, None]) -> list[str]:
    """What is written meanwhile about these profiles and namespaces."""
    begin = len(k.api.writes)
    await meanwhile
    found = [c for c in k.api.writes[begin:] if own & {c.namespace, c.name}]
    return [f"{c}: {c.body.decode()}" for c in found]  # a deletion has no document


async def _walked(k: KubeRayBench, steps: list[tuple[Body, str]]) -> tuple[Body, Body]:
    """Walk in one namespace and make the last spec afresh in another; return what is there of each."""
    base = {"source": {"path": "file:///data/papers"}, "compute": {"profileRef": {"name": k.profile}}}
    used, fresh = await k.namespace(), await k.namespace()
    key = await k.dataset(used)
    for over, pause in steps:
        await k.replace(key, merged(base, over))
        if pause == "until it is seen":
            await k.watcher.until(
                key, lambda o: o["status"].get("observedGeneration") == o["metadata"]["generation"], pause
            )
        elif pause == "until it is settled" and not over.get("suspend"):
            await k.watcher.until(key, lambda o: kstatus(o) == "Current", pause)
    last = merged(base, steps[-1][0] | {"suspend": False})
    await k.replace(key, last)
    other = await k.dataset(fresh, **last)
    wanted = await _described(k, other)
    found: Body = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while found != wanted:
                found = await _described(k, key)
                await asyncio.sleep(0.2)
    return found, wanted


async def _described(k: KubeRayBench, key: Key) -> Body:
    """Return children and status without names and times; how often it was tried before it was resumed is left out."""
    body = await k.watcher.until(key, lambda o: kstatus(o) == "Current", "Current")
    run, ns = body["status"]["run"], key[1]
    jobs = [j for j in await k.objects(ns) if "deletionTimestamp" not in j["metadata"]]
    maps = [m for m in await k.cluster.items("ConfigMap", ns) if "ownerReferences" in m["metadata"]]
    return {
        "conditions": {c["type"]: (c["status"], c["reason"]) for c in body["status"]["conditions"]},
        "run": (run["specDigest"], run["done"], run["succeeded"]),
        "versions": [v["rows"] for v in body["status"]["history"]],
        "config maps": len(maps),
        "jobs": [j["metadata"]["labels"]["gradatim.dev/run"] == run["name"] for j in jobs],
        "finalizers": body["metadata"]["finalizers"],
    }


@settings(
    max_examples=1,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Generation.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(walks("Dataset"), min_size=5, max_size=5))
def test_after_any_walk_an_object_is_what_a_fresh_one_would_be(
    kuberay_platform: PlatformState, tmp_path: Path, several: list[tuple[str, list[tuple[Body, str]]]]
) -> None:
    async def walk() -> None:
        async with running(kuberay_platform, tmp_path) as (k, player, _), player.playing():
            ends = await asyncio.gather(*(_walked(k, steps) for _, steps in several))
        different = [(steps, end) for (_, steps), end in zip(several, ends, strict=True) if end[0] != end[1]]
        assert different == []

    asyncio.run(walk())
