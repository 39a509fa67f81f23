"""Turns one source file into document rows or rejections.

Runs inside a worker, in this process or in a Ray actor; gets bytes, touches neither network nor disk. Parquet files are rows, as those of a
Dataset; everything else goes through the parsers.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradatim.rag.model import Document, MetadataValue, document_id
from gradatim.rag.ocr import Ocr
from gradatim.rag.parse import ParseError, Reason, parse, to_documents
from gradatim.rag.store.rows import MetadataError, typed_metadata
from gradatim.workloads.index.settings import IndexSettings
from gradatim.workloads.index.tables import Rejection, document_row
from gradatim.workloads.sources import FileRejected
from gradatim.workloads.tables.columns import plain
from gradatim.workloads.tables.parquetrows import ParquetTable

TEXT_COLUMNS = ("text", "content")
PARQUET_PARSER = "parquet/1"
DATASET_METADATA = "metadata."
DATASET_COLUMNS = frozenset(
    {"id", "source", "file", "row", "page", "chars", "pages", "page_starts", "replacement_ratio", "parser"}
)


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file handed to a worker, or with `skipped` a piece of one: the rows that follow so many."""

    source: str
    path: str
    key: bytes
    data: bytes
    metadata: tuple[tuple[str, str], ...] = ()
    skipped: int | None = None

    @property
    def location(self) -> str:
        """Where a person finds the file."""
        return f"{self.source}:{self.path}"


@dataclass(frozen=True, slots=True)
class Read:
    """What a file gave."""

    rows: tuple[dict[str, Any], ...] = ()
    rejections: tuple[Rejection, ...] = ()


def read_file(file: FileContent, settings: IndexSettings, ocr: Ocr | None = None) -> Read:
    """Parse a file. Never raises for its content: what cannot be used is a rejection with reason and place."""
    try:
        if file.path.lower().endswith(".parquet"):
            documents, refused = _parquet(file, settings)
        else:
            parsed = parse(file.data, file.path, settings.parse, ocr)
            documents = to_documents(parsed, file.source, file.path, dict(file.metadata))
            refused = parsed.rejected
    except ParseError as error:
        return Read(rejections=(_refusal(file, error),))
    rejections = [_refusal(file, error) for error in refused]
    rows: list[dict[str, Any]] = []
    for document in documents:
        known = _with_trusted_tenant(document, file, settings)
        problem = _metadata_problem(known, settings)
        if problem is None:
            rows.append(document_row(known, file.key))
        else:
            rejections.append(_rejected(file, known, *problem))
    return Read(tuple(rows), tuple(rejections))


def _with_trusted_tenant(document: Document, file: FileContent, settings: IndexSettings) -> Document:
    """A source that names its tenant decides it: a file must not be able to move itself into another tenant."""
    given = dict(file.metadata)
    if settings.tenant_field is None or settings.tenant_field not in given:
        return document
    metadata: Mapping[str, MetadataValue] = {**document.metadata, settings.tenant_field: given[settings.tenant_field]}
    return replace(document, metadata=metadata)


def _metadata_problem(document: Document, settings: IndexSettings) -> tuple[str, str] | None:
    try:
        values = typed_metadata(document.metadata, settings.fields)
    except MetadataError as error:
        return "WrongType", str(error)
    if settings.tenant_field is None:
        return None
    return settings.tenant_problem(values.get(settings.tenant_field))


def _rejected(file: FileContent, document: Document, reason: str, message: str) -> Rejection:
    found = Rejection(document.source, document.uri, "parse", reason, message, file=file.key)
    return replace(found, row=document.row, document=document.id)


def _refusal(file: FileContent, error: ParseError) -> Rejection:
    found = Rejection(file.source, file.path, "parse", error.reason.value, error.detail, file=file.key)
    return replace(found, page=error.page, row=error.row)


