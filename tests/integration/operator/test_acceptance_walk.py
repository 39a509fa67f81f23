"""Acceptance 7: after any walk through valid specs an object is what a fresh one with the last spec would be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support.operator import Bench, merged
from tests.support.walks import walks
from tests.support.watcher import Body

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def described(b: Bench, key: tuple[str, str, str], body: Body) -> Body:
    """Return children and status without names and times."""
    status, ns = body["status"], key[1]
    run = status["run"]
    maps = [
        m
        for m in await b.cluster.items("ConfigMap", ns)
        if any(o["uid"] == body["metadata"]["uid"] for o in m["metadata"].get("ownerReferences", []))
    ]
    config = json.loads(maps[0]["data"]["config.json"])
    uid = body["metadata"]["uid"]
    held = [json.loads(p.read_text()) for p in (b.instant.folder / "submissions").glob("*.json")]
    return {
        "conditions": {
            # That it was suspended once is all that may be left of a walk.
            c["type"]: (
                c["status"],
                c["reason"].replace("Resumed", "NotSuspended"),
                re.sub("sha256:[0-9a-f]+", "", c["message"]),
            )
            for c in status["conditions"]
        },
        "state": status["state"],
        "versions": [(v.get("label"), v.get("rows"), v.get("chunks"), v.get("retiredAt")) for v in status["history"]],
        "run": (run["specDigest"], run["done"], run["succeeded"]),
        "next": status.get("nextRefresh"),
        "config maps": len(maps),
        "config": {k: config.get(k) for k in ("dataset", "index", "datasets", "limits", "workload", "secretsPath")},
        "submissions": len([h for h in held if h["uid"] == uid and json.loads(h["config"])["run"] == run["name"]]),
        "other submissions": len(
            [h for h in held if h["uid"] == uid and json.loads(h["config"])["run"] != run["name"]]
        ),
        "collections": len(await b.collections(body)),
        "finalizers": body["metadata"]["finalizers"],
    }


def normal(found: Body) -> Body:
    """Leave out what may differ: how often it was tried before it was resumed."""
    return found | {"submissions": found["submissions"] > 0, "config": _without_frozen(found["config"])}


def _without_frozen(config: Body) -> Body:
    """Leave out how it is run: a change of that alone starts no Run, so the frozen inputs keep the older value."""
    ignored = {"suspend", "refresh", "retry", "activeDeadlineSeconds", "versions", "retrieval"}
    return config | {
        k: {n: v for n, v in (config[k] or {}).items() if n not in ignored} or None for k in ("dataset", "index")
    }


async def walk(b: Bench, kind: str, steps: list[tuple[Body, str]]) -> None:
    """Walk in one namespace, make the last spec afresh in another, and compare."""
    used, fresh = await b.namespace(), await b.namespace()
    for ns in (used, fresh):
        b.instant.script(f"{ns}.one", collectionObjects=1, afterSeconds=0.2)
    base = b.dataset(used, "one") if kind == "Dataset" else b.index(used, "one")
    key = await b.apply(base)
    for over, pause in steps:
        await b.replace(key, merged(base["spec"], over))
        if pause == "until it is seen":
            await b.watcher.until(
                key, lambda o: o["status"].get("observedGeneration") == o["metadata"]["generation"], pause
            )
        elif pause == "until it is settled" and not over.get("suspend"):
            await b.current(key)
    last = merged(base["spec"], steps[-1][0] | {"suspend": False})
    await b.replace(key, last)
    other = await b.apply(base | {"metadata": {"name": "one", "namespace": fresh}, "spec": last})
    expected = normal(await described(b, other, await b.current(other)))
    found: Body = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):  # inputs frozen just when the spec changed are swept by a resync
            while found != expected:
                found = normal(await described(b, key, await b.current(key)))
                await asyncio.sleep(0.2)
    assert found == expected, steps


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.sampled_from(["Dataset", "RAGIndex"]).flatmap(walks), min_size=6, max_size=6))
async def test_after_any_walk_an_object_is_what_a_fresh_one_would_be(
    b: Bench, several: list[tuple[str, list[tuple[Body, str]]]]
) -> None:
    await asyncio.gather(*(walk(b, kind, steps) for kind, steps in several))
