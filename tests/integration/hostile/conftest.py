"""A platform and an operator for hostile objects alone: what poisons a list or a watch must not disturb other tests."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from tests.support.operator import Bench, bench
from tests.support.platform import API_SERVER, shared_platform

from gradatim.platform import Component, PlatformState


@pytest.fixture(scope="session")
def hostile_platform(servers_dir: Path) -> Iterator[PlatformState]:
    """An API server, its controllers and Weaviate, without the platform's own operator; a bench purges all there is, so one per worker."""
    own = os.environ.get("PYTEST_XDIST_WORKER", "")
    components = frozenset(API_SERVER | {Component.WEAVIATE})
    with shared_platform(servers_dir / f"hostile-servers{own}", components, "hostile") as state:
        yield state


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def b(hostile_platform: PlatformState, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """A bench with one running operator for all tests of a module; whatever they saw must have been true."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(12_000)  # the watch of the tests reads what the operator reads
    async with bench(hostile_platform, tmp_path_factory.mktemp("bench")) as found:
        await found.operator().start()
        yield found
        await found.purge()
        sys.setrecursionlimit(usual)
        assert_alive(found)
        assert found.watcher.new_violations() == []


def assert_alive(b: Bench) -> None:
    """Fail with the operator's last words if it has ended."""
    process = b.operators[-1].process
    assert process is not None
    assert psutil.pid_exists(process.pid), b.operators[-1].tail()


@pytest.fixture(autouse=True)
def only_truth_was_seen(request: pytest.FixtureRequest) -> Iterator[None]:
    """Charge a dead operator and what must never be seen to the test in which it happened: `make test` repeats what failed, alone."""
    shared: Bench | None = request.getfixturevalue("b") if "b" in request.fixturenames else None
    yield
    if shared is not None:
        assert_alive(shared)
        assert shared.watcher.new_violations() == []
