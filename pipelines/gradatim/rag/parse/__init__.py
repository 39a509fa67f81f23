"""Reads pdf, docx, html, Markdown, text and csv into text with pages, rows and metadata.

`parse` is pure: bytes in, `ParsedFile` out or `ParseError` raised; it never guesses silently and never touches the disk or the network.
The index workload calls it per file and quarantines what it refuses. Each format's library is loaded only when a file of it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath

from gradatim.rag.parse.types import (
    CsvMode,
    ParsedDocument,
    ParsedFile,
    ParseError,
    ParseOptions,
    Reason,
    TableForm,
    to_documents,
)

__all__ = [
    "FORMATS", "CsvMode", "ParseError", "ParseOptions", "ParsedDocument", "ParsedFile", "Reason", "TableForm", "format_of",
    "parse", "to_documents",
]  # fmt: skip

FORMATS = {
    ".pdf": "pdf", ".docx": "docx", ".doc": "docx", ".html": "html", ".htm": "html", ".xhtml": "html", ".md": "markdown",
    ".markdown": "markdown", ".txt": "text", ".text": "text", ".log": "text", ".rst": "text", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
_PARSERS = {
    "pdf": ("pdf", "parse_pdf"),
    "docx": ("docxfile", "parse_docx"),
    "html": ("html", "parse_html"),
    "markdown": ("plain", "parse_markdown"),
    "text": ("plain", "parse_text"),
    "csv": ("csvfile", "parse_csv"),
}
Parser = Callable[[bytes, str, ParseOptions], ParsedFile]


def format_of(name: str, options: ParseOptions | None = None) -> str:
    """Format of a file by option or extension; raises ParseError(Unsupported)."""
    chosen = (options.format if options else None) or FORMATS.get(PurePath(name).suffix.lower(), "")
    if chosen not in _PARSERS:
        what = chosen or PurePath(name).suffix or "no extension"
        message = f"format {what} is not supported; convert it to one of {', '.join(_PARSERS)} or exclude it"
        raise ParseError(Reason.UNSUPPORTED, message, file=name)
    return chosen


def parse(data: bytes, name: str, options: ParseOptions | None = None) -> ParsedFile:
    """Parse one file. `name` is its path relative to the source and appears in every error.

    Raises ParseError with a reason code and the page or row where it is known. A result has at least one document or rejected row,
    and no document without text.
    """
    options = options or ParseOptions()
    chosen = format_of(name, options)
    if len(data) > options.max_bytes:
        message = f"has {len(data)} bytes, more than {options.max_bytes}; split it or raise the limit"
        raise ParseError(Reason.TOO_LARGE, message, file=name)
    if not data.strip():
        raise ParseError(Reason.EMPTY, "is empty; add content or remove it", file=name)
    module, function = _PARSERS[chosen]
    parser: Parser = getattr(import_module(f"gradatim.rag.parse.{module}"), function)
    parsed = parser(data, name, options)
    for document in parsed.documents:
        if not document.text.strip():
            raise ParseError(Reason.EMPTY, "holds no text; add content or remove it", file=name, row=document.row)
        if len(document.text) > options.max_chars:
            message = (
                f"gives {len(document.text)} characters, more than {options.max_chars}; split it or raise the limit"
            )
            raise ParseError(Reason.TOO_LARGE, message, file=name, row=document.row)
    return parsed
