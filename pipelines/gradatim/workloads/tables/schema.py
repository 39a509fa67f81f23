"""What a row is: the columns of each schema kind, and how a raw row becomes one.

Pure. Readers hand over raw rows with their place; a row that cannot be mapped raises `RowError` and is rejected by itself. Columns that no
kind knows become `metadata.<name>`, so nothing that a file says is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from gradatim.api.dataset import SchemaKind
from gradatim.rag.model import document_id
from gradatim.workloads.tables.columns import Kinds, as_text, lossless, noted_kinds, plain, restored, type_of

LOCATORS = ("source", "file", "row", "page")
METADATA = "metadata."
MAX_METADATA_COLUMNS = 256
ROLES = frozenset({"system", "user", "assistant", "tool"})
MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))

REQUIRED: Mapping[SchemaKind, tuple[str, ...]] = {
    SchemaKind.DOCUMENTS: ("text",),
    SchemaKind.INSTRUCTION: ("instruction", "output"),
    SchemaKind.CHAT: ("messages",),
    SchemaKind.PREFERENCE: ("prompt", "chosen", "rejected"),
    SchemaKind.TEXT: ("text",),
}
OPTIONAL: Mapping[SchemaKind, tuple[str, ...]] = {SchemaKind.DOCUMENTS: ("id",), SchemaKind.INSTRUCTION: ("input",)}
# What a row says, for duplicates, contamination and splits; ids and metadata are not content.
CONTENT: Mapping[SchemaKind, tuple[str, ...]] = {
    SchemaKind.DOCUMENTS: ("text",),
    SchemaKind.INSTRUCTION: ("instruction", "input", "output"),
    SchemaKind.CHAT: ("messages",),
    SchemaKind.PREFERENCE: ("prompt", "chosen", "rejected"),
    SchemaKind.TEXT: ("text",),
}
# Facts about parsed text, the columns that expectations on documents may use.
FACTS: Mapping[str, pa.DataType] = {
    "chars": pa.int64(), "pages": pa.int64(), "page_starts": pa.list_(pa.int64()), "replacement_ratio": pa.float64(),
    "parser": pa.string(),
}  # fmt: skip
LOCATOR_TYPES: Mapping[str, pa.DataType] = {
    "source": pa.string(), "file": pa.string(), "row": pa.int64(), "page": pa.int64(),
}  # fmt: skip
REJECT_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()), pa.field("file", pa.string()), pa.field("row", pa.int64()), pa.field("page", pa.int64()),
        pa.field("reason", pa.string()), pa.field("message", pa.string()), pa.field("content", pa.string()),
    ]
)  # fmt: skip


class RowError(Exception):
    """One row cannot be used; `reason` is a CamelCase code that is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: row and page count from 1, None where the format has none."""

    source: str
    file: str
    row: int | None = None
    page: int | None = None

    def __str__(self) -> str:
        text = f"{self.source}:{self.file}" if self.file else self.source
        if self.row is not None:
            text += f":{self.row}"
        return text if self.page is None else f"{text} page {self.page}"


@dataclass(frozen=True, slots=True)
class Reject:
    """A row or file that was left out, with the reason's code and as much of its content as is known."""

    place: Place
    reason: str
    message: str
    content: str = ""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as a reader found it. `facts` are known for parsed documents."""

    place: Place
    values: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mapper:
    """Maps raw rows of one schema kind. `columns` renames: canonical name to the name in the source."""

    kind: SchemaKind
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The canonical columns."""
        return (*OPTIONAL.get(self.kind, ()), *REQUIRED[self.kind])

    def wanted(self, canonical: str) -> str:
        """Return the name that a canonical column has in the source."""
        return self.columns.get(canonical, canonical)

    def missing(self, found: Iterable[str]) -> list[str]:
        """Return the source names of required columns that are not among `found`."""
        names = set(found)
        needed = [*REQUIRED[self.kind], *(name for name in self.columns if name not in REQUIRED[self.kind])]
        return [self.wanted(name) for name in needed if self.wanted(name) not in names]

    def map(self, raw: RawRow, parser: str) -> dict[str, Any]:
        """Return the row's canonical values, locators, facts and metadata. Raises RowError."""
        values = raw.values
        row: dict[str, Any] = {}
        for name in self.names:
            value = values.get(self.wanted(name))
            row[name] = _messages(value) if name == "messages" else _text(name, value, loose=name == "id")
        used = {self.wanted(name) for name in self.names}
        for name, source_name in self.columns.items():
            if name not in self.names:
                used.add(source_name)
                row[METADATA + name] = _scalar(values.get(source_name))
        for name, value in values.items():
            if name not in used:
                row.update(_metadata(name, value))
        if self.kind is SchemaKind.INSTRUCTION and row["input"] is None:
            row["input"] = ""
        place = raw.place
        row |= {"source": place.source, "file": place.file, "row": place.row, "page": place.page}
        if self.kind is SchemaKind.DOCUMENTS:
            row["id"] = row["id"] or document_id(place.source, place.file, place.row)
            row |= {"chars": len(row["text"] or ""), "parser": parser, "replacement_ratio": 0.0} | dict(raw.facts)
        return row

    def types(self) -> dict[str, pa.DataType]:
        """Return the fixed columns with their types, in order."""
        found = {name: MESSAGES if name == "messages" else pa.string() for name in self.names}
        facts = FACTS if self.kind is SchemaKind.DOCUMENTS else {}
        return {**found, **LOCATOR_TYPES, **facts}

    def block(self, rows: list[dict[str, Any]]) -> pa.Table:
        """Build a block of mapped rows: fixed columns first, then metadata by name in the form of `columns.lossless`."""
        fixed = self.types()
        extra = sorted({name for row in rows for name in row if name not in fixed})
        fields = [pa.field(name, kind) for name, kind in fixed.items()]
        arrays = [pa.array([row.get(name) for row in rows], kind) for name, kind in fixed.items()]
        for name in extra:
            field, array = lossless(name, [row.get(name) for row in rows])
            fields.append(field)
            arrays.append(array)
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def schema(self, files: Iterable[Mapping[str, Kinds]]) -> pa.Schema:
        """Return the columns of all files together; a metadata column whose type differs between files becomes text."""
        types = dict(self.types())
        for file in files:
            for name, kinds in file.items():
                own = type_of(kinds)
                types[name] = _common(types[name], own) if name in types else own
        fixed = list(self.types())
        return pa.schema([(name, types[name]) for name in [*fixed, *sorted(types.keys() - set(fixed))]])