def _parquet(file: FileContent, settings: IndexSettings) -> tuple[tuple[Document, ...], tuple[ParseError, ...]]:
    options = settings.parse
    documents: list[Document] = []
    refused: list[ParseError] = []
    known: set[str] = set()
    declared = frozenset(field.name for field in settings.fields)
    try:
        # A piece comes from a Dataset's own file: texts may repeat in it, and what they come to is bounded.
        ratio = options.zip_max_ratio if file.skipped is None else math.inf
        table = ParquetTable(io.BytesIO(file.data), file.path, len(file.data), ratio)
        column = next((name for name in TEXT_COLUMNS if name in table.names), None)
        if column is None:
            message = f"has no column {' or '.join(TEXT_COLUMNS)}; it has {', '.join(table.names)}"
            raise ParseError(Reason.MISSING_COLUMN, message, file=file.path)
        for row, values in enumerate(table.rows(), 1 + (file.skipped or 0)):
            text = values.pop(column)
            if not isinstance(text, str) or not text.strip():
                refused.append(ParseError(Reason.EMPTY, f"has no text in {column}", file=file.path, row=row))
            elif len(text) > options.max_chars:
                message = f"has {len(text)} characters, more than {options.max_chars}; split it"
                refused.append(ParseError(Reason.TOO_LARGE, message, file=file.path, row=row))
            else:
                place = _place(values) if table.ours else None
                own = _metadata(values, declared, of_dataset=table.ours)
                document = _document(file, row, text, own, place)
                if document.id in known:  # a file that only claims to come from a Dataset
                    document = _document(file, row, text, own, None)
                known.add(document.id)
                documents.append(document)
    except FileRejected as error:
        reason = Reason.ZIP_BOMB if error.reason == Reason.ZIP_BOMB.value else Reason.BROKEN
        message = str(error).removeprefix(f"{file.path} ")
        raise ParseError(reason, f"{message}; write it again", file=file.path) from error
    return tuple(documents), tuple(refused)


def _metadata(values: Mapping[str, Any], declared: frozenset[str], *, of_dataset: bool) -> dict[str, MetadataValue]:
    """Return the columns that are metadata. Lists only where the schema declares them: another is a vector as likely as not."""
    found: dict[str, MetadataValue] = {}
    for column, item in values.items():
        name = column.removeprefix(DATASET_METADATA)
        if (of_dataset and column in DATASET_COLUMNS) or (isinstance(item, list) and name not in declared):
            continue
        value = _metadata_value(item)
        if value is not None:
            found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a Dataset found a row, and what read it there."""

    uri: str
    row: int | None
    pages: tuple[int, ...]
    parser: str


def _document(
    file: FileContent, row: int, text: str, own: Mapping[str, MetadataValue], place: _Place | None
) -> Document:
    """A row of a Dataset keeps the place that the Dataset found it at; any other row is named by this file."""
    at = place or _Place(file.path, row, (), PARQUET_PARSER)
    return Document(
        id=document_id(file.source, at.uri, at.row),
        source=file.source,
        uri=at.uri,
        text=text,
        metadata={**dict(file.metadata), **own},
        pages=at.pages,
        parser=at.parser,
        replacement_ratio=text.count("\ufffd") / len(text),
        row=at.row,
    )


def _place(values: Mapping[str, Any]) -> _Place | None:
    """Return what a Dataset noted; None where that is not what stands there."""
    source, path, row, pages = (values.get(name) for name in ("source", "file", "row", "page_starts"))
    if not isinstance(source, str) or not isinstance(path, str) or not isinstance(row, int | None):
        return None
    if not isinstance(pages, list | None) or not all(isinstance(start, int) for start in pages or ()):
        return None
    return _Place(f"{source}/{path}", row, tuple(pages or ()), str(values.get("parser") or PARQUET_PARSER))


def _metadata_value(value: object) -> MetadataValue | None:
    """Return a column's value as a document's metadata; None for what can be none."""
    if isinstance(value, list):
        items = (_metadata_value(item) for item in value if not isinstance(item, list))
        return tuple(str(item) for item in items if item is not None) or None
    return None if isinstance(value, dict | tuple | bytes) else plain(value)
