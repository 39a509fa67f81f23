"""The Ray cluster runtime against a real head: idempotent submission, stop, deletion, and a head that has forgotten everything."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest
from tests.support.platform import RayHead
from tests.support.raynodes import kill_all_of

from gradatim.api.reasons import Reason
from gradatim.api.run import STORE_FULL_STATUS, RunConfig, RunObject, StoreConfig, attempt_name
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.runtimes import raycluster
from gradatim.operator.runtimes.base import Launch, Phase
from gradatim.operator.runtimes.raycluster import RayCluster
from gradatim.operator.wire import open_session

# Prints the ids of itself, of a child, and of a child in a session of its own; then lives on although it is asked to end.
STUBBORN = (
    'python -c "import os,signal,subprocess as s,time; signal.signal(signal.SIGTERM, signal.SIG_IGN);'
    "a=s.Popen(['sleep','600']); b=s.Popen(['sleep','600'], start_new_session=True);"
    "print('pids', os.getpid(), a.pid, b.pid); time.sleep(600)\""
)


@pytest.fixture
async def ray(ray_head: RayHead) -> AsyncIterator[RayCluster]:
    """Return the runtime on a real head."""
    async with open_session() as session:
        yield RayCluster(session, ray_head.address, ray_head.token)


def attempt(number: int = 1) -> Launch:
    """Return an attempt that nothing else uses."""
    run = f"papers-{uuid.uuid4().hex[:10]}"
    config = RunConfig(
        workload="validate",
        object=RunObject(kind="Dataset", namespace="team", name="papers", uid="u-1"),
        run=run,
        attempt=number,
        store=StoreConfig(root="file:///nowhere/team/"),
    ).sealed()
    return Launch(attempt_name(run, number), "team", config.model_dump_json(by_alias=True), config.digest, "u-1", 1)


async def submitted(ray: RayCluster, launch: Launch) -> None:
    """Submit as the loop does: a head that has just started answers 500 until its agent is there."""
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(DependencyError):
                return await ray.submit(launch)
            await asyncio.sleep(0.5)


async def reaches(ray: RayCluster, name: str, done: Callable[[Phase], bool], seconds: float = 90) -> Phase:
    """Wait until the submission's phase is as wanted."""
    async with asyncio.timeout(seconds):
        while not done(phase := (await ray.observe(name)).phase):
            await asyncio.sleep(0.2)
    return phase


