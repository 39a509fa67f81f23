"""A platform of their own for the operator's tests: API server, its controllers and Weaviate, no operator of the platform's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.operator import Bench, bench
from tests.support.platform import API_SERVER, shared_platform

from gradatim.platform import Component, PlatformState

COMPONENTS = API_SERVER | {Component.WEAVIATE}


@pytest.fixture(scope="session")
def operator_platform(servers_dir: Path) -> Iterator[PlatformState]:
    """Servers on which nobody else makes objects, another worker neither, because the operators under test watch every namespace."""
    own = os.environ.get("PYTEST_XDIST_WORKER", "")
    with shared_platform(servers_dir / f"operator-servers{own}", frozenset(COMPONENTS), "operator") as state:
        yield state


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def b(operator_platform: PlatformState, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """A bench with one running operator for all tests of a module; whatever they saw must have been true."""
    async with bench(operator_platform, tmp_path_factory.mktemp("bench")) as found:
        await found.operator().start()
        yield found
        await found.purge()
        assert found.watcher.new_violations() == []


@pytest.fixture(autouse=True)
def only_truth_was_seen(request: pytest.FixtureRequest) -> Iterator[None]:
    """Charge what must never be seen to the test in which it was seen, so that `make test` repeats that one and not the module's last."""
    shared: Bench | None = request.getfixturevalue("b") if "b" in request.fixturenames else None
    yield
    assert shared is None or shared.watcher.new_violations() == []
