"""Real scans, really recognised: text drawn into images, images put into PDFs, read back with the weights of the package and no network."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NoReturn

import pypdfium2
import pytest
from PIL import Image
from tests.support.scans import (
    Sheet,
    character_error_rate,
    encoded,
    noisy,
    page,
    passage,
    scanned_pdf,
    spoilt,
)

from gradatim.rag.ocr import Ocr
from gradatim.rag.ocr.engine import Engine
from gradatim.rag.parse import ParsedDocument, ParseOptions, Reason, parse

# Characters that differ from what was drawn: nearly all of them blanks between words that stand close, most of them on crisp pages.
MOST = 0.03
PARAGRAPHS = [passage(1, 3), passage(2, 3)]
HALF, CARD = Sheet(size=(8.27, 4.5)), Sheet(size=(8.27, 2.5))  # a page costs by its area
WANTED = "\n\n".join(PARAGRAPHS)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched at run time, not even at the first page."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("text recognition opened a connection")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)


@cache
def engine() -> Engine:
    """One engine for all tests: its models are loaded once."""
    return Engine()


@cache
def plain() -> Image.Image:
    return page(PARAGRAPHS, HALF)


def recognised(data: bytes, name: str = "scan.pdf", with_engine: Engine | None = None) -> ParsedDocument:
    used = with_engine or engine()
    return parse(data, name, ParseOptions(ocr=used.identity), Ocr(used)).documents[0]


def turned_by_the_file(degrees: int) -> bytes:
    """A scan that lies on its side, in a page that says by how much it is to be turned."""
    document = pypdfium2.PdfDocument(scanned_pdf([plain().rotate(degrees, expand=True)]))
    document[0].set_rotation(degrees)
    out = io.BytesIO()
    document.save(out)
    document.close()
    return bytes(out.getvalue())


SCANS: dict[str, tuple[Callable[[], bytes], str, float]] = {
    "a clean page": (lambda: scanned_pdf([plain()]), WANTED, MOST),
    "two columns below a title": (
        lambda: scanned_pdf([page(PARAGRAPHS, HALF, columns=2, title="NOTICE OF THE HARBOUR")]), "NOTICE OF THE HARBOUR " + WANTED, MOST,
    ),
    "a page on its side": (lambda: scanned_pdf([plain().rotate(90, expand=True)]), WANTED, MOST),
    "a page on its head": (lambda: scanned_pdf([plain().rotate(180)]), WANTED, MOST),
    "a page that says that it lies on its side": (lambda: turned_by_the_file(90), WANTED, MOST),
    "a poor copy": (lambda: scanned_pdf([noisy(plain())]), WANTED, MOST),
    "a coarse scan without serifs": (
        lambda: scanned_pdf([page(PARAGRAPHS, Sheet(dpi=110, serif=False, size=HALF.size))], 110), WANTED, MOST,
    ),
}  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", SCANS.values(), ids=SCANS.keys())
def test_a_scan_is_read_nearly_without_error(case: tuple[Callable[[], bytes], str, float]) -> None:
    make, wanted, most = case
    document = recognised(make())
    assert character_error_rate(wanted, document.text) <= most, document.text
    assert [found.page for found in document.recognised] == [1]
    assert document.recognised[0].confidence > 0.95


@pytest.mark.timeout(300)
def test_pages_keep_their_numbers_and_offsets_and_empty_ones_their_place() -> None:
    first, last = passage(11, 1), passage(12, 1)
    document = recognised(scanned_pdf([page([first], CARD), CARD.blank(), page([last], CARD)]))
    assert [found.page for found in document.recognised] == [1, 3]
    starts = (*document.pages, len(document.text) + 2)
    pages = [document.text[start : end - 2] for start, end in pairwise(starts)]
    assert pages[1] == ""
    assert character_error_rate(first, pages[0]) <= MOST
    assert character_error_rate(last, pages[2]) <= MOST


@pytest.mark.timeout(300)
def test_a_page_that_nobody_can_read_has_little_confidence() -> None:
    document = recognised(scanned_pdf([page([passage(3, 1)], CARD), spoilt(plain())]))
    good, poor = (found.confidence for found in document.recognised)
    assert (good > 0.95, poor < 0.85) == (True, True), (good, poor)


@pytest.mark.timeout(300)
def test_the_same_scan_gives_the_same_text_and_confidence_with_any_number_of_threads() -> None:
    data = scanned_pdf([noisy(page([passage(4, 2)], CARD))])
    one = recognised(data, with_engine=Engine(threads=1))
    assert one == recognised(data, with_engine=Engine(threads=2)) == recognised(data)


@pytest.mark.timeout(300)
def test_images_of_every_kind_are_read() -> None:
    text = passage(5, 1)
    drawn = page([text], CARD)
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.tiff", "TIFF")):
        document = recognised(encoded(drawn, kind, [drawn] if kind == "TIFF" else []), name)
        for start in document.pages:
            assert character_error_rate(text, document.text[start : start + len(text)]) <= MOST


@pytest.mark.timeout(300)
def test_a_page_of_too_many_lines_is_refused_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradatim.rag.ocr.engine.MAX_LINES", 3)
    short, long = page(["One line only."], CARD), page([passage(6, 4)], CARD)
    used = engine()
    parsed = parse(scanned_pdf([short, long]), "scan.pdf", ParseOptions(ocr=used.identity), Ocr(used))
    assert [(found.page, found.reason) for found in parsed.rejected] == [(2, Reason.RECOGNITION_FAILED)]
    assert "more than 3" in str(parsed.rejected[0])
    assert parsed.documents[0].text.strip() == "One line only."
