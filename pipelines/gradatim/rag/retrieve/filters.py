"""Reads filters as a user writes them and turns them into conditions, then into the store's own form.

`{"department": "hr", "published": {"gte": "2024-01-01"}, "source": {"in": ["a", "b"]}}`: every entry must hold. Pure. A field or operator
that does not exist is an error that names those that do: a filter that is dropped silently would show documents it should hide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from gradatim.api.ragindex import MetadataField, MetadataType
from gradatim.rag.model import RagError
from gradatim.rag.store import names as s
from gradatim.rag.store.rows import TypedValue, as_date

MAX_VALUES = 1000
FilterInput = Mapping[str, object]


class FilterError(RagError):
    """A filter names an unknown field or operator, or gives a value of the wrong type."""


class Operator(StrEnum):
    """How a value is compared."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"


_ORDERED = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_BUILT_IN = {
    "source": (s.SOURCE, MetadataType.TEXT),
    "uri": (s.URI, MetadataType.TEXT),
    "document": (s.DOCUMENT, MetadataType.TEXT),
    "page": (s.PAGE, MetadataType.INT),
    "row": (s.ROW, MetadataType.INT),
}

_PYTHON: dict[MetadataType, tuple[type[str] | type[int] | type[float] | type[bool], ...]] = {
    MetadataType.TEXT: (str,),
    MetadataType.INT: (int,),
    MetadataType.NUMBER: (int, float),
    MetadataType.BOOLEAN: (bool,),
    MetadataType.DATE: (),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a property; the value of `in` is a tuple."""

    property: str
    operator: Operator
    value: TypedValue | tuple[TypedValue, ...]


def parse_filters(filters: FilterInput | None, fields: Sequence[MetadataField]) -> tuple[Condition, ...]:
    """Return the conditions of a filter. Raises FilterError naming the field, and what would be accepted."""
    known = dict(_BUILT_IN)
    closed = {field.name for field in fields if not field.filterable}
    # A declared field hides a built-in one of the same name: the user chose it.
    known |= {field.name: (s.metadata_property(field.name), field.type) for field in fields if field.filterable}
    found: list[Condition] = []
    for name, value in (filters or {}).items():
        if name not in known:
            why = "is not filterable: set filterable in the schema" if name in closed else "is not known"
            raise FilterError(f"filter field {name!r} {why}; filterable are {', '.join(sorted(known))}")
        found += _conditions(name, known[name], value)
    return tuple(found)


def _conditions(name: str, target: tuple[str, MetadataType], value: object) -> list[Condition]:
    prop, kind = target
    if not isinstance(value, Mapping):
        operator = Operator.IN if isinstance(value, list | tuple | set | frozenset) else Operator.EQ
        value = {operator.value: value}
    if not value:
        raise FilterError(f"filter field {name!r} has no condition; write a value or one of {_names()}")
    found: list[Condition] = []
    for key, operand in value.items():
        try:
            operator = Operator(str(key))
        except ValueError as error:
            raise FilterError(
                f"filter field {name!r} has the unknown operator {key!r}; known are {_names()}"
            ) from error
        if operator in _ORDERED and kind in (MetadataType.TEXT, MetadataType.BOOLEAN):
            raise FilterError(f"filter field {name!r} is of type {kind.value} and cannot be compared with {key!r}")
        if operator is Operator.IN:
            found.append(Condition(prop, operator, _many(name, kind, operand)))
        else:
            found.append(Condition(prop, operator, _one(name, kind, operand)))
    return found


def _names() -> str:
    return ", ".join(operator.value for operator in Operator)


def _many(name: str, kind: MetadataType, operand: object) -> tuple[TypedValue, ...]:
    if not isinstance(operand, list | tuple | set | frozenset) or not 0 < len(operand) <= MAX_VALUES:
        raise FilterError(f"filter field {name!r}: 'in' needs a list of 1 to {MAX_VALUES} values")
    values = tuple(_one(name, kind, item) for item in operand)
    return tuple(sorted(values, key=str)) if isinstance(operand, set | frozenset) else values


def _one(name: str, kind: MetadataType, operand: object) -> TypedValue:
    if kind is MetadataType.DATE and isinstance(operand, str | date | datetime):
        try:
            return as_date(operand)
        except ValueError as error:
            raise FilterError(f"filter field {name!r} needs a date such as 2024-05-31, not {operand!r}") from error
    accepted = _PYTHON[kind]
    # A bool is an int to Python, never to a user.
    if not isinstance(operand, accepted) or (isinstance(operand, bool) and kind is not MetadataType.BOOLEAN):
        raise FilterError(f"filter field {name!r} needs a value of type {kind.value}, not {operand!r}")
    return float(operand) if kind is MetadataType.NUMBER and isinstance(operand, int) else operand


def to_store(conditions: Sequence[Condition]) -> Any:
    """Return the store's filter for conditions that must all hold; None for none."""
    if not conditions:
        return None
    # The client costs a second to import; whoever only reads filters does without.
    from weaviate.classes.query import Filter

    parts = [_store_condition(Filter.by_property(item.property), item) for item in conditions]
    return parts[0] if len(parts) == 1 else Filter.all_of(parts)


def _store_condition(by: Any, condition: Condition) -> Any:
    value = condition.value
    if condition.operator is Operator.IN:
        values: Any = list(value) if isinstance(value, tuple) else [value]
        return by.contains_any(values)
    if isinstance(value, tuple):
        raise FilterError(f"{condition.property}: only 'in' takes several values")
    return {
        Operator.EQ: by.equal,
        Operator.NE: by.not_equal,
        Operator.GT: by.greater_than,
        Operator.GTE: by.greater_or_equal,
        Operator.LT: by.less_than,
        Operator.LTE: by.less_or_equal,
    }[condition.operator](value)
