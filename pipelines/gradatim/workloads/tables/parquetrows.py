"""Parquet files as rows, batch by batch.

The declared unpacked size is checked before anything is unpacked, and what a dictionary repeats is counted before it is: a page of a few
bytes may name one long text a million times. Files written by a Dataset are recognised, and where a Dataset reads them, their own locators are
replaced by the place in this source. Used by the table readers and by the parsing of an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
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
        table = ParquetTable(stream, file.path, file.size)
        for number, values in enumerate(table.rows(), 1):
            yield _row(file, number, values, ours=table.ours)


class ParquetTable:
    """An opened file of `size` bytes: the `names` of its columns, the rows of each of its `groups`, and whether it is `ours`, written by a Dataset.

    Raises FileRejected, on opening as on reading, for what is not Parquet or unpacks to more than `ratio` times its size.
    """

    def __init__(self, stream: BinaryIO, path: str, size: int, ratio: float = MAX_RATIO) -> None:
        self._path, self._size, self._ratio = path, size, ratio
        with self._refusals():
            # Buffered: whole column chunks of a large row group would be kept otherwise.
            kept = _repeated(stream)
            self._file = pq.ParquetFile(stream, buffer_size=READ_BYTES, pre_buffer=False, read_dictionary=kept)
            self.names = tuple(self._file.schema_arrow.names)
            self.ours = KIND_KEY in (self._file.schema_arrow.metadata or {})
            groups = [self._file.metadata.row_group(number) for number in range(self._file.metadata.num_row_groups)]
            self.groups = tuple(group.num_rows for group in groups)
            self._unpacked = sum(group.total_byte_size for group in groups)
        self._check_ratio(self._unpacked)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, each once."""
        written_out = 0
        each = self._unpacked // max(1, self._file.metadata.num_rows) + 1
        with self._refusals():
            for batch in self._file.iter_batches(batch_size=max(1, min(BATCH_ROWS, BATCH_BYTES // each))):
                written_out += _written_out(batch)
                self._check_ratio(written_out)
                for piece in _pieces(batch):
                    yield from piece.to_pylist()

    def group(self, number: int) -> bytes:
        """Return a row group as a file of its own, not packed."""
        sink = pa.BufferOutputStream()
        with self._refusals():
            pq.write_table(self._file.read_row_group(number), sink, compression="none")
        return bytes(sink.getvalue())

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise FileRejected("WrongEncoding", f"{self._path} holds text that is not UTF-8: {error}") from error
        # ValueError and OverflowError: of values for which Python has no name or no date.
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, OverflowError, OSError) as error:
            if "AWS Error" in str(error):  # the store failed, not the file
                raise
            raise FileRejected(
                "BadParquet", f"{self._path} is not a readable Parquet file: {str(error)[:200]}"
            ) from error

    def _check_ratio(self, unpacked: int) -> None:
        if unpacked > SMALL_BYTES and unpacked > self._ratio * max(1, self._size):
            raise FileRejected("ZipBomb", f"{self._path} unpacks to {unpacked} bytes from {self._size}; refused")


def columns_of(file: SourceFile) -> list[str]:
    """Return the column names; empty when the file is not readable, which `read_parquet` then reports."""
    with file.open() as stream:
        try:
            return list(pq.read_schema(stream).names)
        except (pa.ArrowInvalid, UnicodeDecodeError, OSError):
            return []


def _row(file: SourceFile, number: int, values: dict[str, object], *, ours: bool) -> RawRow:
    place = Place(file.source, file.path, number)
    if not ours:
        return RawRow(place, values)
    facts = {name: value for name, value in values.items() if name in _KEPT_FACTS and value is not None}
    kept = {name: value for name, value in values.items() if name not in LOCATORS and name not in FACTS}
    return RawRow(place, {name: value for name, value in kept.items() if value is not None}, facts)


def _repeated(stream: BinaryIO) -> list[str]:
    """Return the columns of text, whose repetitions stay references to a dictionary; texts inside of lists and objects are not among them."""
    # What the metadata say of single columns is not asked for: pyarrow ends the process where they contradict themselves.
    metadata = pq.read_metadata(stream)
    stream.seek(0)
    return sorted(field.name for field in metadata.schema.to_arrow_schema() if _is_text(field.type))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _written_out(batch: pa.RecordBatch) -> int:
    """Return the bytes of the texts that dictionaries stand for."""
    columns = [column for column in batch.columns if pa.types.is_dictionary(column.type)]
    sizes = (pc.sum(pc.take(pc.binary_length(column.dictionary), column.indices)).as_py() for column in columns)
    return sum(size or 0 for size in sizes)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch until what its dictionaries stand for fits into memory, or one row is left."""
    if batch.num_rows <= 1 or _written_out(batch) <= BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half))
    yield from _pieces(batch.slice(half))
