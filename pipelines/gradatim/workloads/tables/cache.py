"""Source files as blocks in the store: written once while a file is read, taken from there by later attempts and Runs.

Used by `reader.py`. A file is bounded in memory by one block, whatever its size. What was cut off while it was written does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gradatim.workloads.errors import NotFound
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.columns import Kinds, noted_kinds
from gradatim.workloads.tables.frames import TAIL, Frame, FramesError, decode, encode, index_length, tail
from gradatim.workloads.tables.rejects import from_reject_table, reject_table
from gradatim.workloads.tables.schema import Reject

MAX_INDEX = 1 << 28
_REJECTS = 5_000


@dataclass(frozen=True, slots=True)
class Stored:
    """One source file in the store. `kinds` are those of its metadata columns, `nullable` the columns that lack a value somewhere."""

    path: str
    blocks: tuple[Frame, ...]
    rejects: tuple[Frame, ...]
    kinds: Mapping[str, Kinds]
    nullable: frozenset[str]
    cached: bool = False

    @property
    def rows(self) -> int:
        """Rows of all blocks."""
        return sum(frame.rows for frame in self.blocks)

    @property
    def rejected(self) -> int:
        """Rows that were refused."""
        return sum(frame.rows for frame in self.rejects)


def write(store: ArtifactStore, path: str, items: Iterable[pa.Table | Reject]) -> Stored:
    """Write what reading a file gives; whatever reading raises passes through and leaves no complete file."""
    facts = _Facts()
    with store.open_output(path) as stream:
        pending: list[Reject] = []
        for item in items:
            if isinstance(item, Reject):
                pending.append(item)
            else:
                facts.see(item)
                facts.blocks.append(_append(stream, item))
            if len(pending) >= _REJECTS:
                facts.rejects.append(_append(stream, reject_table(pending)))
                pending = []
        if pending:
            facts.rejects.append(_append(stream, reject_table(pending)))
        found = facts.stored(path)
        stream.write(tail(_document(found)))
    return found


def load(store: ArtifactStore, path: str) -> Stored | None:
    """Return what `write` left; None where there is nothing, or only a part."""
    try:
        with store.open_input(path) as stream:
            size = stream.size()
            length = index_length(stream.read_at(TAIL, max(0, size - TAIL)))
            if length > min(MAX_INDEX, size - TAIL):
                return None
            return _parsed(path, json.loads(stream.read_at(length, size - TAIL - length)))
    except (NotFound, FramesError, ValueError, KeyError, TypeError, AttributeError):
        return None


def rejects_of(store: ArtifactStore, found: Stored) -> Iterator[Reject]:
    """Yield the rows that were refused, in order."""
    if not found.rejects:
        return
    with store.open_input(found.path) as stream:
        for frame in found.rejects:
            yield from from_reject_table(decode(stream.read_at(frame.length, frame.offset)))


class _Facts:
    """What is learnt about a file while its blocks pass."""

    def __init__(self) -> None:
        self.blocks: list[Frame] = []
        self.rejects: list[Frame] = []
        self._kinds: dict[str, Kinds] = {}
        self._columns: set[str] | None = None
        self._partial: set[str] = set()

    def see(self, table: pa.Table) -> None:
        names = set(table.column_names)
        if self._columns is not None:
            self._partial |= self._columns ^ names
        self._columns = names | (self._columns or set())
        for field, column in zip(table.schema, table.columns, strict=True):
            kinds = noted_kinds(field)
            if kinds is not None:
                self._kinds[field.name] = self._kinds.get(field.name, frozenset()) | kinds
            if column.null_count:
                self._partial.add(field.name)

    def stored(self, path: str) -> Stored:
        return Stored(path, tuple(self.blocks), tuple(self.rejects), self._kinds, frozenset(self._partial))


def _append(stream: pa.NativeFile, table: pa.Table) -> Frame:
    data, offset = encode(table), stream.tell()
    stream.write(data)
    return Frame(offset, len(data), table.num_rows, table.nbytes)


def _document(found: Stored) -> dict[str, Any]:
    return {
        "blocks": [[f.offset, f.length, f.rows, f.memory] for f in found.blocks],
        "rejects": [[f.offset, f.length, f.rows, f.memory] for f in found.rejects],
        "kinds": {name: sorted(kinds) for name, kinds in found.kinds.items()},
        "nullable": sorted(found.nullable),
    }


def _parsed(path: str, document: dict[str, Any]) -> Stored:
    return Stored(
        path,
        tuple(Frame(*map(int, item)) for item in document["blocks"]),
        tuple(Frame(*map(int, item)) for item in document["rejects"]),
        {name: frozenset(kinds) for name, kinds in document["kinds"].items()},
        frozenset(document["nullable"]),
        cached=True,
    )
