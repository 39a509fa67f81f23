"""Pages of a PDF that have no text of their own, drawn and recognised.

Called by `pdf` with an engine. A page is drawn at a resolution that the engine reads well, bounded in pixels, and only one at a time; the images
that it holds are bounded before anything decodes them. A page that fails is refused by itself.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from gradatim.rag.model import MetadataValue, RecognisedPage, mean_confidence
from gradatim.rag.ocr import Ocr, OcrError, Pixels
from gradatim.rag.parse.types import ParseError, Reason

# PDFium is not thread-safe: whoever calls it holds this.
PDFIUM = threading.Lock()
# Stamps, page numbers and the marks of a scanner do not make a text layer.
LAYER_LETTERS = 25
DOTS_PER_INCH = 200
PAGE_PIXELS = 8_000_000
IMAGE_PIXELS = 80_000_000
_POINTS_PER_INCH = 72
_NESTING = 8


@dataclass(frozen=True, slots=True)
class Scanned:
    """The text of every page, which of them were recognised, and which could not be."""

    pages: list[str]
    recognised: tuple[RecognisedPage, ...] = ()
    refused: tuple[ParseError, ...] = ()


def recognise_pages(data: bytes, name: str, pages: Sequence[str], ocr: Ocr) -> Scanned:
    """Recognise the pages with next to no text. Recognised text stands in for a page's own where it says more."""
    wanted = [number for number, text in enumerate(pages) if letters(text) < LAYER_LETTERS]
    texts = list(pages)
    recognised: list[RecognisedPage] = []
    refused: list[ParseError] = []
    if not wanted:
        return Scanned(texts)
    with _opened(data) as document:
        for number in wanted:
            ocr.on_page(name, number + 1, len(pages))
            try:
                image = _drawn(document, number, name)
                found = None if image is None else ocr.engine.read(image)
            except ParseError as error:
                refused.append(error)
                continue
            except OcrError as error:
                refused.append(failed(error, name, number + 1))
                continue
            # Without a single line the page is empty; with lines that say less than its own text, that one is better.
            if found is None or found.confidence is None or letters(found.text) < letters(texts[number]):
                continue
            texts[number] = found.text
            recognised.append(RecognisedPage(number + 1, found.confidence))
    return Scanned(texts, tuple(recognised), tuple(refused))


def ocr_metadata(recognised: Sequence[RecognisedPage]) -> dict[str, MetadataValue]:
    """Return what a schema may declare to filter by: number of recognised pages and their mean confidence."""
    if not recognised:
        return {}
    return {"ocr_pages": len(recognised), "ocr_confidence": mean_confidence(recognised)}


def failed(error: OcrError, name: str, page: int) -> ParseError:
    """Return the refusal of a page that the engine failed on."""
    message = f"cannot be recognised: {error}; scan it again or remove it"
    return ParseError(Reason.RECOGNITION_FAILED, message, file=name, page=page)


def letters(text: str) -> int:
    """Count letters and digits."""
    return sum(character.isalnum() for character in text)


def scale_of(width: float, height: float) -> float:
    """Return pixels per point for a page of this size in points: as fine as the engine needs, within the bound.

    >>> round(scale_of(595, 842) * 72), scale_of(20_000, 20_000) < 0.15
    (200, True)
    """
    area = max(width, 1.0) * max(height, 1.0)
    # An edge rounds up to a whole pixel, which counts on a page that is hardly wider than a hair.
    edge = PAGE_PIXELS / max(width, height, 1.0) / 2
    return min(DOTS_PER_INCH / _POINTS_PER_INCH, math.sqrt(PAGE_PIXELS / area), edge)


@contextmanager
def _opened(data: bytes) -> Iterator[pypdfium2.PdfDocument]:
    with PDFIUM:
        document = pypdfium2.PdfDocument(data)
    try:
        yield document
    finally:
        with PDFIUM:
            document.close()


def _drawn(document: pypdfium2.PdfDocument, number: int, name: str) -> Pixels | None:
    """The page as an image, None for a page on which nothing is drawn. Raises ParseError TooLarge or Broken."""
    try:
        with PDFIUM:
            page = document[number]
            try:
                if not pdfium.FPDFPage_CountObjects(page):
                    return None
                _check_images(page, number, name)
                bitmap = page.render(scale=scale_of(*page.get_size()), rev_byteorder=True, prefer_bgrx=False)
                try:
                    return np.array(bitmap.to_numpy()[:, :, :3])
                finally:
                    bitmap.close()
            finally:
                page.close()
    except pypdfium2.PdfiumError as error:
        message = f"cannot be drawn for recognition: {error}; repair the file or remove the page"
        raise ParseError(Reason.BROKEN, message, file=name, page=number + 1) from error


def _check_images(page: pypdfium2.PdfPage, number: int, name: str) -> None:
    pixels = 0
    for image in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=_NESTING):
        width, height = image.get_px_size()
        pixels += width * height
        if pixels > IMAGE_PIXELS:
            message = f"holds images of more than {IMAGE_PIXELS} pixels; scan it at a lower resolution"
            raise ParseError(Reason.TOO_LARGE, message, file=name, page=number + 1)
