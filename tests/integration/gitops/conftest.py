"""The compiled tool, once per session, and an administrator's connection to the API server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.support.gitops_tool import GitOpsTool

from gradatim.platform import PlatformState, health, pki
from gradatim.platform.dirs import Layout


@pytest.fixture(scope="session")
def gitops() -> GitOpsTool:
    return GitOpsTool()


@pytest.fixture(scope="session")
def admin(apiserver: PlatformState) -> Iterator[httpx.Client]:
    context = health.tls_context(Layout(apiserver.state_dir), pki.CLUSTER_CA, "admin")
    with httpx.Client(base_url=apiserver.api_server, verify=context, trust_env=False, timeout=30.0) as client:
        yield client
