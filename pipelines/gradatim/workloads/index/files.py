"""Turns one source file into document rows or rejections.

Runs inside a worker, in this process or in a Ray actor; gets bytes, touches neither network nor disk. Parquet files are rows, as those of a
Dataset; everything else goes through the parsers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.rag.model import Document, MetadataValue, document_id
from gradatim.rag.ocr import Ocr
from gradatim.rag.parse import ParseError, ParseOptions, parse, to_documents
from gradatim.rag.store.rows import MetadataError, typed_metadata
from gradatim.workloads.index.settings import IndexSettings
from gradatim.workloads.index.tables import Rejection, document_row

TEXT_COLUMNS = ("text", "content")
PARQUET_PARSER = "parquet/1"
DATASET_METADATA = "metadata."
DATASET_COLUMNS = frozenset(
    {"id", "source", "file", "row", "page", "chars", "pages", "page_starts", "replacement_ratio", "parser"}
)
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file handed to a worker."""

    source: str
    path: str
    key: bytes
    data: bytes
    metadata: tuple[tuple[str, str], ...] = ()

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
            documents, refused = _parquet(file, settings.parse)
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
            rejections.append(_rejected(known, *problem))
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


def _rejected(document: Document, reason: str, message: str) -> Rejection:
    return Rejection(document.source, document.uri, "parse", reason, message, row=document.row, document=document.id)


def _refusal(file: FileContent, error: ParseError) -> Rejection:
    return Rejection(file.source, file.path, "parse", error.reason.value, error.detail, page=error.page, row=error.row)


def _parquet(file: FileContent, options: ParseOptions) -> tuple[tuple[Document, ...], tuple[ParseError, ...]]:
    from gradatim.rag.parse import Reason

    try:
        table = pq.ParquetFile(pa.BufferReader(file.data))
    except pa.ArrowInvalid as error:
        raise ParseError(Reason.BROKEN, f"is not a Parquet file ({error}); write it again", file=file.path) from error
    names = table.schema_arrow.names
    column = next((name for name in TEXT_COLUMNS if name in names), None)
    if column is None:
        message = f"has no column {' or '.join(TEXT_COLUMNS)}; it has {', '.join(names)}"
        raise ParseError(Reason.MISSING_COLUMN, message, file=file.path)
    documents: list[Document] = []
    refused: list[ParseError] = []
    row = 0
    for batch in table.iter_batches(batch_size=_BATCH):
        for values in batch.to_pylist():
            row += 1
            text = values.pop(column)
            if not isinstance(text, str) or not text.strip():
                refused.append(ParseError(Reason.EMPTY, f"has no text in {column}", file=file.path, row=row))
            elif len(text) > options.max_chars:
                message = f"has {len(text)} characters, more than {options.max_chars}; split it"
                refused.append(ParseError(Reason.TOO_LARGE, message, file=file.path, row=row))
            else:
                documents.append(_document(file, row, text, values))
    return tuple(documents), tuple(refused)


def _document(file: FileContent, row: int, text: str, values: Mapping[str, Any]) -> Document:
    """A row of a Dataset keeps the place that the Dataset found it at; any other row is named by this file."""
    own = {
        name.removeprefix(DATASET_METADATA): value
        for name, value in values.items()
        if name not in DATASET_COLUMNS and isinstance(value, str | int | float | bool)
    }
    uri: str = file.path
    number: int | None = row
    pages: tuple[int, ...] = ()
    if isinstance(values.get("file"), str) and isinstance(values.get("source"), str):
        uri, number = f"{values['source']}/{values['file']}", values.get("row")
        pages = tuple(values.get("page_starts") or ())
    return Document(
        id=document_id(file.source, uri, number),
        source=file.source,
        uri=uri,
        text=text,
        metadata={**dict(file.metadata), **own},
        pages=pages,
        parser=str(values.get("parser") or PARQUET_PARSER),
        replacement_ratio=text.count("\ufffd") / len(text),
        row=number,
    )
