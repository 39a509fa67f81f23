"""Columns as pandas sees them, and columns of all rows put together from blocks in little memory.

Pure. A block's column has the type that the column of all rows would have, so that a verdict does not depend on where blocks begin. Numbers take
eight bytes a row, texts four bytes a row and each different text once, equality alone sixteen bytes a row until it is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

WHOLE_BYTES = 256 << 20
_OBJECT_BYTES = 64
_NESTED_FACTOR = 8


class TooMuchError(Exception):
    """The different values of a column exceed `WHOLE_BYTES`."""


@dataclass(frozen=True, slots=True)
class Part:
    """A block's share of a column: an array of numbers, codes into `values`, hashes with nulls, or objects."""

    numbers: npt.NDArray[np.generic] | None = None
    codes: npt.NDArray[np.int32] | None = None
    values: tuple[object, ...] = ()
    hashes: npt.NDArray[np.uint64] | None = None
    objects: tuple[object, ...] | None = None
    size: int = 0


def frame_of(table: pa.Table, names: Iterable[str], nullable: frozenset[str]) -> pd.DataFrame:
    """Return columns of a block as pandas, with plain Python text so that types are judged by row."""
    columns = {name: series(table.column(name), nullable=name in nullable) for name in dict.fromkeys(names)}
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))


def series(column: pa.ChunkedArray, *, nullable: bool) -> pd.Series:
    """Return a column of a block; `nullable` tells that some block of it lacks a value."""
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if (number or pa.types.is_boolean(kind)) and not nullable:
        return pd.Series(column.to_numpy())
    if number:
        return pd.Series(column.to_pandas(integer_object_nulls=False).astype("float64"))
    return pd.Series(column.to_pylist(), dtype=object)


def part_of(column: pa.ChunkedArray, *, nullable: bool, identity: bool) -> Part:
    """Return what a block keeps of a column for the verdict over all rows; with `identity` only which values are equal."""
    kind = column.type
    if pa.types.is_nested(kind):
        return Part(objects=tuple(column.to_pylist()), size=column.nbytes * _NESTED_FACTOR)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or (pa.types.is_boolean(kind) and not nullable):
        return Part(numbers=series(column, nullable=nullable).to_numpy())
    if identity and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return Part(hashes=_hashes(column.to_pylist()))
    known: dict[object, int] = {}
    codes = [-1 if value is None else known.setdefault(value, len(known)) for value in column.to_pylist()]
    return Part(codes=np.array(codes, dtype=np.int32), values=tuple(known))


def _hashes(texts: Sequence[str | None]) -> npt.NDArray[np.uint64]:
    """Return 128 bits per text, shape (rows, 2); a null is all zeros, which no text is in practice."""
    null = bytes(16)
    data = b"".join(null if t is None else hashlib.blake2b(t.encode(), digest_size=16).digest() for t in texts)
    return np.frombuffer(data, dtype=np.uint64).reshape(-1, 2)


@dataclass(slots=True)
class Gathered:
    """The parts of one column, in order."""

    parts: list[Part] = field(default_factory=list)
    _codes: dict[object, int] = field(default_factory=dict)
    _bytes: int = 0

    def add(self, part: Part) -> None:
        """Take the next block's part. Raises TooMuchError beyond `WHOLE_BYTES` of different values."""
        self._bytes += part.size
        if part.codes is not None:
            for value in part.values:
                if value not in self._codes:
                    self._codes[value] = len(self._codes)
                    self._bytes += _OBJECT_BYTES + (len(value) if isinstance(value, str) else 0)
            table = np.array([self._codes[value] for value in part.values] + [-1], dtype=np.int32)
            part = Part(codes=table[part.codes])
        if self._bytes > WHOLE_BYTES:
            raise TooMuchError
        self.parts.append(part)

    def series(self) -> pd.Series:
        """Return the column of all rows."""
        first = self.parts[0]
        if first.numbers is not None:
            return pd.Series(np.concatenate([part.numbers for part in self.parts if part.numbers is not None]))
        if first.hashes is not None:
            return _numbered(np.concatenate([part.hashes for part in self.parts if part.hashes is not None]))
        if first.objects is not None:
            return pd.Series([value for part in self.parts for value in part.objects or ()], dtype=object)
        codes = np.concatenate([part.codes for part in self.parts if part.codes is not None])
        values = np.empty(len(self._codes) + 1, dtype=object)
        values[:-1] = list(self._codes)
        return pd.Series(values[codes], dtype=object)


def _numbered(hashes: npt.NDArray[np.uint64]) -> pd.Series:
    """Return numbers that are equal where the hashes are; a null is missing."""
    order = np.lexsort(hashes.T)
    new = np.ones(len(hashes), dtype=bool)
    new[1:] = (hashes[order[1:]] != hashes[order[:-1]]).any(axis=1)
    numbers = np.empty(len(hashes), dtype=np.float64)
    numbers[order] = np.cumsum(new)
    numbers[~hashes.any(axis=1)] = np.nan
    return pd.Series(numbers)
