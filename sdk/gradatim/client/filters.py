"""Filters of a search, as typed on a command line or given in Python, in the form that the retrieval library takes. Pure.

Used by `gradatim.client.search` and `gradatim index query`. Whether an index has a field, and whether a value fits it, the library says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradatim.api.ragindex import MetadataField, MetadataType
from gradatim.client.errors import UnsupportedError

_FILTER = re.compile(r"^(?P<field>[A-Za-z_]\w*)\s*(?P<operator>>=|<=|!=|=|>|<)\s*(?P<value>.*)$", re.DOTALL)
_OPERATORS = {"=": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_BUILT_IN = {"page": MetadataType.INT, "row": MetadataType.INT}
_FORM = '{"year": {"gte": 2020}, "team": {"in": ["hr", "legal"]}}'
FilterMapping = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison as typed: field, operator of the retrieval library, value as text."""

    field: str
    operator: str
    value: str


def parse_filters(texts: Sequence[str]) -> tuple[Condition, ...]:
    """Return filters written as `field=value` (also !=, >, >=, <, <=). Raises `UnsupportedError` for anything else."""
    found = []
    for text in texts:
        match = _FILTER.match(text)
        if match is None:
            raise UnsupportedError(f"{text!r} is no filter; write field=value, or one of {', '.join(_OPERATORS)}")
        found.append(Condition(match["field"], _OPERATORS[match["operator"]], match["value"].strip()))
    return tuple(found)


def filter_input(
    filters: FilterMapping | Sequence[Condition], fields: Sequence[MetadataField]
) -> dict[str, dict[str, object]]:
    """Return filters as the retrieval library takes them.

    A mapping has typed values already. Values of conditions are typed by the index's schema, and several equalities on one field mean any
    of them. Raises `UnsupportedError` for anything else.
    """
    if isinstance(filters, Mapping):
        return {name: _operands(name, operands) for name, operands in filters.items()}
    if isinstance(filters, str) or not isinstance(filters, Sequence):
        raise UnsupportedError(f"{filters!r} is no filter; write a mapping such as {_FORM}")
    for item in filters:
        if not isinstance(item, Condition):
            raise UnsupportedError(f"{item!r} in the filters is no Condition; write a mapping such as {_FORM}")
    return _typed_input(filters, fields)


def _operands(name: str, operands: object) -> dict[str, object]:
    if not isinstance(operands, Mapping):
        raise UnsupportedError(f"the filter on {name} has no operator; write a mapping such as {_FORM}")
    return dict(operands)


def _typed_input(conditions: Sequence[Condition], fields: Sequence[MetadataField]) -> dict[str, dict[str, object]]:
    types = _BUILT_IN | {f.name: f.type for f in fields}
    found: dict[str, dict[str, object]] = {}
    for condition in conditions:
        value = _typed(condition, types.get(condition.field, MetadataType.TEXT))
        known = found.setdefault(condition.field, {})
        if condition.operator == "eq" and ("eq" in known or "in" in known):
            earlier = known.pop("in", None)
            values = list(earlier) if isinstance(earlier, list) else [known.pop("eq")]
            known["in"] = [*values, value]
        elif condition.operator in known:
            raise UnsupportedError(f"the filter on {condition.field} is given twice")
        else:
            known[condition.operator] = value
    return found


def _typed(condition: Condition, kind: MetadataType) -> object:
    text = condition.value
    try:
        if kind is MetadataType.INT:
            return int(text)
        if kind is MetadataType.NUMBER:
            return float(text)
    except ValueError as error:
        raise UnsupportedError(f"{condition.field} is of type {kind.value}, and {text!r} is not one") from error
    if kind is MetadataType.BOOLEAN:
        if text.lower() not in {"true", "false"}:
            raise UnsupportedError(f"{condition.field} is of type boolean: write true or false, not {text!r}")
        return text.lower() == "true"
    return text
