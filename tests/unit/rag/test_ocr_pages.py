"""Which pages are recognised, what becomes of them, and what bounds them; the engine itself is tested on real scans."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pypdf
import pytest
from PIL import Image
from tests.support.scans import Sheet, encoded, scanned_pdf

from gradatim.rag.model import RagError, RecognisedPage
from gradatim.rag.ocr import Ocr, OcrError, PageText, Pixels
from gradatim.rag.parse import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason, parse, scan, to_documents

from .pdf_files import pdf

SMALL = Sheet(dpi=20)
DARK = Image.new("L", SMALL.pixels, 40)
LIGHT = SMALL.blank()
PROSE = "The board meets on the first Monday of each month"


@dataclass
class Reader:
    """Says of every dark page the same, nothing of a light one, and fails on a grey one."""

    says: PageText = field(default_factory=lambda: PageText(PROSE, 0.9))
    identity: str = "reader/1+test"
    name: str = "reader/1"
    sizes: list[tuple[int, ...]] = field(default_factory=list)

    def read(self, image: Pixels) -> PageText:
        self.sizes.append(image.shape)
        mean = float(image.mean())
        if 100 < mean < 150:
            raise OcrError("the engine failed on it (cv2.error: no)")
        return self.says if mean < 100 else PageText("")


def read(data: bytes, name: str = "a.pdf", reader: Reader | None = None, **options: object) -> ParsedFile:
    reader = reader or Reader()
    return parse(data, name, ParseOptions(ocr=reader.identity, **options), Ocr(reader))  # type: ignore[arg-type]


def merged(*files: bytes) -> bytes:
    writer, out = pypdf.PdfWriter(), io.BytesIO()
    for file in files:
        writer.append(io.BytesIO(file))
    writer.write(out)
    return out.getvalue()


def test_pages_without_text_are_recognised_and_the_others_are_left_alone() -> None:
    own = "A page that has a text layer of its own"
    parsed = read(merged(pdf(own), scanned_pdf([DARK, LIGHT], 20), pdf(own)))
    starts = (0, len(own) + 2, len(own) + len(PROSE) + 4, len(own) + len(PROSE) + 6)
    assert parsed.documents == (
        ParsedDocument(
            f"{own}\n\n{PROSE}\n\n\n\n{own}", {"ocr_pages": 1, "ocr_confidence": 0.9}, starts,
            recognised=(RecognisedPage(2, 0.9),),
        ),
    )  # fmt: skip
    assert parsed.parser.endswith("+reader/1")
    document = to_documents(parsed, "s", "a.pdf")[0]
    assert (document.recognised, document.page_at(starts[1])) == ((RecognisedPage(2, 0.9),), 2)


def test_a_file_with_a_text_layer_is_as_it_was_without_an_engine() -> None:
    data = pdf(PROSE, PROSE)
    assert read(data) == parse(data, "a.pdf")


def test_next_to_no_text_is_none_unless_it_says_more() -> None:
    stamp = pdf("Scan 0001")
    assert read(stamp).documents[0].text == "Scan 0001"  # drawn on white: the reader says nothing
    assert read(stamp, reader=Reader(PageText("?", 0.2))).documents[0].recognised == ()


def test_a_poor_page_is_recorded_even_when_nothing_of_it_is_kept() -> None:
    data = merged(pdf(PROSE), scanned_pdf([DARK], 20))
    assert read(data, reader=Reader(PageText("", 0.31))).documents[0].recognised == (RecognisedPage(2, 0.31),)


def test_a_page_that_fails_is_refused_by_itself() -> None:
    grey = Image.new("L", SMALL.pixels, 120)
    parsed = read(scanned_pdf([DARK, grey, DARK], 20), "dir/a.pdf")
    assert [document.recognised for document in parsed.documents] == [(RecognisedPage(1, 0.9), RecognisedPage(3, 0.9))]
    assert [str(error) for error in parsed.rejected] == [
        "dir/a.pdf page 2: cannot be recognised: the engine failed on it (cv2.error: no); scan it again or remove it (RecognitionFailed)"
    ]
    only = read(scanned_pdf([grey], 20))
    assert (only.documents, [error.page for error in only.rejected]) == ((), [1])


def test_each_page_is_told_before_it_is_read_and_may_stop_the_work() -> None:
    seen: list[tuple[str, int, int]] = []

    def watch(file: str, page: int, pages: int) -> None:
        seen.append((file, page, pages))
        if len(seen) == 2:
            raise InterruptedError

    reader = Reader()
    with pytest.raises(InterruptedError):
        parse(scanned_pdf([DARK] * 3, 20), "a.pdf", ParseOptions(ocr=reader.identity), Ocr(reader, watch))
    assert (seen, len(reader.sizes)) == ([("a.pdf", 1, 3), ("a.pdf", 2, 3)], 1)


@pytest.mark.parametrize(
    ("width", "height"),
    [
        pytest.param(595, 842, id="A4"), pytest.param(2384, 3370, id="A0"), pytest.param(14_400, 14_400, id="the largest page of a PDF"),
        pytest.param(1, 14_400, id="a hair"), pytest.param(1e9, 3, id="beyond any page"), pytest.param(0, 0, id="no page at all"),
    ],
)  # fmt: skip
def test_no_page_is_drawn_with_more_pixels_than_allowed(width: float, height: float) -> None:
    scale = scan.scale_of(width, height)
    assert 0 < scale <= 200 / 72
    assert (width * scale + 1) * (height * scale + 1) <= scan.PAGE_PIXELS * 1.01


def test_a_huge_page_is_drawn_small() -> None:
    reader = Reader()
    data = scanned_pdf([Image.new("L", (300, 300), 40)], 1)  # 300 inches wide
    assert read(data, reader=reader).documents[0].text == PROSE
    assert reader.sizes[0][0] * reader.sizes[0][1] <= scan.PAGE_PIXELS * 1.01


def test_a_page_of_too_many_pixels_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "IMAGE_PIXELS", DARK.width * DARK.height - 1)
    parsed = read(scanned_pdf([DARK], 20))
    assert [(error.reason, error.page) for error in parsed.rejected] == [(Reason.TOO_LARGE, 1)]


IMAGES: dict[str, Callable[[], tuple[str, bytes, int]]] = {
    "png": lambda: ("a.png", encoded(DARK, "PNG"), 1),
    "a jpeg by its other name": lambda: ("a.JPEG", encoded(DARK, "JPEG"), 1),
    "a tiff of two pages": lambda: ("a.tif", encoded(DARK, "TIFF", [DARK]), 2),
    "one bit a pixel": lambda: ("a.tiff", encoded(DARK.convert("1"), "TIFF"), 1),
    "black on nothing": lambda: ("a.png", encoded(Image.new("LA", (90, 90), (0, 255)), "PNG"), 1),
    "sixteen bits": lambda: ("a.png", encoded(Image.new("I;16", (90, 90), 0), "PNG"), 1),
    "four colours of print": lambda: ("a.jpg", encoded(Image.new("CMYK", (90, 90), (0, 0, 0, 255)), "JPEG"), 1),
}


@pytest.mark.parametrize("make", IMAGES.values(), ids=IMAGES.keys())
def test_images_become_documents_with_a_page_for_each_picture(make: Callable[[], tuple[str, bytes, int]]) -> None:
    name, data, pages = make()
    document = read(data, name).documents[0]
    assert document.text == "\n\n".join([PROSE] * pages)
    assert document.pages == tuple(number * (len(PROSE) + 2) for number in range(pages))
    assert document.recognised == tuple(RecognisedPage(number + 1, 0.9) for number in range(pages))


def test_what_is_transparent_is_paper() -> None:
    with pytest.raises(ParseError) as caught:
        read(encoded(Image.new("LA", (90, 90), (0, 0)), "PNG"), "a.png")
    assert caught.value.reason is Reason.EMPTY


def test_an_image_is_turned_as_its_camera_noted_and_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    out, reader = io.BytesIO(), Reader()
    Image.new("L", (400, 200), 40).save(out, "JPEG", exif=exif)
    monkeypatch.setattr("gradatim.rag.parse.image.PAGE_PIXELS", 20_000)
    read(out.getvalue(), "a.jpg", reader)
    assert reader.sizes == [(200, 100, 3)]


BAD: dict[str, tuple[str, bytes, dict[str, object], Reason, str]] = {
    "no image": ("a.png", b"plain text", {}, Reason.BROKEN, "cannot be read"),
    "an image of another kind by a wrong name": ("a.png", encoded(DARK, "GIF"), {}, Reason.BROKEN, "cannot be read"),
    "too many pages": ("a.tiff", encoded(DARK, "TIFF", [DARK] * 2), {"max_pages": 2}, Reason.TOO_LARGE, "has 3 pages, more than 2"),
    "an empty picture": ("a.png", encoded(LIGHT, "PNG"), {}, Reason.EMPTY, "holds no text that could be recognised"),
    "an empty scan": ("a.pdf", scanned_pdf([LIGHT], 20), {}, Reason.EMPTY, "no text that could be recognised"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_files_that_give_nothing_are_refused_with_the_reason(
    case: tuple[str, bytes, dict[str, object], Reason, str],
) -> None:
    name, data, options, reason, text = case
    with pytest.raises(ParseError) as caught:
        read(data, name, **options)
    assert (caught.value.reason, text in str(caught.value)) == (reason, True), str(caught.value)


def test_a_truncated_picture_is_refused_by_its_page() -> None:
    data = encoded(DARK.resize((200, 200)), "JPEG")
    parsed = read(data[: len(data) // 2], "a.jpg")
    assert [(error.reason, error.page) for error in parsed.rejected] == [(Reason.BROKEN, 1)]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_500, 20_000])
def test_an_image_that_unpacks_to_too_much_is_never_unpacked(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small = encoded(Image.new("1", (8, 8)), "PNG")
    head = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
    data = small[:12] + head + struct.pack(">I", zlib.crc32(head)) + small[33:]
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("was unpacked"))
    try:
        found = [error.reason for error in read(data, "a.png").rejected]
    except ParseError as error:
        found = [error.reason]
    assert found == [Reason.TOO_LARGE]


def test_without_an_engine_images_and_scans_are_refused_with_what_to_do() -> None:
    for name, data in (("a.png", encoded(DARK, "PNG")), ("a.pdf", scanned_pdf([DARK], 20))):
        with pytest.raises(ParseError, match=r"index it with parsing\.ocr"):
            parse(data, name)


def test_another_engine_than_the_options_name_is_refused() -> None:
    for options, ocr in (
        (ParseOptions(ocr="other/1"), Ocr(Reader())),
        (ParseOptions(), Ocr(Reader())),
        (ParseOptions(ocr="x"), None),
    ):
        with pytest.raises(RagError, match="text recognition is"):
            parse(b"text", "a.txt", options, ocr)


def test_an_option_that_is_off_leaves_the_digest_as_it_was_and_each_engine_has_its_own() -> None:
    off = "cf5a5e2b"
    digests = [ParseOptions().digest(), ParseOptions(ocr="a/1").digest(), ParseOptions(ocr="a/2").digest()]
    assert (len(set(digests)), digests[0][:8]) == (3, off)
