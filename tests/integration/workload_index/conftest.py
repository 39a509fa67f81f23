"""The fixture `bench`: one index object with a corpus, a store and a real Weaviate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.workload_index.support import Bench
from tests.integration.workload_index.support import bench as make_bench
from tests.integration.workloads.conftest import dead_port
from tests.support.platform import WeaviateServer

__all__ = ["bench", "dead_port"]


@pytest.fixture
def bench(tmp_path: Path, weaviate_server: WeaviateServer) -> Iterator[Bench]:
    yield from make_bench(tmp_path, weaviate_server)
