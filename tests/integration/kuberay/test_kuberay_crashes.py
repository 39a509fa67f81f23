"""The operator is killed around the creation of a RayJob; there is always exactly one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.faultproxy import Answer, Call, Cut
from tests.support.kuberay import install, kuberay_bench
from tests.support.operator import truth

from gradatim.platform import PlatformState

POINTS = [("POST", "rayjobs", "", "before"), ("POST", "rayjobs", "", "after"), ("PUT", "datasets", "status", "before")]


class Hold:
    """Holds the first call of a sort that the operator makes once its RayJob matters, until the process is dead."""

    def __init__(self, method: str, plural: str, subresource: str, when: str) -> None:
        self._what = (method, plural, subresource)
        self._when = when
        self._created = plural == "rayjobs"
        self.held, self.release = asyncio.Event(), asyncio.Event()

    async def before(self, call: Call) -> Answer | None:
        """Hold a call that must not reach the server."""
        if self._when == "before" and self._created and self._is(call):
            await self._hold()
        return None

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Hold the answer of a call that was done."""
        if self._when == "after" and self._is(call):
            await self._hold()
        if (call.method, call.plural) == ("POST", "rayjobs"):
            self._created = True
        return answer

    def _is(self, call: Call) -> bool:
        return not self.held.is_set() and (call.method, call.plural, call.subresource) == self._what

    async def _hold(self) -> None:
        self.held.set()
        await self.release.wait()
        raise Cut


@pytest.mark.parametrize("point", POINTS, ids=["before it is created", "after it was created", "before status says so"])
async def test_a_crash_leaves_one_rayjob(
    kuberay_platform: PlatformState, tmp_path: Path, point: tuple[str, str, str, str]
) -> None:
    async with kuberay_bench(kuberay_platform, tmp_path) as k:
        await install(k.cluster)
        await k.make_profile(k.profile)
        ns, operator, hold = await k.namespace(), k.operator(), Hold(*point)
        with k.api.fault(before=hold.before, after=hold.after):
            await operator.start()
            key = await k.dataset(ns)
            async with asyncio.timeout(60):
                await hold.held.wait()
            await operator.kill()
            hold.release.set()
            await operator.start()
            job = await k.job(ns)
            await k.tell(job, "Running", "RUNNING")
            await k.result(job)
            await k.watcher.until(key, lambda o: truth(o, "Ready")[0] == "True", "ready")
        assert [j["metadata"]["uid"] for j in await k.objects(ns)] == [job["metadata"]["uid"]]
        assert await k.attempts(key) == [(1, "Succeeded", None)]
        assert k.watcher.all_violations() == []
        await k.cluster.delete(*key)
        await k.watcher.until_gone(key)
        assert await k.objects(ns) == []
