"""Finished work of builds that have not succeeded yet: `<object>/checkpoints/`, for the next attempt and the next Run of the same object.

Used by the stages through `Build`. Not in the folder of a Run, because a new spec replaces the Run while most of what it has parsed and embedded
still holds. The name of a file is a digest of all that goes into it, so what lies there is right for whoever asks for it by name; vectors are
found by their keys. A process that was cut off may still write there: it writes the same. A file that was not written to its end, as an S3 store
may keep one, counts as none, and so does one that was damaged later: it is made again in its place, or every later Run would stumble over it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import NotFound
from gradatim.workloads.index.artifact import parquet_to
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.store import ArtifactStore

log = logging.getLogger("gradatim.workloads")

VECTORS = "vectors-"


def checkpoint_path(ctx: RunContext, name: str = "") -> str:
    """Return the path of a checkpoint; without a name, of all of them."""
    return f"{ctx.config.object_path}/checkpoints/{name}".rstrip("/")


def read_whole(store: ArtifactStore, path: str, schema: pa.Schema | None = None) -> pa.Table | None:
    """Return a checkpoint; None where there is none that can be read to its end.

    First the bytes, then what they say: a store that fails must not look like a file that is damaged.
    """
    try:
        data = store.read(path)
    except NotFound:
        return None
    try:
        return pq.read_table(pa.BufferReader(data), schema=schema)
    except MemoryError:  # Arrow's is an ArrowException too
        raise
    except (pa.ArrowException, OSError) as error:
        log.warning("%s is made again: %s", path, error)
        return None


def write_whole(store: ArtifactStore, path: str, table: pa.Table) -> None:
    """Write a checkpoint in one go: a table that an order to stop cuts short would be a shorter table, and not a torn file."""
    sink = pa.BufferOutputStream()
    with parquet_to(sink, table.schema) as write:
        write(table)
    store.write(path, sink.getvalue())


def vector_files(ctx: RunContext) -> Iterator[ParquetRows]:
    """Open every checkpoint with vectors."""
    for path in ctx.store.list(checkpoint_path(ctx)):
        if path.rpartition("/")[2].startswith(VECTORS) and read_whole(ctx.store, path) is not None:
            yield ParquetRows(ctx.store, path)


def drop_checkpoints(ctx: RunContext) -> None:
    """Delete all checkpoints of the object, unless another process works now and continues from them."""
    if ctx.is_latest():
        ctx.store.delete(checkpoint_path(ctx))
