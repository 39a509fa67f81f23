"""Parquet files as rows, batch by batch.

The declared unpacked size is checked before anything is unpacked. Files written by a Dataset are recognised, and their own locators are
replaced by the place in this source.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.tables.schema import FACTS, LOCATORS, Place, RawRow

PARSER = "parquet/1"
KIND_KEY = b"gradatim.schemaKind"
BATCH_ROWS = 4096
BATCH_BYTES = 16 * 1024 * 1024
READ_BYTES = 1 << 20
MAX_RATIO = 1000
SMALL_BYTES = 64 * 1024 * 1024
_KEPT_FACTS = frozenset({"pages", "page_starts", "replacement_ratio"})


def read_parquet(file: SourceFile) -> Iterator[RawRow]:
    """Yield the rows of a file, numbered from 1. Raises FileRejected for what is not Parquet or unpacks to too much."""
    with file.open() as stream:
        try:
            # Buffered: whole column chunks of a large row group would be kept otherwise.
            parquet = pq.ParquetFile(stream, buffer_size=READ_BYTES, pre_buffer=False)
            unpacked = _check_size(parquet, file)
            ours = KIND_KEY in (parquet.schema_arrow.metadata or {})
            number = 0
            each = unpacked // max(1, parquet.metadata.num_rows) + 1
            for batch in parquet.iter_batches(batch_size=max(1, min(BATCH_ROWS, BATCH_BYTES // each))):
                for values in batch.to_pylist():
                    number += 1
                    yield _row(file, number, values, ours=ours)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            if "AWS Error" in str(error):  # the store failed, not the file
                raise
            raise FileRejected(
                "BadParquet", f"{file.path} is not a readable Parquet file: {str(error)[:200]}"
            ) from error


def columns_of(file: SourceFile) -> list[str]:
    """Return the column names; empty when the file is not readable, which `read_parquet` then reports."""
    with file.open() as stream:
        try:
            return list(pq.read_schema(stream).names)
        except (pa.ArrowInvalid, OSError):
            return []


def _row(file: SourceFile, number: int, values: dict[str, object], *, ours: bool) -> RawRow:
    place = Place(file.source, file.path, number)
    if not ours:
        return RawRow(place, values)
    facts = {name: value for name, value in values.items() if name in _KEPT_FACTS and value is not None}
    kept = {name: value for name, value in values.items() if name not in LOCATORS and name not in FACTS}
    return RawRow(place, {name: value for name, value in kept.items() if value is not None}, facts)


def _check_size(parquet: pq.ParquetFile, file: SourceFile) -> int:
    """Return the declared unpacked bytes."""
    groups = [parquet.metadata.row_group(index) for index in range(parquet.metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if unpacked > SMALL_BYTES and unpacked > MAX_RATIO * max(1, file.size):
        raise FileRejected("ZipBomb", f"{file.path} unpacks to {unpacked} bytes from {file.size}; refused")
    return int(unpacked)
