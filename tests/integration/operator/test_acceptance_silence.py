"""A Weaviate that hangs, and a token that is rotated while the operator runs.

Each test has a bench of its own, and none shares a module with a bench for all: its proxies stand still meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from tests.support.faultproxy import Answer, Call, refusal
from tests.support.operator import bench
from tests.support.watcher import Body, truth

from gradatim.platform import PlatformState

Key = tuple[str, str, str]


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