def conform(block: pa.Table, file: Mapping[str, Kinds], schema: pa.Schema) -> pa.Table:
    """Return a block in the schema of all files: first in the types of its own file, then in those of all."""
    arrays = []
    for column in schema:
        if column.name not in block.column_names:
            arrays.append(pa.chunked_array([pa.nulls(block.num_rows, column.type)]))
            continue
        found = block.column(column.name)
        kinds = noted_kinds(block.schema.field(column.name))
        if kinds is not None:
            found = restored(found, kinds, file[column.name])
        if found.type != column.type and pa.types.is_string(column.type):
            found = pa.chunked_array([[None if v is None else as_text(v) for v in found.to_pylist()]], pa.string())
        arrays.append(found.cast(column.type, safe=False))
    return pa.Table.from_arrays(arrays, schema=schema)


def resolve_column(names: Iterable[str], wanted: str) -> str | None:
    """Return the column that a user means by `wanted`: itself, or the metadata column of that name."""
    known = set(names)
    if wanted in known:
        return wanted
    return METADATA + wanted if METADATA + wanted in known else None


def _common(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    numbers = {pa.int64(), pa.float64()}
    return pa.float64() if {left, right} <= numbers else pa.string()


def _metadata(name: str, value: Any) -> dict[str, Any]:
    """A member `metadata` that is an object is one level of names, as our own Datasets write it."""
    if name == "metadata" and isinstance(value, dict):
        return {METADATA + _valid(str(key)): _scalar(item) for key, item in value.items()}
    return {METADATA + _valid(name).removeprefix(METADATA): _scalar(value)}


def _scalar(value: Any) -> Any:
    if isinstance(value, bytes):
        raise RowError("WrongType", "a column holds binary data; leave it out or convert it to text")
    if isinstance(value, list | tuple | dict):
        return _valid(json.dumps(value, ensure_ascii=False, default=plain))
    found = plain(value)
    return _valid(found) if isinstance(found, str) else found


def _text(name: str, value: Any, *, loose: bool) -> str | None:
    if value is None:
        return None
    if loose and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RowError("WrongType", f"column {name} holds {type(value).__name__}, expected text")
    return _valid(value)


def _valid(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        text = f"character {error.start + 1} is not valid in {error.encoding}; the file is probably in another encoding"
        raise RowError("WrongEncoding", text) from error
    return value


def _messages(value: Any) -> list[dict[str, str]] | None:
    if isinstance(value, str):  # csv and some hubs carry the list as JSON text
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowError("BadMessages", "column messages is text that is not JSON") from error
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise RowError("BadMessages", "column messages must be a list with at least one message")
    return [_message(number, item) for number, item in enumerate(value, 1)]


def _message(number: int, item: Any) -> dict[str, str]:
    if not isinstance(item, dict):
        raise RowError("BadMessages", f"message {number} is not an object with role and content")
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise RowError(
            "BadRole", f"message {number} has role {str(role)[:40]!r}, expected one of {', '.join(sorted(ROLES))}"
        )
    if not isinstance(content, str):
        raise RowError("BadMessages", f"message {number} has no text as content")
    others = sorted(str(key) for key, member in item.items() if key not in {"role", "content"} and member is not None)
    if others:
        raise RowError("BadMessages", f"message {number} has members that are not kept: {', '.join(others)[:100]}")
    return {"role": role, "content": _valid(content)}