async def deleted(ray: RayCluster, name: str) -> None:
    """Delete as the loop does: again and again until it succeeds."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(TryLater):
                await ray.delete(name)
                return
            await asyncio.sleep(0.5)


async def test_the_version_proves_that_ray_answers(ray: RayCluster) -> None:
    assert re.fullmatch(r"2\.\d+\.\d+", await ray.version())


async def test_an_attempt_runs_the_workload_of_the_clusters_own_python(ray: RayCluster) -> None:
    launch = attempt()
    await submitted(ray, launch)
    await ray.submit(launch)
    await reaches(ray, launch.name, lambda phase: phase.terminal)
    seen = await ray.observe(launch.name)
    log = await ray.logs(launch.name, 4096)
    assert "No module named" not in log
    assert log.count("Running entrypoint") == 1, "submitted twice, started once"
    assert "\n" not in seen.message
    assert seen.started_at is not None
    assert seen.finished_at is not None
    await deleted(ray, launch.name)
    assert (await ray.observe(launch.name)).phase is Phase.ABSENT
    assert await ray.logs(launch.name, 4096) == ""
    await ray.delete(launch.name)
    await ray.stop(launch.name)


async def test_the_same_name_for_another_object_or_config_is_a_conflict(ray: RayCluster) -> None:
    launch = attempt()
    await submitted(ray, launch)
    for other in (replace(launch, uid="u-2"), replace(launch, config_digest="sha256:1")):
        with pytest.raises(WillNeverWork) as caught:
            await ray.submit(other)
        assert caught.value.reason == Reason.NAME_CONFLICT
    await deleted(ray, launch.name)


async def test_stopping_ends_every_process_of_an_attempt(ray: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(raycluster.ENTRYPOINTS, "validate", STUBBORN)
    monkeypatch.setattr(raycluster, "STOP_WAIT_SECONDS", 1)
    launch = attempt()
    await submitted(ray, launch)
    async with asyncio.timeout(90):
        while not (found := re.search(r"^pids (\d+) (\d+) (\d+)$", await ray.logs(launch.name, 4096), re.M)):
            await asyncio.sleep(0.2)
    pids = [int(pid) for pid in found.groups()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(TryLater):
        await ray.delete(launch.name)
    await ray.stop(launch.name)
    assert await reaches(ray, launch.name, lambda phase: phase.terminal) is Phase.STOPPED
    await until(lambda: _gone(pids))
    await deleted(ray, launch.name)


async def test_how_a_process_ended_that_could_write_no_result_is_told(
    ray: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(raycluster.ENTRYPOINTS, "validate", f"python -c 'raise SystemExit({STORE_FULL_STATUS})'")
    launch = attempt()
    await submitted(ray, launch)
    assert await reaches(ray, launch.name, lambda phase: phase.terminal) is Phase.FAILED
    seen = await ray.observe(launch.name)
    assert seen.message == f"Job entrypoint command failed with exit code {STORE_FULL_STATUS}"
    await deleted(ray, launch.name)


async def test_a_config_near_the_limit_reaches_the_process(ray: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        raycluster.ENTRYPOINTS,
        "validate",
        "python -c \"import os; print('size', len(os.environ['GRADATIM_RUN_CONFIG']))\"",
    )
    launch = attempt()
    text = launch.config_json[:-1] + ',"padding":"' + '\\"' * 25_000 + '"}'
    await submitted(ray, replace(launch, config_json=text))
    assert await reaches(ray, launch.name, lambda phase: phase.terminal) is Phase.SUCCEEDED
    assert f"size {len(text)}" in await ray.logs(launch.name, 4096)
    await deleted(ray, launch.name)


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_a_wrong_token_is_told_apart_from_a_dead_head(ray_head: RayHead, token: str | None) -> None:
    async with open_session() as session:
        runtime = RayCluster(session, ray_head.address, token)
        for call in (runtime.version(), runtime.observe("a-a1"), runtime.submit(attempt())):
            with pytest.raises(DependencyError) as caught:
                await call
            assert caught.value.reason == Reason.CREDENTIALS_REFUSED


@pytest.mark.slow
async def test_a_head_that_was_restarted_has_forgotten_its_submissions(tmp_path: Path) -> None:
    """Between the two heads the answer is "unknown", after the restart it is "absent"."""
    from tests.support.platform import private_platform, ray_of

    from gradatim.platform import Component, UpOptions, up

    async with open_session() as session:
        with private_platform(tmp_path / "p", frozenset({Component.RAY})) as state:
            head = ray_of(state)
            runtime = RayCluster(session, head.address, head.token)
            launch = attempt()
            await submitted(runtime, launch)
            assert (await runtime.observe(launch.name)).phase is not Phase.ABSENT
            kill_all_of(state.components[Component.RAY].pid)
            await until(lambda: _refused(session, head.address))
            with pytest.raises(DependencyError):
                await runtime.observe(launch.name)
            again = ray_of(await asyncio.to_thread(up, UpOptions(tmp_path / "p", frozenset({Component.RAY}))))
            runtime = RayCluster(session, again.address, again.token)
            assert (await runtime.observe(launch.name)).phase is Phase.ABSENT


async def until(done: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(seconds):
        while not await done():
            await asyncio.sleep(0.2)


async def _gone(pids: list[int]) -> bool:
    def alive(pid: int) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        return False

    return not any(alive(pid) for pid in pids)


async def _refused(session: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with session.get(address):
            return False
    except aiohttp.ClientConnectionError:
        return True
