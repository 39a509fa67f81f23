"""Recognises the text of page images. Needs the extra `ocr`; nothing is downloaded, because the weights lie in the engine's package.

The parsers call an `Ocr` for pages without a text layer and for images. `identity` is cheap and loads no model; `engine` loads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gradatim.rag.model import RagError
from gradatim.rag.ocr.layout import PageText

__all__ = ["Ocr", "OcrError", "OcrUnavailable", "OnPage", "PageText", "Pixels", "Recogniser"]

Pixels = npt.NDArray[np.uint8]  # height, width, red-green-blue
OnPage = Callable[[str, int, int], None]


class OcrError(RagError):
    """A page cannot be recognised; the others can."""


class OcrUnavailable(RagError):
    """No page can be recognised here; the message says what to install."""


class Recogniser(Protocol):
    """An engine. `identity` covers everything that its results depend on, `name` is `name/version` for people."""

    @property
    def identity(self) -> str:
        """What a recognised page may be reused under."""
        ...

    @property
    def name(self) -> str:
        """Engine and version, as the column `parser` shows them."""
        ...

    def read(self, image: Pixels) -> PageText:
        """Return the text of a page in reading order. Raises OcrError."""
        ...


def _quiet(file: str, page: int, pages: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Ocr:
    """An engine, and who is told about each page before it is read: file, page from 1, number of pages. It may raise to stop."""

    engine: Recogniser
    on_page: OnPage = _quiet
