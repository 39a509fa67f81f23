"""Fourth stage: chunk rows for every surviving document, carried over or cut, in checkpointed parts; names the version.

One part per part of documents. The version's digest covers the ids of all chunks in order, so it is known before anything is embedded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.build import Build
from gradatim.workloads.index.identity import VersionHash, part_name
from gradatim.workloads.index.judging import Judgement
from gradatim.workloads.index.tables import CHUNKS, DOCUMENTS

TASK_CHARS = 1_000_000


@dataclass(slots=True)
class Chunked:
    """The checkpoints with all chunks, in order, and what they add up to. `tenants` counts chunks by tenant."""

    digest: str = ""
    parts: list[str] = field(default_factory=list)
    chunks: int = 0
    documents: int = 0
    tenants: dict[str | None, int] = field(default_factory=dict)


def chunk_documents(build: Build, parts: tuple[str, ...], judgement: Judgement) -> Chunked:
    """Write the chunk part of every document part. Raises WorkloadError Data/SourceEmpty when no chunk is left."""
    done = Chunked()
    version = VersionHash(build.digests.resolved)
    for part in parts:
        build.ctx.check_stop()
        table = _chunk_part(build, part, judgement.rejected, done)
        version.add(table.column("id").to_pylist())
        done.chunks += len(table)
        done.documents += len(table.column("document").unique())
        for entry in table.column("tenant").value_counts().to_pylist():
            done.tenants[entry["values"]] = done.tenants.get(entry["values"], 0) + entry["counts"]
        build.ctx.advance(1, f"{done.chunks} chunks")
    if not done.chunks:
        text = "no document gave any text to index; see the rejected documents and their reasons, or add sources"
        raise WorkloadError(
            Failure.DATA,
            Reason.SOURCE_EMPTY,
            text,
            validation=judgement.summary,
            rejections=judgement.summary.rejections,
        )
    done.digest = version.digest()
    return done


def _chunk_part(build: Build, part: str, rejected: frozenset[str], done: Chunked) -> pa.Table:
    source = PurePosixPath(part).name
    documents = pq.read_table(build.ctx.store.open_input(part), schema=DOCUMENTS)
    keep = [position for position, name in enumerate(documents.column("id").to_pylist()) if name not in rejected]
    left_out = sorted(rejected.intersection(documents.column("id").to_pylist()))
    # The encoder is in the key of every row.
    path = build.checkpoint(
        part_name("chunks", [source, build.digests.chunk, build.models.digest, left_out, CHUNKS.names])
    )
    done.parts.append(path)
    if (written := build.read_table(path, CHUNKS)) is not None:
        return written
    table = _cut(build, documents.take(pa.array(keep, pa.int64())))
    build.write_table(path, table)
    return table


def _cut(build: Build, documents: pa.Table) -> pa.Table:
    """Carry over the chunks of carried documents, cut the others; the order is that of the documents."""
    carried: dict[int, range] = {}
    for position, (name, flag) in enumerate(
        zip(documents.column("id").to_pylist(), documents.column("carried").to_pylist(), strict=True)
    ):
        found = build.previous.chunks_of(name, build.digests.chunk, build.models.digest) if flag else None
        if found is not None:
            carried[position] = found
    fresh = [position for position in range(len(documents)) if position not in carried]
    tables = list(build.executor.map("cut", _tasks(documents.take(pa.array(fresh, pa.int64())))))
    rows = [row for positions in carried.values() for row in positions]
    table = pa.concat_tables([build.previous.chunk_rows(rows), *tables]) if rows else _concat(tables)
    order = {name: position for position, name in enumerate(documents.column("id").to_pylist())}
    ranks = [order[name] for name in table.column("document").to_pylist()]
    return table.take(pa.array(sorted(range(len(ranks)), key=lambda position: ranks[position]), pa.int64()))


def _concat(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else CHUNKS.empty_table()


def _tasks(documents: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """Cut the rows into pieces of about equal text, one per call of a worker."""
    held: list[dict[str, Any]] = []
    size = 0
    for batch in documents.to_batches(max_chunksize=64):
        for row in batch.to_pylist():
            held.append(row)
            size += len(row["text"])
            if size >= TASK_CHARS:
                yield held
                held, size = [], 0
    if held:
        yield held
