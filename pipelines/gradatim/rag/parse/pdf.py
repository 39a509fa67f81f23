"""PDF text page by page: PDFium first, pypdf for files PDFium cannot open.

PDFium is about eighteen times faster but is C code that is not thread-safe: one lock guards it. Pages and file size are bounded before any
page is read. Pages without text are recognised where an engine is given and kept as empty pages where none is; a file without any text is
refused.
"""

from __future__ import annotations

import io
import re
import zlib

import pypdf
import pypdfium2
from pypdf.errors import PyPdfError

from gradatim.rag.model import MetadataValue
from gradatim.rag.ocr import Ocr
from gradatim.rag.parse.encoding import joined_pairs
from gradatim.rag.parse.scan import PDFIUM, Scanned, ocr_metadata, recognise_pages
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason

PAGE_BREAK = "\n\n"
_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_SECURITY_ERROR = 5  # FPDF_ERR_SECURITY
# PDFium marks a hyphen at a line end, which the word does not have; NUL comes from fonts without a character map.
_LINE_HYPHEN = re.compile("[\x02\ufffe\u00ad]\n?")
_NEWLINES = re.compile(r"\r\n?")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+\n")  # a run of blanks is tried once, not at each of them

# What pypdf is known to raise on damaged files besides its own errors: it follows references before it checks their types.
_PYPDF_ERRORS = (
    PyPdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, RecursionError, OverflowError,
    ArithmeticError, NotImplementedError, OSError, EOFError, zlib.error,
)  # fmt: skip


def parse_pdf(data: bytes, name: str, options: ParseOptions, ocr: Ocr | None = None) -> ParsedFile:
    """A PDF as one document with its page offsets; pages that cannot be recognised are refused by themselves.

    Raises ParseError (Encrypted, Broken with page, TooLarge, Empty).
    """
    if b"%PDF-" not in data[:1024]:
        raise ParseError(Reason.BROKEN, "does not start as a PDF file; check the download", file=name)
    try:
        found, metadata = _read_with_pdfium(data, name, options)
    except pypdfium2.PdfiumError as error:
        found, metadata = _read_with_pypdf(data, name, options, str(error))
        parser, ocr = f"pypdf/{pypdf.__version__}", None  # what PDFium cannot open, it cannot draw
    else:
        parser = f"pypdfium2/{pypdfium2.version.PYPDFIUM_INFO}"
    scanned = Scanned([clean(page) for page in found])
    if ocr is not None:
        scanned = recognise_pages(data, name, scanned.pages, ocr)
        parser += f"+{ocr.engine.name}" if scanned.recognised else ""
    text, starts = join_pages([clean(page) for page in scanned.pages])
    if not text.strip():
        return _without_text(name, parser, scanned, recognised=ocr is not None)
    document = ParsedDocument(
        text, metadata | ocr_metadata(scanned.recognised), starts, text.count("\ufffd") / len(text),
        recognised=scanned.recognised,
    )  # fmt: skip
    return ParsedFile((document,), parser, scanned.refused)


def _without_text(name: str, parser: str, scanned: Scanned, *, recognised: bool) -> ParsedFile:
    """Return the refused pages where they are the reason, or raise ParseError Empty."""
    if scanned.refused:
        return ParsedFile((), parser, scanned.refused)
    count = f"has {len(scanned.pages)} pages but no text layer"
    if recognised:
        message = f"{count}, and no text that could be recognised; scan it again or remove it"
    else:
        message = f"{count}; run character recognition on it first, or index it with parsing.ocr"
    raise ParseError(Reason.EMPTY, message, file=name)


def clean(page: str) -> str:
    """Text of a page with `\\n` line ends, line-end hyphens joined, NUL and trailing blanks removed."""
    text = _LINE_HYPHEN.sub("", _NEWLINES.sub("\n", page)).replace("\0", "")
    return _TRAILING.sub("\n", text).strip()


def join_pages(pages: list[str]) -> tuple[str, tuple[int, ...]]:
    """The whole text and the offset at which each page starts."""
    starts, position = [], 0
    for page in pages:
        starts.append(position)
        position += len(page) + len(PAGE_BREAK)
    return PAGE_BREAK.join(pages), tuple(starts)


def _read_with_pdfium(data: bytes, name: str, options: ParseOptions) -> tuple[list[str], dict[str, MetadataValue]]:
    with PDFIUM:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if getattr(error, "err_code", None) in {_PASSWORD_ERROR, _SECURITY_ERROR}:
                raise _encrypted(name) from error
            raise
        try:
            _check_pages(len(document), name, options)
            pages, size = [], 0
            for number in range(len(document)):
                pages.append(_pdfium_page(document, number, name))
                size += len(pages[-1])
                _check_size(size, name, number + 1, options)
            info = {key.lower(): _pdfium_metadata(document, key) for key in ("Title", "Author")}
        finally:
            document.close()
    return pages, {key: value for key, value in info.items() if value}


def _pdfium_metadata(document: pypdfium2.PdfDocument, key: str) -> str:
    """A value of the document's metadata; empty where there is none, or one that is no text."""
    try:
        return str(document.get_metadata_value(key))
    except UnicodeDecodeError:
        return ""


def _pdfium_page(document: pypdfium2.PdfDocument, number: int, name: str) -> str:
    try:
        page = document[number]
        try:
            content = page.get_textpage()
            try:
                return str(content.get_text_bounded())
            finally:
                content.close()
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        message = f"cannot be read: {error}; repair the file or remove the page"
        raise ParseError(Reason.BROKEN, message, file=name, page=number + 1) from error


def _read_with_pypdf(
    data: bytes, name: str, options: ParseOptions, why: str
) -> tuple[list[str], dict[str, MetadataValue]]:
    number = 0
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise _encrypted(name)
        _check_pages(len(reader.pages), name, options)
        pages, size = [], 0
        for number, page in enumerate(reader.pages, 1):
            pages.append(joined_pairs(page.extract_text()))
            size += len(pages[-1])
            _check_size(size, name, number, options)
        title = reader.metadata.title if reader.metadata else None
    except _PYPDF_ERRORS as error:
        message = f"cannot be read by PDFium ({why}) nor by pypdf ({type(error).__name__}: {error}); repair the file"
        raise ParseError(Reason.BROKEN, message, file=name, page=number or None) from error
    if not pages:
        raise ParseError(
            Reason.BROKEN, f"cannot be read by PDFium ({why}) and pypdf finds no page; repair it", file=name
        )
    return pages, {"title": joined_pairs(title)} if title else {}


def _encrypted(name: str) -> ParseError:
    return ParseError(Reason.ENCRYPTED, "needs a password; store a decrypted copy", file=name)


def _check_pages(count: int, name: str, options: ParseOptions) -> None:
    if count > options.max_pages:
        message = f"has {count} pages, more than {options.max_pages}; split it or raise the limit"
        raise ParseError(Reason.TOO_LARGE, message, file=name)


def _check_size(size: int, name: str, page: int, options: ParseOptions) -> None:
    if size > options.max_chars:
        message = f"holds more than {options.max_chars} characters up to here; split it or raise the limit"
        raise ParseError(Reason.TOO_LARGE, message, file=name, page=page)
