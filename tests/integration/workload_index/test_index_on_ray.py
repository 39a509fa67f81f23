"""A build with two workers on a real Ray cluster: the same version as with one, submitted as the operator does."""

from __future__ import annotations

import asyncio
import contextlib

from tests.integration.workload_index.support import Bench
from tests.support.platform import RayHead

from gradatim.api.run import RunResult, attempt_name
from gradatim.operator.errors import DependencyError
from gradatim.operator.runtimes.base import Launch
from gradatim.operator.runtimes.raycluster import RayCluster
from gradatim.operator.wire import open_session


async def test_two_workers_make_the_version_that_one_makes(bench: Bench, ray_head: RayHead) -> None:
    (bench.corpus / "broken.pdf").write_bytes(b"%PDF-1.7\n")
    config = bench.config(
        run="onray", compute={"workers": 2}, chunking={"strategy": "semantic", "maxTokens": 64, "overlapTokens": 8}
    )
    name = attempt_name(config.run + bench.uid[:8], 1)
    launch = Launch(
        name, "team-a", config.model_dump_json(by_alias=True, exclude_none=True), config.digest, bench.uid, 1
    )
    path = f"{config.attempt_path}/result.json"
    async with open_session() as session, asyncio.timeout(240):
        ray = RayCluster(session, ray_head.address, ray_head.token)
        while True:
            with contextlib.suppress(DependencyError):
                await ray.submit(launch)
                break
            await asyncio.sleep(0.5)
        while not bench.store.exists(path):
            await asyncio.sleep(0.5)
    parallel = RunResult.model_validate_json(bench.store.read(path))
    assert parallel.outcome == "Succeeded", parallel.message
    assert parallel.index is not None
    assert (parallel.index.documents, parallel.index.rejected) == (8, 1)

    await asyncio.to_thread(bench.drop_all)
    single = await asyncio.to_thread(
        bench.built, chunking={"strategy": "semantic", "maxTokens": 64, "overlapTokens": 8}
    )
    assert single.index is not None
    assert (single.index.digest, single.index.chunks) == (parallel.index.digest, parallel.index.chunks)
