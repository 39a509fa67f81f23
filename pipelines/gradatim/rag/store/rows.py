"""One chunk as it lies in a collection: the values, their properties and back, a fingerprint and its size.

The loader writes these properties, the retriever reads them. Pure. The fingerprint covers every property, so that two versions of a chunk
can be compared without reading the text back; the vector is no part of it: text and encoder fix it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from gradatim.api.ragindex import MetadataField, MetadataType
from gradatim.rag.model import RagError
from gradatim.rag.store import names as s

TENANT_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")  # for fullmatch: `$` would let a final line end through
TypedValue = str | int | float | bool | datetime
_OVERHEAD_BYTES = 512
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


class MetadataError(RagError):
    """A metadata value is not of the type that the schema declares; the message names field, type and value."""


@dataclass(frozen=True, slots=True)
class ParentSpan:
    """The larger window a chunk lies in. Only the first chunk of a parent (`carrier`) carries its text."""

    id: str
    carrier: str
    start: int
    end: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A chunk with what a hit needs to cite it. `metadata` is typed by the schema; `tenant` is set with tenancy only."""

    id: str
    document_id: str
    source: str
    uri: str
    index: int
    start: int
    end: int
    text: str
    page: int | None = None
    row: int | None = None
    headings: tuple[str, ...] = ()
    metadata: Mapping[str, TypedValue] = field(default_factory=dict)
    parent: ParentSpan | None = None
    tenant: str | None = None


def to_properties(row: IndexRow) -> dict[str, Any]:
    """Return the properties of a row, the fingerprint included; absent values are left out."""
    found: dict[str, Any] = {
        s.TEXT: row.text,
        s.DOCUMENT: row.document_id,
        s.SOURCE: row.source,
        s.URI: row.uri,
        s.INDEX: row.index,
        s.START: row.start,
        s.END: row.end,
    }
    if row.page is not None:
        found[s.PAGE] = row.page
    if row.row is not None:
        found[s.ROW] = row.row
    if row.headings:
        found[s.HEADINGS] = list(row.headings)
    if row.parent is not None:
        found |= {
            s.PARENT: row.parent.id,
            s.PARENT_CARRIER: row.parent.carrier,
            s.PARENT_START: row.parent.start,
            s.PARENT_END: row.parent.end,
        }
        if row.parent.text is not None:
            found[s.PARENT_TEXT] = row.parent.text
    for name, value in row.metadata.items():
        found[s.metadata_property(name)] = value.isoformat() if isinstance(value, datetime) else value
    found[s.FINGERPRINT] = fingerprint(found)
    return found


def fingerprint(properties: Mapping[str, Any]) -> str:
    """Return 32 hex digits over all properties but the fingerprint itself."""
    rest = {name: value for name, value in properties.items() if name != s.FINGERPRINT}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def from_properties(chunk_id: str, found: Mapping[str, Any], tenant: str | None = None) -> IndexRow:
    """Return the row that an object of a collection stands for."""
    parent = None
    if found.get(s.PARENT):
        parent = ParentSpan(
            id=str(found[s.PARENT]),
            carrier=str(found[s.PARENT_CARRIER]),
            start=int(found[s.PARENT_START]),
            end=int(found[s.PARENT_END]),
            text=found.get(s.PARENT_TEXT),
        )
    prefix = s.METADATA_PREFIX
    return IndexRow(
        id=chunk_id,
        document_id=str(found[s.DOCUMENT]),
        source=str(found[s.SOURCE]),
        uri=str(found[s.URI]),
        index=int(found[s.INDEX]),
        start=int(found[s.START]),
        end=int(found[s.END]),
        text=str(found[s.TEXT]),
        page=None if found.get(s.PAGE) is None else int(found[s.PAGE]),
        row=None if found.get(s.ROW) is None else int(found[s.ROW]),
        headings=tuple(found.get(s.HEADINGS) or ()),
        metadata={
            name.removeprefix(prefix): value
            for name, value in found.items()
            if name.startswith(prefix) and value is not None
        },
        parent=parent,
        tenant=tenant,
    )


def size_of(row: IndexRow, dimension: int) -> int:
    """Return about how many bytes the row and its vector take in a request."""
    texts = [row.text, row.source, row.uri, *row.headings, *map(str, row.metadata.values())]
    if row.parent is not None and row.parent.text is not None:
        texts.append(row.parent.text)
    return sum(len(text.encode("utf-8", "replace")) for text in texts) + 4 * dimension + _OVERHEAD_BYTES


def typed_metadata(values: Mapping[str, object], fields: tuple[MetadataField, ...]) -> dict[str, TypedValue]:
    """Return the declared fields of a document's metadata in their types; undeclared and empty ones are left out.

    Raises MetadataError for a value that does not read as its type.
    """
    found: dict[str, TypedValue] = {}
    for declared in fields:
        value = values.get(declared.name)
        if value is None or (isinstance(value, str) and not value.strip() and declared.type is not MetadataType.TEXT):
            continue
        try:
            found[declared.name] = _typed(value, declared.type)
        except (ValueError, TypeError, OverflowError) as error:
            raise MetadataError(
                f"metadata field {declared.name} must be of type {declared.type.value}, but is {str(value)[:80]!r}; "
                "correct the document or the schema"
            ) from error
    return found


def _typed(value: object, kind: MetadataType) -> TypedValue:
    if kind is MetadataType.TEXT:
        return ", ".join(str(item) for item in value) if isinstance(value, tuple | list) else str(value)
    if kind is MetadataType.DATE:
        return as_date(value)
    if kind is MetadataType.BOOLEAN:
        return _boolean(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"{type(value).__name__} is not a number")
    if kind is MetadataType.INT:
        number = int(value) if not isinstance(value, float) else _whole(value)
        if abs(number) > 2**53:
            raise ValueError("too large for the vector store")
        return number
    real = float(value)
    if not math.isfinite(real):
        raise ValueError("not finite")
    return real


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError("not a whole number")
    return int(value)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("not a boolean")
    return word in _TRUE


def as_date(value: object) -> datetime:
    """Return a date or RFC 3339 time as a time with zone; one without zone is UTC. Raises ValueError or TypeError."""
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        found = datetime.combine(value, time())
    elif isinstance(value, str):
        found = datetime.fromisoformat(value.strip())
    else:
        raise TypeError(f"{type(value).__name__} is not a date")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
