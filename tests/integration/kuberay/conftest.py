"""A platform of their own for the tests of the runtime `kuberay`: API server and controllers, with KubeRay's definitions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.kuberay import KubeRayBench, install, kuberay_bench
from tests.support.platform import API_SERVER, shared_platform

from gradatim.platform import PlatformState


@pytest.fixture(scope="session")
def kuberay_platform(servers_dir: Path) -> Iterator[PlatformState]:
    """Servers on which nobody else makes objects, because the operators under test watch every namespace."""
    own = os.environ.get("PYTEST_XDIST_WORKER", "")  # operators of two workers would take each other's objects
    with shared_platform(servers_dir / f"kuberay-servers{own}", API_SERVER, "kuberay") as state:
        yield state


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def k(kuberay_platform: PlatformState, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KubeRayBench]:
    """A bench with one running operator for all tests of a module."""
    async with kuberay_bench(kuberay_platform, tmp_path_factory.mktemp("kuberay")) as found:
        await install(found.cluster, kueue=True)
        await found.make_profile(found.profile)
        await found.operator().start()
        yield found
        assert found.watcher.new_violations() == []


@pytest.fixture(autouse=True)
def only_truth_was_seen(request: pytest.FixtureRequest) -> Iterator[None]:
    """Charge what must never be seen to the test in which it was seen, so that `make test` repeats that one and not the module's last."""
    shared: KubeRayBench | None = request.getfixturevalue("k") if "k" in request.fixturenames else None
    yield
    assert shared is None or shared.watcher.new_violations() == []
