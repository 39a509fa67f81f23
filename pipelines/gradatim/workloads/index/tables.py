"""Arrow schemas of the index artifact and its checkpoints, and rows going in and out of them.

Every stage of the index workload passes tables of these schemas; the artifact's files have them too, so that a later build can carry rows
over without touching them. Pure conversions, no files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from gradatim.rag.model import Document, MetadataValue, RecognisedPage
from gradatim.rag.store.rows import IndexRow, ParentSpan, TypedValue, as_date

KEY_BYTES = 32

DOCUMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("file", pa.binary(KEY_BYTES)),
        ("source", pa.string()),
        ("path", pa.string()),
        ("row", pa.int64()),
        ("text", pa.large_string()),
        ("pages", pa.list_(pa.int64())),
        ("parser", pa.string()),
        ("replacement_ratio", pa.float64()),
        ("metadata", pa.string()),
        ("carried", pa.bool_()),
        ("rejected", pa.bool_()),
        ("recognised", pa.list_(pa.struct([("page", pa.int64()), ("confidence", pa.float64())]))),
    ]
)
REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("path", pa.string()),
        ("page", pa.int64()),
        ("row", pa.int64()),
        ("document", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("file", pa.binary(KEY_BYTES)),
    ]
)
CHUNKS = pa.schema(
    [
        ("id", pa.string()),
        ("document", pa.string()),
        ("key", pa.binary(KEY_BYTES)),
        ("source", pa.string()),
        ("path", pa.string()),
        ("row", pa.int64()),
        ("index", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("text", pa.large_string()),
        ("tokens", pa.int64()),
        ("page", pa.int64()),
        ("headings", pa.list_(pa.string())),
        ("parent", pa.string()),
        ("parent_carrier", pa.string()),
        ("parent_start", pa.int64()),
        ("parent_end", pa.int64()),
        ("parent_text", pa.large_string()),
        ("metadata", pa.string()),
        ("tenant", pa.string()),
    ]
)


def vectors_schema(dimension: int) -> pa.Schema:
    """Return the schema of embedded texts: key and vector."""
    return pa.schema([("key", pa.binary(KEY_BYTES)), ("vector", pa.list_(pa.float32(), dimension))])


def chunks_schema(dimension: int) -> pa.Schema:
    """Return the schema of `chunks.parquet`: the chunks with their vectors."""
    return CHUNKS.append(pa.field("vector", pa.list_(pa.float32(), dimension)))


@dataclass(frozen=True, slots=True)
class Rejection:
    """A file, a record of it, or a document that does not become part of the index, and why.

    `file` is the key of the file that was read; `path` may name the one from which a Dataset took the row.
    """

    source: str
    path: str
    stage: str
    reason: str
    message: str
    page: int | None = None
    row: int | None = None
    document: str | None = None
    file: bytes | None = None

    @property
    def location(self) -> str:
        """Where a person finds it."""
        where = f" page {self.page}" if self.page is not None else f" row {self.row}" if self.row is not None else ""
        return f"{self.source}:{self.path}{where}"


def rejections_to_table(rejections: Iterable[Rejection]) -> pa.Table:
    """Return the rows of `rejected.parquet`."""
    return pa.Table.from_pylist(
        [{name: getattr(item, name) for name in REJECTED.names} for item in rejections], schema=REJECTED
    )


def rejections_from_table(table: pa.Table) -> list[Rejection]:
    """Return the rejections of a table."""
    return [Rejection(**row) for row in table.to_pylist()]


def document_row(document: Document, file: bytes) -> dict[str, Any]:
    """Return the row of a freshly parsed document; `file` is the key of the file it comes from."""
    return {
        "id": document.id,
        "file": file,
        "source": document.source,
        "path": document.uri,
        "row": document.row,
        "text": document.text,
        "pages": list(document.pages),
        "parser": document.parser,
        "replacement_ratio": document.replacement_ratio,
        "metadata": dump_metadata(document.metadata),
        "carried": False,
        "rejected": False,
        "recognised": [{"page": page.page, "confidence": page.confidence} for page in document.recognised],
    }


def document_of(row: Mapping[str, Any]) -> Document:
    """Return the document of a row."""
    return Document(
        id=row["id"],
        source=row["source"],
        uri=row["path"],
        text=row["text"],
        metadata=load_metadata(row["metadata"]),
        pages=tuple(row["pages"] or ()),
        parser=row["parser"],
        replacement_ratio=row["replacement_ratio"],
        row=row["row"],
        recognised=recognised_of(row),
    )


def recognised_of(row: Mapping[str, Any]) -> tuple[RecognisedPage, ...]:
    """Return the recognised pages of a row; an artifact from before there were any has no such column."""
    return tuple(RecognisedPage(**page) for page in row.get("recognised") or ())


def dump_metadata(values: Mapping[str, object]) -> str:
    """Return metadata as JSON with sorted keys; dates as RFC 3339."""
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def load_metadata(text: str) -> dict[str, MetadataValue]:
    """Return what `dump_metadata` wrote; lists become tuples, dates stay text."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text or "{}").items()
    }


def index_row(row: Mapping[str, Any], dates: frozenset[str]) -> IndexRow:
    """Return what is loaded for a row of `chunks.parquet`; `dates` names the metadata fields of type date."""
    parent = None
    if row["parent"] is not None:
        parent = ParentSpan(
            row["parent"], row["parent_carrier"], row["parent_start"], row["parent_end"], row["parent_text"]
        )
    stored: dict[str, Any] = json.loads(row["metadata"])
    metadata: dict[str, TypedValue] = {
        name: as_date(value) if name in dates else value for name, value in stored.items()
    }
    return IndexRow(
        id=row["id"],
        document_id=row["document"],
        source=row["source"],
        uri=row["path"],
        index=row["index"],
        start=row["start"],
        end=row["end"],
        text=row["text"],
        page=row["page"],
        row=row["row"],
        headings=tuple(row["headings"] or ()),
        metadata=metadata,
        parent=parent,
        tenant=row["tenant"],
    )
