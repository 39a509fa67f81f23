"""Text of png, jpeg and tiff files, recognised; every picture of a tiff is a page.

Called with an engine only. Size and number of pictures are known and bounded before any of them is decoded.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import PIL
from PIL import Image, ImageOps

from gradatim.rag.model import RecognisedPage
from gradatim.rag.ocr import Ocr, OcrError, Pixels
from gradatim.rag.parse.pdf import clean, join_pages
from gradatim.rag.parse.scan import IMAGE_PIXELS, PAGE_PIXELS, failed, ocr_metadata
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason

KINDS = ("PNG", "JPEG", "TIFF")
# What Pillow is known to raise on damaged files; it warns of bombs, or raises, before our own bound is asked.
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, OverflowError, struct.error)


def parse_image(data: bytes, name: str, options: ParseOptions, ocr: Ocr | None) -> ParsedFile:
    """An image as one document. Raises ParseError (Unsupported without an engine, Broken, TooLarge, Empty)."""
    if ocr is None:
        raise ParseError(Reason.UNSUPPORTED, "is an image; index it with parsing.ocr, or exclude it", file=name)
    pages: list[str] = []
    recognised: list[RecognisedPage] = []
    refused: list[ParseError] = []
    with _opened(data, name) as image:
        count = _count(image, name, options)
        for number in range(1, count + 1):
            ocr.on_page(name, number, count)
            pages.append("")
            try:
                found = ocr.engine.read(_pixels(image, number, name))
            except ParseError as error:
                refused.append(error)
                continue
            except OcrError as error:
                refused.append(failed(error, name, number))
                continue
            if found.confidence is not None:
                pages[-1] = clean(found.text)
                recognised.append(RecognisedPage(number, found.confidence))
    text, starts = join_pages(pages)
    parser = f"pillow/{PIL.__version__}+{ocr.engine.name}"
    if not text.strip():
        if not refused:
            message = "holds no text that could be recognised; scan it again or remove it"
            raise ParseError(Reason.EMPTY, message, file=name)
        return ParsedFile((), parser, tuple(refused))
    document = ParsedDocument(text, ocr_metadata(recognised), starts, recognised=tuple(recognised))
    return ParsedFile((document,), parser, tuple(refused))


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        image = Image.open(io.BytesIO(data), formats=KINDS)
    except _BOMBS as error:
        raise _too_large(name, 1) from error
    except _DAMAGE as error:
        raise _broken(error, name, None) from error
    with image:
        yield image


def _count(image: Image.Image, name: str, options: ParseOptions) -> int:
    try:
        count = int(getattr(image, "n_frames", 1))
    except _DAMAGE as error:
        raise _broken(error, name, None) from error
    if count > options.max_pages:
        message = f"has {count} pages, more than {options.max_pages}; split it or raise the limit"
        raise ParseError(Reason.TOO_LARGE, message, file=name)
    return count


def _pixels(image: Image.Image, number: int, name: str) -> Pixels:
    """One picture, upright by what its camera noted, on white, within the bound."""
    try:
        if number > 1:
            image.seek(number - 1)
        if image.width * image.height > IMAGE_PIXELS:
            raise _too_large(name, number)
        picture = _on_white(ImageOps.exif_transpose(image))
        scale = math.sqrt(PAGE_PIXELS / (picture.width * picture.height))
        if scale < 1.0:
            size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return np.asarray(picture.convert("RGB"))
    except _BOMBS as error:
        raise _too_large(name, number) from error
    except _DAMAGE as error:
        raise _broken(error, name, number) from error


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Sixteen bits and more: stretched to eight, as what a plain conversion does is to cut off.
        values = np.asarray(image, dtype=np.float64)
        most = float(values.max()) or 1.0
        return Image.fromarray((values * (255.0 / most)).clip(0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        whole = image.convert("RGBA")
        paper = Image.new("RGBA", whole.size, "white")
        paper.alpha_composite(whole)
        return paper.convert("RGB")
    return image.convert("L" if image.mode in {"1", "L"} else "RGB")


def _too_large(name: str, page: int) -> ParseError:
    message = f"has more than {IMAGE_PIXELS} pixels; scan it at a lower resolution"
    return ParseError(Reason.TOO_LARGE, message, file=name, page=page)


def _broken(error: Exception, name: str, page: int | None) -> ParseError:
    message = f"cannot be read ({type(error).__name__}: {error}); repair it or remove it"
    return ParseError(Reason.BROKEN, message, file=name, page=page)
