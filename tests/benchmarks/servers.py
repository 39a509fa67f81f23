"""A Weaviate of their own for the benchmarks that need one.

Starts the product's local platform with that one component in a temporary folder, and always takes it down again.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.benchmarks.report import say

from gradatim.platform import Component, PlatformState, UpOptions, down, up
from gradatim.rag.store.connection import VectorStoreAddress


@dataclass(frozen=True, slots=True)
class Server:
    """A running Weaviate and a folder for whatever the benchmark writes; both vanish at the end."""

    state: PlatformState
    folder: Path

    @property
    def key(self) -> str:
        """The key that workloads use."""
        return (self.state.state_dir / "private" / "weaviate-workload").read_text(encoding="utf-8").strip()

    @property
    def address(self) -> VectorStoreAddress:
        """What clients connect to."""
        return VectorStoreAddress(self.state.weaviate, self.state.weaviate_grpc, self.key)

    def cpu_seconds(self) -> float:
        """CPU seconds that Weaviate has used so far."""
        times = psutil.Process(self.state.components[Component.WEAVIATE].pid).cpu_times()
        return times.user + times.system


@contextmanager
def weaviate() -> Iterator[Server]:
    """Run a Weaviate for a block; a request to end ends it too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="gradatim-bench-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        options = UpOptions(state_dir=root / "state", components=frozenset({Component.WEAVIATE}))
        try:
            state = up(options, lambda component, message: say(f"{component}: {message}"))
            (root / "work").mkdir()
            yield Server(state, root / "work")
        finally:
            down(root / "state", purge=True)
