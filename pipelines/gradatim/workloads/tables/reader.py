"""Reads the files of a listing into one table, taking what did not change from the cache in the store.

Used by the `validate` workload. Files that cannot be read and rows that cannot be mapped become rejects with their place; a column that a whole
file lacks ends the Run, because no row of it could be right.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import gradatim.rag.parse
from gradatim.api.dataset import DataFormat
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import NotFound, WorkloadError
from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables import csvrows, jsonl, parquetrows
from gradatim.workloads.tables.documents import document_options, read_document
from gradatim.workloads.tables.formats import allowed, format_of
from gradatim.workloads.tables.schema import (
    REJECT_SCHEMA,
    REQUIRED,
    Mapper,
    Place,
    RawRow,
    Reject,
    RowError,
    concat,
)

BLOCK_ROWS = 20_000
CACHE_BYTES = 1 << 33
_CONTENT_CHARS = 2000
_SHOWN_COLUMNS = 20


@dataclass(frozen=True, slots=True)
class FileTable:
    """What one file gave."""

    table: pa.Table
    rejects: tuple[Reject, ...]
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads files with one mapping. `cache` is a folder of the store; `store` None switches the cache off."""

    mapper: Mapper
    format: DataFormat = DataFormat.AUTO
    store: ArtifactStore | None = None
    cache: str = ""

    def read(self, file: SourceFile, used: set[str] | None = None) -> FileTable:
        """Return the file's rows; its cache key is added to `used`.

        Raises WorkloadError Data/DataInvalid when a needed column is missing.
        """
        try:
            found = format_of(file, self.format)
            self._check_format(file, found)
            if found is DataFormat.PARQUET or self.store is None:  # Parquet is as quick to read as its copy
                return self._parse(file, found)
            key = self.key(file, found)
            if used is not None:
                used.add(key)
            return self._load(key) or self._save(key, self._parse(file, found))
        except FileRejected as error:
            return self._rejected(file, error)

    def key(self, file: SourceFile, found: DataFormat) -> str:
        """Return the cache key: content, place, format, mapping and the code that reads it."""
        parts = [content_version(file), file.source, file.path, found.value, self.mapper.kind.value, code_version()]
        parts += [f"{name}={value}" for name, value in sorted(self.mapper.columns.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _check_format(self, file: SourceFile, found: DataFormat) -> None:
        if not allowed(self.mapper.kind, found):
            columns = ", ".join(REQUIRED[self.mapper.kind])
            text = f"{file.path} is {found.value}, which has no columns {columns}; give jsonl, csv or parquet"
            raise FileRejected("UnsupportedFormat", text)

    def _parse(self, file: SourceFile, found: DataFormat) -> FileTable:
        parser, raws = self._raws(file, found)
        rows: list[dict[str, Any]] = []
        tables: list[pa.Table] = []
        rejects: list[Reject] = []
        names: dict[str, None] = {}
        for raw in raws:
            if isinstance(raw, Reject):
                rejects.append(raw)
                continue
            names.update(dict.fromkeys(raw.values))
            try:
                rows.append(self.mapper.map(raw, parser))
            except RowError as error:
                content = json.dumps(raw.values, ensure_ascii=True, default=str)[:_CONTENT_CHARS]
                rejects.append(Reject(raw.place, error.reason, str(error), content))
            if len(rows) >= BLOCK_ROWS:
                tables.append(self.mapper.table(rows))
                rows = []
        tables.append(self.mapper.table(rows))
        if names:
            self.check_columns(file, names)
        if not any(table.num_rows for table in tables) and not rejects:
            raise FileRejected("Empty", f"{file.path} holds no rows")
        return FileTable(concat(tables, self.mapper), tuple(rejects))

    def _raws(self, file: SourceFile, found: DataFormat) -> tuple[str, Iterator[RawRow | Reject]]:
        if found is DataFormat.JSONL:
            return jsonl.PARSER, jsonl.read_jsonl(file)
        if found is DataFormat.CSV:
            return csvrows.PARSER, csvrows.read_csv(file)
        if found is DataFormat.PARQUET:
            return parquetrows.PARSER, parquetrows.read_parquet(file)
        return "", read_document(file, found, document_options(found, file.limit))

    def check_columns(self, file: SourceFile, names: Iterable[str]) -> None:
        """Raise WorkloadError when a required or mapped column is in no row of the file."""
        missing = self.mapper.missing(names)
        if missing:
            shown = ", ".join(list(names)[:_SHOWN_COLUMNS]) or "none"
            text = f"{file.location} has no column {', '.join(missing)}; it has {shown}; map it with spec.columns"
            raise WorkloadError(Failure.DATA, Reason.DATA_INVALID, text)

    def _rejected(self, file: SourceFile, error: FileRejected) -> FileTable:
        reject = Reject(Place(file.source, file.path), error.reason, str(error))
        return FileTable(self.mapper.table([]), (reject,))

    def _load(self, key: str) -> FileTable | None:
        if self.store is None:
            return None
        try:
            rejected = pq.read_table(io.BytesIO(self.store.read(f"{self.cache}/{key}.rejected.parquet", CACHE_BYTES)))
            table = pq.read_table(io.BytesIO(self.store.read(f"{self.cache}/{key}.parquet", CACHE_BYTES)))
        except (NotFound, pa.ArrowInvalid):
            return None
        return FileTable(table, tuple(from_reject_table(rejected)), cached=True)

    def _save(self, key: str, made: FileTable) -> FileTable:
        if self.store is None:
            return made
        for name, table in ((f"{key}.rejected", reject_table(made.rejects)), (key, made.table)):
            with self.store.open_output(f"{self.cache}/{name}.parquet") as stream:
                pq.write_table(table, stream, compression="zstd")
        return made


def content_version(file: SourceFile) -> str:
    """Return the digest of a file's content, read when the source knows only a modification time."""
    if file.exact:
        return file.version
    digest = hashlib.sha256()
    with file.open() as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return a digest of the code that turns files into rows: another release never reuses what it would read differently."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(gradatim.rag.parse.__file__).parent):
        for file in sorted(folder.glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def reject_table(rejects: Iterable[Reject]) -> pa.Table:
    """Return rejects as a table in the schema of `rejected.parquet`."""
    rows = [
        {
            "source": item.place.source, "file": item.place.file, "row": item.place.row, "page": item.place.page,
            "reason": item.reason, "message": _clean(item.message), "content": _clean(item.content),
        }
        for item in rejects
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, REJECT_SCHEMA)


def from_reject_table(table: pa.Table) -> list[Reject]:
    """Return the rejects of a table made by `reject_table`."""
    return [
        Reject(
            Place(row["source"], row["file"], row["row"], row["page"]), row["reason"], row["message"], row["content"]
        )
        for row in table.to_pylist()
    ]


def drop_nulls(table: pa.Table, mapper: Mapper) -> tuple[pa.Table, list[Reject]]:
    """Take out the rows in which a required column is null."""
    bad = functools.reduce(pc.or_, [pc.is_null(table.column(name)) for name in REQUIRED[mapper.kind]])
    if not pc.any(bad).as_py():
        return table, []
    taken = table.filter(bad)
    rejects = []
    for row in taken.to_pylist():
        empty = ", ".join(name for name in REQUIRED[mapper.kind] if row[name] is None)
        rejects.append(Reject(place_of(row), "MissingValue", f"has no value for {empty}", row_content(row)))
    return table.filter(pc.invert(bad)), rejects


def place_of(row: dict[str, Any]) -> Place:
    """Return where a row of a table stands."""
    return Place(row["source"], row["file"], row["row"], row["page"])


def row_content(row: dict[str, Any]) -> str:
    """Return a row as JSON for `rejected.parquet`, cut to a bounded length."""
    return json.dumps(row, ensure_ascii=True, default=str)[:_CONTENT_CHARS]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
