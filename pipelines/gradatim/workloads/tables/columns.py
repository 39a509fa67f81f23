"""Values and types of free metadata columns, and a form of a column that loses nothing until all values of its file are known.

Pure. A file is read in blocks, and its column of numbers may turn to text in the last one: what the first block holds must then still say
whether it was 1 or 1.0. Used by `schema.py`, which knows the fixed columns, and by the parsing of an index: both read the same value alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

Kinds = frozenset[str]
KINDS_KEY = b"gradatim.kinds"
_NAMES: Mapping[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}
_PLAIN: Mapping[Kinds, pa.DataType] = {
    frozenset(): pa.null(),
    frozenset({"bool"}): pa.bool_(),
    frozenset({"int"}): pa.int64(),
    frozenset({"float"}): pa.float64(),
    frozenset({"str"}): pa.string(),
}
_NUMBERS = frozenset({"int", "wide", "float"})
_WIDE, _HUGE = 2**63, 2**1023


def plain(value: object) -> bool | int | float | str | None:
    """Return a value that is neither list nor object nor binary as JSON would have it; None for what is no number, as JSON has no name for it."""
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    return str(value)


def kinds_of(values: Iterable[Any]) -> Kinds:
    """Return what sorts of values there are: bool, int, float, str, wide (beyond 64 bits) and huge (beyond a float)."""
    found = {_NAMES[type(value)] for value in values if value is not None}
    if "int" in found:
        integers = [value for value in values if type(value) is int]
        found -= {"int"}
        found |= {_integer(value) for value in (min(integers), max(integers))}
        if any(-_WIDE <= value < _WIDE for value in integers):
            found.add("int")
    return frozenset(found)


def type_of(kinds: Kinds) -> pa.DataType:
    """Return the type of a column that holds all these sorts: a mixture is text unless all are numbers."""
    if kinds in _PLAIN:
        return _PLAIN[kinds]
    return pa.float64() if kinds <= _NUMBERS else pa.string()


def lossless(name: str, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    """Return a column with what it holds noted in its field; a mixture is kept as JSON."""
    kinds = kinds_of(values)
    if kinds in _PLAIN:
        array = pa.array(values, _PLAIN[kinds])
    else:
        array = pa.array([None if v is None else json.dumps(v, ensure_ascii=False) for v in values], pa.string())
    return pa.field(name, array.type, metadata={KINDS_KEY: ",".join(sorted(kinds)).encode()}), array


def noted_kinds(field: pa.Field) -> Kinds | None:
    """Return the kinds that `lossless` noted; None for a column of a fixed type."""
    text = (field.metadata or {}).get(KINDS_KEY)
    return None if text is None else frozenset(text.decode().split(",")) - {""}


def restored(column: pa.ChunkedArray, own: Kinds, whole: Kinds) -> pa.ChunkedArray:
    """Return a column that `lossless` made, in the type that its whole file needs."""
    wanted = type_of(whole)
    if own in _PLAIN and column.type == wanted:
        return column
    if own == frozenset():
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    values = column.to_pylist()
    if own not in _PLAIN:
        values = [None if value is None else json.loads(value) for value in values]
    return pa.chunked_array([pa.array(_converted(values, wanted), wanted)])


def as_text(value: Any) -> str:
    """Return a value as a text column shows it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Decimal) -> int | float | str | None:
    """A decimal with more digits than a float holds becomes text, unless it has no places: its column is then one of whole numbers."""
    if not value.is_finite():
        return None
    near = float(value)
    exact = Decimal(repr(near)) == value or value.as_tuple().exponent == 0
    if not exact or not -_WIDE <= near < _WIDE:
        return str(value)
    return int(value) if value == value.to_integral_value() else near


def _converted(values: list[Any], wanted: pa.DataType) -> list[Any]:
    convert = float if pa.types.is_floating(wanted) else as_text
    return [None if value is None else convert(value) for value in values]


def _integer(value: int) -> str:
    if -_WIDE <= value < _WIDE:
        return "int"
    return "wide" if -_HUGE < value < _HUGE else "huge"
