"""Reads pdf, docx, html, Markdown, text and csv into text with pages, rows and metadata; with an engine, scans and images too.

`parse` is pure: bytes in, `ParsedFile` out or `ParseError` raised; it never guesses silently and never touches the disk or the network.
The index workload calls it per file and quarantines what it refuses. Each format's library is loaded only when a file of it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath

from gradatim.rag.model import RagError
from gradatim.rag.ocr import Ocr
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
    "FORMATS", "IMAGES", "CsvMode", "ParseError", "ParseOptions", "ParsedDocument", "ParsedFile", "Reason", "TableForm", "format_of",
    "parse", "to_documents",
]  # fmt: skip

FORMATS = {
    ".pdf": "pdf", ".docx": "docx", ".doc": "docx", ".html": "html", ".htm": "html", ".xhtml": "html", ".md": "markdown",
    ".markdown": "markdown", ".txt": "text", ".text": "text", ".log": "text", ".rst": "text", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
_PARSERS = {
    "docx": ("docxfile", "parse_docx"),
    "html": ("html", "parse_html"),
    "markdown": ("plain", "parse_markdown"),
    "text": ("plain", "parse_text"),
    "csv": ("csvfile", "parse_csv"),
}
Parser = Callable[[bytes, str, ParseOptions], ParsedFile]
Scanner = Callable[[bytes, str, ParseOptions, Ocr | None], ParsedFile]
_SCANNERS = {"pdf": ("pdf", "parse_pdf"), "image": ("image", "parse_image")}


def format_of(name: str, options: ParseOptions | None = None) -> str:
    """Format of a file by option or extension; raises ParseError(Unsupported)."""
    suffix = PurePath(name).suffix.lower()
    chosen = (options.format if options else None) or ("image" if suffix in IMAGES else FORMATS.get(suffix, ""))
    if chosen == "image" and not (options and options.ocr):
        message = "is an image; index it with parsing.ocr, or exclude it"
        raise ParseError(Reason.UNSUPPORTED, message, file=name)
    if chosen not in _PARSERS and chosen not in _SCANNERS:
        what = chosen or PurePath(name).suffix or "no extension"
        known = ", ".join([*_SCANNERS, *_PARSERS])
        message = f"format {what} is not supported; convert it to one of {known} or exclude it"
        raise ParseError(Reason.UNSUPPORTED, message, file=name)
    return chosen


def parse(data: bytes, name: str, options: ParseOptions | None = None, ocr: Ocr | None = None) -> ParsedFile:
    """Parse one file. `name` is its path relative to the source and appears in every error. `ocr` is the engine that the options name.

    Raises ParseError with a reason code and the page or row where it is known, RagError when another engine is given than the options name.
    A result has at least one document or rejected row or page, and no document without text.
    """
    options = options or ParseOptions()
    given = ocr.engine.identity if ocr else ""
    if given != options.ocr:
        raise RagError(
            f"text recognition is {given or 'off'} here, the options name {options.ocr or 'none'}; use one image for all workers"
        )
    chosen = format_of(name, options)
    if len(data) > options.max_bytes:
        message = f"has {len(data)} bytes, more than {options.max_bytes}; split it or raise the limit"
        raise ParseError(Reason.TOO_LARGE, message, file=name)
    if not data.strip():
        raise ParseError(Reason.EMPTY, "is empty; add content or remove it", file=name)
    module, function = _SCANNERS.get(chosen) or _PARSERS[chosen]
    code = getattr(import_module(f"gradatim.rag.parse.{module}"), function)
    if chosen in _SCANNERS:
        scanner: Scanner = code
        parsed = scanner(data, name, options, ocr)
    else:
        parser: Parser = code
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
