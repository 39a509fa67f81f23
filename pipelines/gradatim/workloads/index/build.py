"""What the stages of one build share: context, settings, digests, previous version, workers, checkpoints.

Made by `build_index` after resolving; the stages read it and never change it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.workloads.context import RunContext
from gradatim.workloads.executor import Executor
from gradatim.workloads.index.adopting import Adopted
from gradatim.workloads.index.checkpoints import checkpoint_path, read_whole, write_whole
from gradatim.workloads.index.models import RunModels
from gradatim.workloads.index.previous import Previous
from gradatim.workloads.index.settings import IndexSettings


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of what parsing, chunking and the whole build depend on, known before anything is parsed."""

    parse: str
    chunk: str
    resolved: str


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one Run."""

    ctx: RunContext
    spec: RAGIndexSpec
    settings: IndexSettings
    models: RunModels
    digests: Digests
    previous: Previous
    adopted: Adopted | None
    executor: Executor

    def checkpoint(self, name: str) -> str:
        """Return the path of a checkpoint."""
        return checkpoint_path(self.ctx, name)

    def read_table(self, path: str, schema: pa.Schema) -> pa.Table | None:
        """Return a checkpoint that an attempt or Run before this one has written to its end, or None."""
        return read_whole(self.ctx.store, path, schema)

    def write_table(self, path: str, table: pa.Table) -> None:
        """Write a checkpoint; it appears whole or not at all."""
        write_whole(self.ctx.store, path, table)
