"""What the stages of one build share: context, settings, digests, previous version, workers, checkpoints.

Made by `run` after resolving; the stages read it and never change it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.workloads.context import RunContext
from gradatim.workloads.index.artifact import parquet_writer
from gradatim.workloads.index.executor import Executor
from gradatim.workloads.index.previous import Previous
from gradatim.workloads.index.settings import IndexSettings


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What the build must know about the encoder without holding it."""

    digest: str
    tokenizer_digest: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one Run."""

    ctx: RunContext
    spec: RAGIndexSpec
    settings: IndexSettings
    encoder: EncoderFacts
    parse_digest: str
    chunk_digest: str
    resolved_digest: str
    previous: Previous
    executor: Executor

    def checkpoint(self, name: str) -> str:
        """Return the path of a checkpoint of this Run."""
        return f"{self.ctx.config.run_path}/checkpoints/{name}"

    def write_table(self, path: str, table: pa.Table) -> None:
        """Write a checkpoint; it appears whole or not at all."""
        with parquet_writer(self.ctx.store, path, table.schema) as write:
            write(table)
