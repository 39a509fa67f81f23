"""Pages as a scanner gives them: text drawn into an image, and images put into a PDF without a text layer.

Used by the tests of text recognition and by its benchmark. Fonts are those that matplotlib carries, so that every machine draws the same.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

A4 = (8.27, 11.69)
SUBJECTS = ("harbour office", "night watch", "board of pilots", "customs house", "lighthouse keeper", "district court")
VERBS = ("keeps", "signs", "inspects", "returns", "publishes", "seals")
THINGS = ("register of arrivals", "list of fees", "log of the tides", "copy of the certificate", "map of the channel")
TIMES = ("before noon", "on the first Monday", "within thirty days", "at 16:30", "every quarter", "by order No. 47")


def passage(seed: int, sentences: int = 6) -> str:
    """Return prose that no other seed gives."""
    draw = random.Random(seed)
    return " ".join(
        f"The {draw.choice(SUBJECTS)} {draw.choice(VERBS)} the {draw.choice(THINGS)} {draw.choice(TIMES)}, "
        f"and pays {draw.randint(100, 9999)} crowns to clerk {draw.choice('ABCDEFGH')}-{draw.randint(10, 99)}."
        for _ in range(sentences)
    )


@dataclass(frozen=True)
class Sheet:
    """How text is put on paper: points per line, dots per inch, serifs, and inches of margin."""

    points: float = 11
    dpi: int = 200
    serif: bool = True
    margin: float = 0.8
    size: tuple[float, float] = A4

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height."""
        return int(self.size[0] * self.dpi), int(self.size[1] * self.dpi)

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        """The face that the text is drawn with."""
        spec = find_spec("matplotlib")
        assert spec is not None
        assert spec.origin is not None
        name = "DejaVuSerif.ttf" if self.serif else "DejaVuSans.ttf"
        file = Path(spec.origin).parent / "mpl-data/fonts/ttf" / name
        return ImageFont.truetype(str(file), int(self.points * self.dpi / 72))

    def blank(self) -> Image.Image:
        """Return an empty page."""
        return Image.new("L", self.pixels, 255)


def page(paragraphs: Sequence[str], sheet: Sheet = Sheet(), columns: int = 1, title: str = "") -> Image.Image:
    """Return a page with the paragraphs in columns, filled one after the other, below a title over all of them."""
    image, font = sheet.blank(), sheet.font
    draw = ImageDraw.Draw(image)
    step, edge = int(sheet.points * sheet.dpi / 72 * 1.4), int(sheet.margin * sheet.dpi)
    gutter = int(0.35 * sheet.dpi)
    width = (image.width - 2 * edge - (columns - 1) * gutter) // columns
    top = edge
    if title:
        draw.text((edge, top), title, font=font, fill=10)
        top += 2 * step
    lines: list[str] = []
    for text in paragraphs:
        lines += [*_wrapped(text, width, draw, font), ""]
    each = -(-len(lines) // columns)
    if top + each * step > image.height:
        raise ValueError(f"{len(lines)} lines do not fit on the page")
    for number in range(columns):
        y = top
        for line in lines[number * each : (number + 1) * each]:
            draw.text((edge + number * (width + gutter), y), line, font=font, fill=10)
            y += step
    return image


def _wrapped(text: str, width: int, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def noisy(image: Image.Image, seed: int = 1, skew: float = 0.7) -> Image.Image:
    """Return the page as a poor copier gives it: skewed, blurred, grey, speckled."""
    turned = image.rotate(skew, resample=Image.Resampling.BICUBIC, fillcolor=255).filter(ImageFilter.GaussianBlur(0.8))
    values = np.asarray(turned, dtype=np.float32) * 0.8 + 35
    noise = np.random.default_rng(seed)
    values += noise.normal(0, 14, values.shape)
    values[noise.random(values.shape) < 0.002] = 30
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def spoilt(image: Image.Image, seed: int = 1) -> Image.Image:
    """Return a page that a person can hardly read either."""
    small = image.resize((image.width // 6, image.height // 6)).resize(image.size)
    values = np.asarray(small, dtype=np.float32)
    values += np.random.default_rng(seed).normal(0, 40, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def scanned_pdf(pages: Sequence[Image.Image], dpi: int = 200) -> bytes:
    """Return a PDF that holds nothing but these images."""
    out = io.BytesIO()
    first, *more = (image.copy() for image in pages)  # Pillow leaves notes in what it has saved
    first.save(out, "PDF", resolution=dpi, save_all=True, append_images=more)
    return out.getvalue()


def encoded(image: Image.Image, kind: str, more: Sequence[Image.Image] = ()) -> bytes:
    """Return the image as a file of a kind; `more` are further pictures of a tiff."""
    out = io.BytesIO()
    options = {"save_all": True, "append_images": list(more)} if more else {}
    image.save(out, kind, **options)
    return out.getvalue()


def character_error_rate(wanted: str, found: str) -> float:
    """Return the edits that turn one text into the other per character of the wanted one; runs of blanks count as one.

    >>> character_error_rate("a bc", "a  bd")
    0.25
    """
    left, right = " ".join(wanted.split()), " ".join(found.split())
    row = np.arange(len(right) + 1)
    letters = np.array([ord(letter) for letter in right], dtype=np.int64)
    steps = np.arange(1, len(right) + 1)
    for number, letter in enumerate(left, 1):
        # Replace or delete; then inserts, which run along the row, as a running minimum.
        best = np.minimum(row[:-1] + (letters != ord(letter)), row[1:] + 1)
        shifted = np.minimum.accumulate(np.concatenate(([number], best - steps)))
        row = np.concatenate(([number], shifted[1:] + steps))
    return float(row[-1]) / max(1, len(left))
