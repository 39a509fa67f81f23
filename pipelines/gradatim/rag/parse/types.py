"""Options, results and errors shared by all parsers.

The index workload fills `ParseOptions` from the API spec and reads `ParsedFile`; each parser module returns `ParsedDocument`s or raises
`ParseError`. Only plain values here: a parser's library is imported by its own module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from gradatim.rag.model import Document, Metadata, MetadataValue, RagError, RecognisedPage, document_id


class Reason(StrEnum):
    """Why a file, page or row was rejected. Counted per source in the index status."""

    ENCRYPTED = "Encrypted"
    BROKEN = "Broken"
    EMPTY = "Empty"
    TOO_LARGE = "TooLarge"
    UNSUPPORTED = "Unsupported"
    ZIP_BOMB = "ZipBomb"
    ENCODING = "Encoding"
    MISSING_COLUMN = "MissingColumn"
    RECOGNITION_FAILED = "RecognitionFailed"


class ParseError(RagError):
    """A file, or one page or row of it, cannot be indexed. `reason` is a code; the message says where, why and what to do."""

    def __init__(
        self, reason: Reason, message: str, *, file: str, page: int | None = None, row: int | None = None
    ) -> None:
        self.reason = reason
        self.detail = message
        self.file = file
        self.page = page
        self.row = row
        super().__init__(f"{self.location}: {message} ({reason.value})")

    @property
    def location(self) -> str:
        """File name, then page or row where known."""
        if self.page is not None:
            return f"{self.file} page {self.page}"
        return self.file if self.row is None else f"{self.file} row {self.row}"


class CsvMode(StrEnum):
    """`rows`: every record is a document of its own. `table`: the file is one document with a Markdown table."""

    ROWS = "rows"
    TABLE = "table"


class TableForm(StrEnum):
    """How the tables of html and docx files are written: Markdown is kept together by the chunkers, text is cut like any other."""

    MARKDOWN = "markdown"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ParseOptions:
    """Limits and choices. Sizes are bytes, `max_chars` and `max_field_chars` are characters of extracted text.

    `format` overrides the file extension. `encoding` overrides detection for text formats. `text_columns` names the csv columns whose
    values make the text (when empty: all but `metadata_columns`); the other columns become metadata. `ocr` is the identity of the engine that
    reads pages without text, and images; empty: none does.
    """

    format: str | None = None
    encoding: str | None = None
    max_bytes: int = 64 * 1024 * 1024
    max_chars: int = 32 * 1024 * 1024
    max_pages: int = 5_000
    max_rows: int = 1_000_000
    max_field_chars: int = 1024 * 1024
    max_replacement_ratio: float = 0.05
    zip_max_bytes: int = 512 * 1024 * 1024
    zip_max_ratio: float = 200.0
    zip_max_entries: int = 10_000
    csv_mode: CsvMode = CsvMode.ROWS
    text_columns: tuple[str, ...] = ()
    metadata_columns: tuple[str, ...] = ()
    page_headers: bool = True
    tables: TableForm = TableForm.MARKDOWN
    ocr: str = ""

    def digest(self) -> str:
        """Hex SHA-256 over every option: part of the key under which a parsed document may be reused."""
        values = asdict(self)
        if not self.ocr:
            # Off, it leaves the digest as it was before there was such an option: an upgrade reads no file again.
            del values["ocr"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Text of one document in reading order, headings as `#` lines and tables as `ParseOptions.tables` says. `pages` are page start offsets."""

    text: str
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    pages: tuple[int, ...] = ()
    replacement_ratio: float = 0.0
    row: int | None = None
    recognised: tuple[RecognisedPage, ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a file gave: its documents, the rows or pages that were refused, and the parser as `name/version`."""

    documents: tuple[ParsedDocument, ...]
    parser: str
    rejected: tuple[ParseError, ...] = ()


def to_documents(parsed: ParsedFile, source: str, path: str, metadata: Metadata | None = None) -> tuple[Document, ...]:
    """Name the documents of a file. `path` is relative to the source; `metadata` of the source gives way to the file's own."""
    return tuple(
        Document(
            id=document_id(source, path, item.row),
            source=source,
            uri=path,
            text=item.text,
            metadata={**(metadata or {}), **item.metadata},
            pages=item.pages,
            parser=parsed.parser,
            replacement_ratio=item.replacement_ratio,
            row=item.row,
            recognised=item.recognised,
        )
        for item in parsed.documents
    )
