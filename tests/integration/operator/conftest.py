"""A platform of their own for the operator's tests: API server, its controllers and Weaviate, no operator of the platform's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gradatim.platform import Component, PlatformState
from tests.support.platform import API_SERVER, shared_platform

COMPONENTS = API_SERVER | {Component.WEAVIATE}


@pytest.fixture(scope="session")
def operator_platform(servers_dir: Path) -> Iterator[PlatformState]:
    """Servers on which nobody else makes objects, because the operators under test watch every namespace."""
    with shared_platform(servers_dir / "operator-servers", frozenset(COMPONENTS), "operator") as state:
        yield state
