"""Word documents: headings, paragraphs, lists and tables in reading order, page headers and footers once.

The archive is checked before python-docx opens it. Headings become `#` lines and tables Markdown or plain lines, so that the chunkers see structure.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import docx
from docx.opc.exceptions import OpcError
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml.etree import LxmlError  # type: ignore[import-untyped]  # it ships no types

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.archive import check_archive
from gradatim.rag.parse.tables import written
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason, TableForm

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_HEADING = re.compile(r"[Hh]eading ([1-9])$")
_DOCX_ERRORS = (
    OpcError, LxmlError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, AttributeError, TypeError, IndexError, EOFError,
    RecursionError, NotImplementedError, OSError, AssertionError,
)  # fmt: skip


def parse_docx(data: bytes, name: str, options: ParseOptions) -> ParsedFile:
    """A Word document as one document. Raises ParseError (Encrypted, Unsupported for .doc, ZipBomb, Broken, TooLarge)."""
    if data.startswith(_OLE):
        if _ENCRYPTED_STREAM in data:
            raise ParseError(Reason.ENCRYPTED, "needs a password; store a decrypted copy", file=name)
        raise ParseError(Reason.UNSUPPORTED, "is in the old .doc format; save it as .docx", file=name)
    if "[Content_Types].xml" not in check_archive(data, name, options):
        raise ParseError(Reason.BROKEN, "is an archive but not a Word document; check the file", file=name)
    try:
        document = docx.Document(io.BytesIO(data))
        text = _bounded(_blocks(document, options), name, options)
        metadata = _properties(document)
    except _DOCX_ERRORS as error:
        message = f"cannot be read: {type(error).__name__}: {error}; open and save it again in a word processor"
        raise ParseError(Reason.BROKEN, message, file=name) from error
    return ParsedFile((ParsedDocument(text, metadata),), f"python-docx/{docx.__version__}+1")


def _blocks(document: Any, options: ParseOptions) -> Iterator[str]:
    if options.page_headers:
        yield from _running(document, "header", options.tables)
    for item in document.iter_inner_content():
        yield _paragraph(item) if isinstance(item, Paragraph) else _table(item, options.tables)
    if options.page_headers:
        yield from _running(document, "footer", options.tables)


def _running(document: Any, kind: str, tables: TableForm) -> Iterator[str]:
    """Headers or footers of all sections, each text once: most sections repeat the first one's."""
    seen: set[str] = set()
    for section in document.sections:
        part = getattr(section, kind)
        if part.is_linked_to_previous:
            continue
        for item in part.iter_inner_content():
            text = _paragraph(item) if isinstance(item, Paragraph) else _table(item, tables)
            if text and text not in seen:
                seen.add(text)
                yield text


def _paragraph(paragraph: Paragraph) -> str:
    text = paragraph.text.strip()
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    if not text:
        return ""
    heading = _HEADING.match(style)
    if heading or style == "Title":
        level = min(6, int(heading.group(1))) if heading else 1
        return f"{'#' * level} {' '.join(text.split())}"
    return f"- {text}" if style.startswith("List") else text


def _table(table: Table, form: TableForm) -> str:
    """Cells in order; a merged cell is listed by python-docx once per column it spans and is written once."""
    rows = []
    for row in table.rows:
        cells, last = [], None
        for cell in row.cells:
            if cell._tc is not last:  # noqa: SLF001 - python-docx has no public identity for merged cells
                cells.append(cell.text)
            last = cell._tc  # noqa: SLF001
        rows.append(cells)
    return written(rows, form)


def _bounded(blocks: Iterator[str], name: str, options: ParseOptions) -> str:
    kept, size = [], 0
    for block in blocks:
        size += len(block)
        if size > options.max_chars:
            message = f"holds more than {options.max_chars} characters; split it or raise the limit"
            raise ParseError(Reason.TOO_LARGE, message, file=name)
        if block:
            kept.append(block)
    return "\n\n".join(kept)


def _properties(document: Any) -> dict[str, MetadataValue]:
    core = document.core_properties
    return {key: value for key, value in (("title", core.title), ("author", core.author)) if value}
