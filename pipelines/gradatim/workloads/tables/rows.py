"""All rows of a Dataset on disk, for as many passes as it takes: blocks in order, each small enough for memory.

Used by the `validate` workload after reading. Small files are packed into one file of the store, because opening a hundred thousand of them
once per pass would cost more than the passes; large ones are read where the cache has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.cache import Stored
from gradatim.workloads.tables.columns import Kinds
from gradatim.workloads.tables.frames import Frame, decode
from gradatim.workloads.tables.schema import Mapper, Place, conform

SMALL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PassSize:
    """A block of a pass joins blocks of files until it has these rows or bytes in memory."""

    rows: int = 10_000
    bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Some rows as they lie on disk: `start` is the number of the first, `parts` are frames with the kinds of their files."""

    start: int
    rows: int
    parts: tuple[tuple[bytes, Mapping[str, Kinds]], ...]

    @property
    def span(self) -> slice:
        """Where the rows stand among all rows."""
        return slice(self.start, self.start + self.rows)

    def table(self, schema: pa.Schema) -> pa.Table:
        """Return the rows in the schema of all files."""
        return pa.concat_tables([conform(decode(data), kinds, schema) for data, kinds in self.parts]).combine_chunks()


@dataclass(frozen=True, slots=True)
class _Piece:
    path: str
    frame: Frame
    file: int


@dataclass(slots=True)
class Rows:
    """The rows of all files in order. Filled by `add`, read by `blocks` once `schema` is asked for."""

    store: ArtifactStore
    mapper: Mapper
    source: str
    size: PassSize = PassSize()
    total: int = 0
    _files: list[str] = field(default_factory=list)
    _kinds: list[Mapping[str, Kinds]] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _pieces: list[_Piece] = field(default_factory=list)
    _nullable: set[str] = field(default_factory=set)
    _known: dict[frozenset[tuple[str, Kinds]], Mapping[str, Kinds]] = field(default_factory=dict)

    def add(self, file: str, stored: Stored, pack: pa.NativeFile, pack_path: str) -> None:
        """Take a file's blocks; a small file is copied to `pack`, an open file of the store that nobody reads yet."""
        if not stored.rows:
            return
        number = len(self._files)
        self._files.append(file)
        # Files of one source mostly have the same columns: one mapping serves them all.
        self._kinds.append(self._known.setdefault(frozenset(stored.kinds.items()), stored.kinds))
        self._starts.append(self.total)
        self._nullable |= stored.nullable
        self.total += stored.rows
        first, last = stored.blocks[0], stored.blocks[-1]
        length = last.offset + last.length - first.offset
        if length > SMALL_BYTES:
            self._pieces += [_Piece(stored.path, frame, number) for frame in stored.blocks]
            return
        with self.store.open_input(stored.path) as stream:
            data = stream.read_at(length, first.offset)
        shift = pack.tell() - first.offset
        pack.write(data)
        moved = [Frame(frame.offset + shift, frame.length, frame.rows, frame.memory) for frame in stored.blocks]
        self._pieces += [_Piece(pack_path, frame, number) for frame in moved]

    def schema(self) -> pa.Schema:
        """Return the columns of all rows."""
        return self.mapper.schema(self._known.values())

    def nullable(self) -> frozenset[str]:
        """Return the columns that lack a value in some row."""
        columns = {name for kinds in self._known.values() for name in kinds}
        partial = {name for name in columns if any(name not in kinds for kinds in self._known.values())}
        return frozenset(self._nullable | partial)

    def blocks(self) -> Iterator[RawBlock]:
        """Yield all rows in order, in blocks."""
        start, rows, memory = 0, 0, 0
        parts: list[tuple[bytes, Mapping[str, Kinds]]] = []
        for piece, data in self._read():
            parts.append((data, self._kinds[piece.file]))
            rows += piece.frame.rows
            memory += piece.frame.memory
            if rows >= self.size.rows or memory >= self.size.bytes:
                yield RawBlock(start, rows, tuple(parts))
                start, rows, memory, parts = start + rows, 0, 0, []
        if parts:
            yield RawBlock(start, rows, tuple(parts))

    def place(self, number: int, locators: Locators) -> Place:
        """Return where a row stands in the source."""
        file = self._files[int(np.searchsorted(self._starts, number, side="right")) - 1]
        return locators.place(self.source, file, number)

    def _read(self) -> Iterator[tuple[_Piece, bytes]]:
        path, stream = "", None
        try:
            for piece in self._pieces:
                if stream is None or piece.path != path:
                    if stream is not None:
                        stream.close()
                    path, stream = piece.path, self.store.open_input(piece.path)
                yield piece, stream.read_at(piece.frame.length, piece.frame.offset)
        finally:
            if stream is not None:
                stream.close()


@dataclass(frozen=True, slots=True)
class Locators:
    """Row and page of every row; 0 stands for none."""

    row: npt.NDArray[np.int64]
    page: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int) -> Locators:
        """Return room for this many rows."""
        return cls(np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))

    def place(self, source: str, file: str, number: int) -> Place:
        """Return the place of a row."""
        return Place(source, file, int(self.row[number]) or None, int(self.page[number]) or None)
