"""Word documents: headings, paragraphs, lists and tables in reading order, page headers and footers once.

What Word shows is read: insertions that are tracked and not what they replaced, and what stands in content controls, fields and tables
within tables, which python-docx passes over. The archive is checked before python-docx opens it. Headings become `#` lines and tables
Markdown or plain lines, so that the chunkers see structure.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import docx
from docx.enum.style import WD_STYLE_TYPE
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from lxml.etree import LxmlError  # type: ignore[import-untyped]  # it ships no types

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.archive import check_archive
from gradatim.rag.parse.tables import Cell, Grid, label, written
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason, TableForm

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
MAX_SPAN = 63  # columns of a table in Word
_P, _R, _TBL, _TR, _TC = (qn(f"w:{tag}") for tag in ("p", "r", "tbl", "tr", "tc"))
_AROUND = frozenset(
    qn(f"w:{tag}")
    for tag in ("bdo", "customXml", "dir", "fldSimple", "hyperlink", "ins", "moveTo", "sdt", "sdtContent", "smartTag")
)
_WITHIN_CELL = _AROUND | {_TBL, _TR, _TC}
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
        text = _bounded(_blocks(document, options, Grid(name)), name, options)
        metadata = _properties(document)
    except _DOCX_ERRORS as error:
        message = f"cannot be read: {type(error).__name__}: {error}; open and save it again in a word processor"
        raise ParseError(Reason.BROKEN, message, file=name) from error
    return ParsedFile((ParsedDocument(text, metadata),), f"python-docx/{docx.__version__}+2")


def _blocks(document: Any, options: ParseOptions, grid: Grid) -> Iterator[str]:
    styles = _Styles(document)
    if options.page_headers:
        yield from _running(document, "header", styles, options.tables, grid)
    yield from _story(document.element.body, styles, options.tables, grid)
    if options.page_headers:
        yield from _running(document, "footer", styles, options.tables, grid)


def _running(document: Any, kind: str, styles: _Styles, tables: TableForm, grid: Grid) -> Iterator[str]:
    """Headers or footers of all sections, each text once: most sections repeat the first one's."""
    seen: set[str] = set()
    for section in document.sections:
        part = getattr(section, kind)
        if part.is_linked_to_previous:
            continue
        for text in _story(part._element, styles, tables, grid):  # noqa: SLF001 - python-docx shows only what lies there directly
            if text and text not in seen:
                seen.add(text)
                yield text


def _story(root: Any, styles: _Styles, tables: TableForm, grid: Grid) -> Iterator[str]:
    """Paragraphs and tables of a body, header or footer."""
    for element in _shown(root, {_P, _TBL}):
        yield _paragraph(element, styles.name(element.style)) if element.tag == _P else _table(element, tables, grid)


class _Styles:
    """Names of a document's paragraph styles: python-docx searches all of them for every paragraph."""

    def __init__(self, document: Any) -> None:
        default = document.styles.default(WD_STYLE_TYPE.PARAGRAPH)
        self._default = (default.name or "") if default is not None else ""
        self._names: dict[str, str] = {}
        for style in document.styles:
            named = (style.name or "") if style.type == WD_STYLE_TYPE.PARAGRAPH else self._default
            self._names.setdefault(style.style_id, named)

    def name(self, style_id: str | None) -> str:
        """Return the name of a style; that of the default style for no id, an unknown one, and one of another type."""
        return self._names.get(style_id or "", self._default)


def _shown(root: Any, wanted: set[str], around: frozenset[str] = _AROUND) -> Iterator[Any]:
    """Elements of the wanted kinds under `root` in order, also those in `around`; what was deleted or moved away is in neither."""
    pending = list(reversed(root))
    while pending:
        element = pending.pop()
        if element.tag in wanted:
            yield element
        elif element.tag in around:
            pending.extend(reversed(element))


def _text(paragraph: Any) -> str:
    return "".join(run.text for run in _shown(paragraph, {_R}))


def _paragraph(element: Any, style: str) -> str:
    text = _text(element).strip()
    if not text:
        return ""
    heading = _HEADING.match(style)
    if heading or style == "Title":
        level = min(6, int(heading.group(1))) if heading else 1
        return f"{'#' * level} {' '.join(text.split())}"
    return f"- {text}" if style.startswith("List") else text


def _table(table: Any, form: TableForm, grid: Grid) -> str:
    """Cells by column. A cell that goes on from the row above repeats what is there, by its place in the grid: never by climbing rows."""
    rows: list[list[Cell]] = []
    labels: dict[int, str] = {}
    for row in _shown(table, {_TR}):
        column = min(row.grid_before, MAX_SPAN)
        cells = [Cell("")] * column
        for element in _shown(row, {_TC}):
            span = max(1, min(element.grid_span, MAX_SPAN))
            if element.vMerge == "continue":
                text = labels.get(column, "")
            else:
                text = "\n".join(_text(paragraph) for paragraph in _shown(element, {_P}, _WITHIN_CELL))
                labels[column] = label(text) if element.vMerge else ""
            cells.append(Cell(text, span))
            column += span
        rows.append(cells)
    return written(grid.placed(rows), form)


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
