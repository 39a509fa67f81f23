"""Reads the files of a listing in blocks, taking what did not change from the cache in the store.

Used by the `validate` workload. Files that cannot be read and rows that cannot be mapped become rejects with their place; a column that a whole
file lacks ends the Run, because no row of it could be right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

import gradatim.rag.parse
from gradatim.api.dataset import DataFormat
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables import csvrows, jsonl, parquetrows
from gradatim.workloads.tables.cache import Stored, load, write
from gradatim.workloads.tables.documents import document_options, read_document
from gradatim.workloads.tables.formats import allowed, format_of
from gradatim.workloads.tables.rejects import CONTENT_CHARS
from gradatim.workloads.tables.schema import REQUIRED, Mapper, RawRow, Reject, RowError

_SHOWN_COLUMNS = 20


@dataclass(frozen=True, slots=True)
class BlockSize:
    """When a block is full: by rows, or by characters, whichever comes first."""

    rows: int = 20_000
    chars: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads files with one mapping, block by block, through the cache, a folder of the store."""

    mapper: Mapper
    store: ArtifactStore
    cache: str
    format: DataFormat = DataFormat.AUTO
    size: BlockSize = BlockSize()

    def read(self, file: SourceFile, check: Callable[[], None] = lambda: None) -> Stored:
        """Return the file's blocks in the store, written now or found there. `check` is called for every block.

        Raises FileRejected for a file that cannot be used, and WorkloadError Data/DataInvalid when a needed column is missing.
        """
        found = format_of(file, self.format)
        self._check_format(file, found)
        path = f"{self.cache}/{self.key(file, found)}.blocks"
        return load(self.store, path) or write(self.store, path, self.parse(file, found, check))

    def parse(
        self, file: SourceFile, found: DataFormat, check: Callable[[], None] = lambda: None
    ) -> Iterator[pa.Table | Reject]:
        """Yield the file's blocks and the rows that were refused; raises as `read` does, at the end at the latest."""
        parser, raws = self._raws(file, found)
        rows: list[dict[str, Any]] = []
        names: dict[str, None] = {}
        chars, some = 0, False
        for raw in raws:
            some = True
            if isinstance(raw, Reject):
                yield raw
                continue
            names.update(dict.fromkeys(raw.values))
            try:
                rows.append(self.mapper.map(raw, parser))
            except RowError as error:
                content = json.dumps(raw.values, ensure_ascii=True, default=str)[:CONTENT_CHARS]
                yield Reject(raw.place, error.reason, str(error), content)
                continue
            chars += _weight(rows[-1])
            if len(rows) >= self.size.rows or chars >= self.size.chars:
                check()
                yield self.mapper.block(rows)
                rows, chars = [], 0
        if rows:
            yield self.mapper.block(rows)
        if names:
            self.check_columns(file, names)
        if not some:
            raise FileRejected("Empty", f"{file.path} holds no rows")

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


def _weight(row: Mapping[str, Any]) -> int:
    """Return roughly the characters of a row."""
    total = 64
    for value in row.values():
        if isinstance(value, str):
            total += len(value)
        elif isinstance(value, list):
            total += sum(len(item["content"]) + 16 if isinstance(item, dict) else 8 for item in value)
    return total
