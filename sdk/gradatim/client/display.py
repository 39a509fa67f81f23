"""How objects and lists show themselves: cells for tables, HTML for notebooks.

`install()` gives the API's types a `_repr_html_`; it is called once by `gradatim.client`. Everything is escaped: names and
messages come from others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Generic, SupportsIndex, TypeVar, overload

from gradatim.api.base import ReadModel
from gradatim.api.kinds import KINDS, Column, Kind

M = TypeVar("M", bound=ReadModel)
_DIGEST = re.compile(r"^sha256:([0-9a-f]{10})[0-9a-f]{54}$")
_FILTER = re.compile(r'^(?P<list>\w+)\[\?\(@\.(?P<key>\w+)=="(?P<value>[^"]*)"\)\]$')

_TELLING = ("Stalled", "Reconciling", "Current", "Degraded", "Ready")  # in the order in which the operator looks


def columns_of(kind: Kind, *, wide: bool = False, namespaced: bool = False) -> list[str]:
    """Return the headings of a kind's table."""
    shown = [c.name for c in kind.columns if wide or c.priority == 0]
    return [*(["Namespace"] if namespaced else []), "Name", *shown]


def cells_of(
    kind: Kind, body: Mapping[str, Any], *, now: datetime, wide: bool = False, namespaced: bool = False
) -> list[str]:
    """Return the cells of one object, in the order of `columns_of`."""
    meta = body["metadata"]
    first = [str(meta.get("namespace") or "")] if namespaced else []
    return [*first, str(meta["name"]), *(cell(c, body, now) for c in kind.columns if wide or c.priority == 0)]


def cell(column: Column, body: Mapping[str, Any], now: datetime) -> str:
    """Return the value of a printer column; digests are cut as in the list of versions."""
    found = _at(body, column.path)
    if found is None:
        return ""
    if column.type == "date":
        return age(str(found), now)
    text, mark = _DIGEST.sub(r"\1", str(found)), column.mark
    if mark is None:
        return text
    wanted = _at(body, mark.path)
    return f"{text} ({mark.word})" if wanted is not None and wanted == _at(body, mark.other) else text


def _at(body: Mapping[str, Any], path: str) -> Any:
    """Return what lies at a path, None where nothing does: the part of JSONPath that the table of kinds uses."""
    found: Any = body
    for part in re.findall(r"\.((?:\[.*?\]|[^.\[])+)", path):
        found = _step(found, part)
        if found is None:
            return None
    return found


def _step(value: Any, part: str) -> Any:
    match = _FILTER.match(part)
    if match is None:
        return value.get(part) if isinstance(value, Mapping) else None
    items = value.get(match["list"]) if isinstance(value, Mapping) else None
    return next((i for i in items or [] if i.get(match["key"]) == match["value"]), None)


def why(body: Mapping[str, Any]) -> str:
    """Return in a sentence why an object is not well, from the condition that its column Reason comes from; empty if it is."""
    status = body.get("status") or {}
    reason = status.get("reasonText")
    told = {c.get("type"): c for c in status.get("conditions") or [] if c.get("reason") == reason and c.get("message")}
    first = next((told[t] for t in _TELLING if t in told), None)
    return "" if reason is None else f"{reason}: {first['message']}" if first else str(reason)


def age(timestamp: str, now: datetime) -> str:
    """Return how long ago a time was, in the manner of kubectl: 45s, 12m, 5h, 3d."""
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return timestamp
    seconds = max(0, int((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()))
    for limit, unit, size in ((120, "s", 1), (7200, "m", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"


class Listing(Sequence[M], Generic[M]):
    """The objects of a list, with a table as its representation."""

    def __init__(self, kind: Kind, items: Iterable[M]) -> None:
        self.kind = kind
        self._items = tuple(items)

    @overload
    def __getitem__(self, index: SupportsIndex) -> M: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[M, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> M | tuple[M, ...]:
        """Return one object by position, or a slice as a tuple."""
        return self._items[index]

    def __len__(self) -> int:
        """Return how many objects there are."""
        return len(self._items)

    def rows(self, *, wide: bool = False) -> list[dict[str, str]]:
        """Return one flat row per object, for `pandas.DataFrame(listing.rows())`."""
        now = datetime.now(UTC)
        heads = columns_of(self.kind, wide=wide, namespaced=self.kind.namespaced)
        return [
            dict(
                zip(
                    heads,
                    cells_of(self.kind, m.to_manifest(), now=now, wide=wide, namespaced=self.kind.namespaced),
                    strict=True,
                )
            )
            for m in self._items
        ]

    def __repr__(self) -> str:
        """Return a plain table."""
        heads = columns_of(self.kind, namespaced=self.kind.namespaced)
        return plain_table(heads, [list(r.values()) for r in self.rows()]) or f"no {self.kind.plural}"

    def _repr_html_(self) -> str:
        heads = columns_of(self.kind, namespaced=self.kind.namespaced)
        return html_table(heads, [list(r.values()) for r in self.rows()])


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table in the manner of kubectl; empty without rows."""
    if not rows:
        return ""
    lines = [[h.upper() for h in heads], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return "\n".join("   ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table, everything escaped."""
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def object_html(thing: ReadModel) -> str:
    """Return one object as HTML: its columns, its conditions and its metrics."""
    body = thing.to_manifest()
    kind = next(k for k in KINDS if isinstance(thing, k.model))
    now = datetime.now(UTC)
    parts = [f"<h4>{escape(kind.name)} {escape(str(body['metadata']['name']))}</h4>"]
    parts.append(html_table(columns_of(kind, wide=True), [cells_of(kind, body, now=now, wide=True)]))
    status = body.get("status") or {}
    if conditions := status.get("conditions"):
        heads = ("type", "status", "reason", "message")
        parts.append(html_table(heads, [[str(c.get(h, "")) for h in heads] for c in conditions]))
    if metrics := (status.get("active") or {}).get("metrics"):
        keys = ("name", "value", "low", "high", "samples")
        parts.append(html_table(keys, [[_number(m.get(k)) for k in keys] for m in metrics]))
    return "".join(parts)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def install() -> None:
    """Let notebooks show the API's types as tables."""
    for kind in KINDS:
        kind.model._repr_html_ = object_html  # type: ignore[attr-defined]
