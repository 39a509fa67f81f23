"""Files that are broken, too large or meant to do harm: refused with a reason and a place, quickly, and never with another error."""

from __future__ import annotations

import io
import struct
import zipfile

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf.generic import ByteStringObject, NameObject

from gradatim.rag.parse import ParsedDocument, ParseError, ParseOptions, Reason, parse
from gradatim.rag.parse.pdf import clean

from .pdf_files import encrypted, pdf
from .test_parse_formats import HTML
from .word_files import word_file


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return out.getvalue()


def swapped(data: bytes, member: str, content: bytes) -> bytes:
    """A docx with one member replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, content if name == member else source.read(name))
    return out.getvalue()


def lying(data: bytes) -> bytes:
    """The same archive whose directory claims that every entry unpacks to one byte."""
    out, position = bytearray(data), 0
    while (position := out.find(b"PK\x01\x02", position)) >= 0:
        out[position + 24 : position + 28] = struct.pack("<I", 1)
        position += 4
    return bytes(out)


def fronted(block: str) -> bytes:
    """A Markdown file with this front matter."""
    return f"---\n{block}\n---\ntext".encode()


def merging(levels: int) -> str:
    """Front matter whose mappings have twice the pairs of those before: a line for each doubling."""
    lines = (f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, levels))
    return "\n".join(["a0: &a0 {k: v}", *lines])


WORD, OLE = word_file(), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "'
    + b"ha" * 1000
    + b'"><!ENTITY b "'
    + b"&a;" * 1000
    + b'">]><w:document>&b;&b;</w:document>'
)

RUSSIAN = "Каждый сотрудник имеет право на отпуск."
DEEP = b"<div>" * 20_000
NAMES = b" ".join(b"a%d" % number for number in range(40_000))

CASES = {
    "an empty file": ("a.md", b"", {}, Reason.EMPTY, "is empty"),
    "a blank file": ("a.txt", b" \n\t\n", {}, Reason.EMPTY, "is empty"),
    "a page of nothing but script": ("a.html", b"<script>x</script>", {}, Reason.EMPTY, "holds no text"),
    "an unknown extension": ("a.exe", b"x", {}, Reason.UNSUPPORTED, "format .exe is not supported"),
    "no extension": ("LICENSE", b"x", {}, Reason.UNSUPPORTED, "no extension"),
    "more bytes than allowed": ("a.txt", b"x" * 11, {"max_bytes": 10}, Reason.TOO_LARGE, "has 11 bytes, more than 10"),
    "more text than allowed": ("a.txt", b"x" * 11, {"max_chars": 10}, Reason.TOO_LARGE, "gives 11 characters"),
    "binary as text": ("a.txt", bytes(range(256)) * 4, {}, Reason.ENCODING, "looks like a binary file"),
    "a wrong encoding": ("a.txt", b"\xff" * 99, {"encoding": "utf-8"}, Reason.ENCODING, "100.0% of the characters"),
    "Russian that does not say so": ("a.txt", RUSSIAN.encode("koi8-r"), {}, Reason.ENCODING, "neither UTF-8 nor UTF-16 nor Western"),
    "Japanese that does not say so": ("a.md", "これは日本語の文書です。".encode("shift_jis") * 9, {}, Reason.ENCODING, "nor Western text"),
    "bytes without a meaning": ("a.csv", b"a,b\nM\x81nchen,1\n", {}, Reason.ENCODING, "nor Western text"),
    "a Russian page of much markup": (
        "a.html", b"<p class='" + b"wide " * 99 + b"'>" + RUSSIAN.encode("cp1251"), {}, Reason.ENCODING, "nor Western text",
    ),
    "an unknown encoding": ("a.txt", b"x", {"encoding": "klingon"}, Reason.ENCODING, "unknown encoding 'klingon'"),
    "a page in an encoding that is none": ("a.html", b'<meta charset="undefined"><p>x', {}, Reason.ENCODING, "unknown encoding 'undefined'"),
    "front matter whose merged aliases multiply": ("a.md", fronted(merging(32)), {}, Reason.BROKEN, "characters by aliases at line"),
    "front matter whose long values multiply": (
        "a.md", fronted(f"a: &a {'x' * 30_000}\nb: [{'*a, ' * 5000}]"), {}, Reason.BROKEN, "characters by aliases at line 3",
    ),
    "front matter that holds itself": ("a.md", fronted("a: &a [*a]"), {}, Reason.BROKEN, "repeats a value within itself at line 2"),
    "a number of twenty thousand digits": ("a.md", fronted("n: 0x" + "f" * 20_000), {}, Reason.BROKEN, "has too many digits"),
    "a list of such numbers": ("a.md", fronted("n: [0x" + "f" * 20_000 + "]"), {}, Reason.BROKEN, "has too many digits"),
    "a value that is not what its tag says": ("a.md", fronted('n: !!int ""'), {}, Reason.BROKEN, "does not fit its tag"),
    "a time that is none": ("a.md", fronted("n: !!timestamp soon"), {}, Reason.BROKEN, "does not fit its tag"),
    "front matter that is no YAML": ("a.md", b"---\na: [1\nb: 2\n---\nx", {}, Reason.BROKEN, "not valid YAML at line 3"),
    "an impossible date": ("a.md", b"---\nd: 2024-02-31\n---\nx", {}, Reason.BROKEN, "front matter cannot be read"),
    "a text file called pdf": ("a.pdf", b"hello", {}, Reason.BROKEN, "does not start as a PDF"),
    "a truncated pdf": ("a.pdf", pdf("x")[:60], {}, Reason.BROKEN, "cannot be read by PDFium"),
    "a locked pdf": ("a.pdf", encrypted(pdf("x"), "secret"), {}, Reason.ENCRYPTED, "needs a password"),
    "a scanned pdf": ("a.pdf", pdf("", ""), {}, Reason.EMPTY, "has 2 pages but no text layer"),
    "a pdf of too many pages": ("a.pdf", pdf("x", "y", "z"), {"max_pages": 2}, Reason.TOO_LARGE, "has 3 pages, more than 2"),
    "an old Word file": ("a.doc", OLE + b"WordDocument", {}, Reason.UNSUPPORTED, "old .doc format"),
    "a locked Word file": ("a.docx", OLE + "EncryptedPackage".encode("utf-16-le"), {}, Reason.ENCRYPTED, "needs a password"),
    "a docx that is no archive": ("a.docx", b"PK\x03\x04nonsense", {}, Reason.BROKEN, "not a readable archive"),
    "an archive that is no docx": ("a.docx", archive(x=b"y"), {}, Reason.BROKEN, "not a Word document"),
    "a docx of broken XML": ("a.docx", swapped(WORD, "word/document.xml", b"<w:"), {}, Reason.BROKEN, "cannot be read"),
    "a docx of expanding entities": ("a.docx", swapped(WORD, "word/document.xml", LAUGHS), {}, Reason.BROKEN, "cannot be read"),
    "a zip bomb by ratio": ("a.docx", archive(x=b"\0" * 5_000_000), {}, Reason.ZIP_BOMB, "entry 'x' unpacks to 5000000 bytes"),
    "a zip bomb by size": ("a.docx", WORD, {"zip_max_bytes": 1000}, Reason.ZIP_BOMB, "more than 1000; refused"),
    "a zip bomb by count": ("a.docx", WORD, {"zip_max_entries": 3}, Reason.ZIP_BOMB, "entries; refused"),
    "a zip directory that lies": ("a.docx", lying(WORD), {}, Reason.BROKEN, "cannot be read"),
    "deeply nested html": ("a.html", b"<div>" * 100_000 + b"x", {}, Reason.BROKEN, "deeper than 512"),
    "html nested after a comment that is whole": ("a.html", b"<!-->" + DEEP, {}, Reason.BROKEN, "deeper than 512"),
    "html nested after a comment of a dash": ("a.html", b"<!--->" + DEEP, {}, Reason.BROKEN, "deeper than 512"),
    "html nested after a title like a comment": ("a.html", b"<title><!--</title>" + DEEP, {}, Reason.BROKEN, "deeper than 512"),
    "html nested after a field like a script": ("a.html", b"<textarea><script></textarea>" + DEEP, {}, Reason.BROKEN, "deeper than 512"),
    "html nested after a script in quotes": ("a.html", b"<a title='<script>'>" + DEEP, {}, Reason.BROKEN, "deeper than 512"),
    "html nested after a tag like an end": ("a.html", (b"<div>" * 300 + b"</x>" * 300) * 20, {}, Reason.BROKEN, "deeper than 512"),
    "html nested in svg, where cells nest": ("a.html", b"<svg>" + b"<td>" * 20_000, {}, Reason.BROKEN, "deeper than 512"),
    "html whose end tags do not reach out of objects": (
        "a.html", b"<div><object></div></object>" * 5000, {}, Reason.BROKEN, "deeper than 512",
    ),
    "html that opens again what objects keep from ending": (
        "a.html", b"<div>" + b"".join(b"<b id=%d><object></b></object>" % i for i in range(1500)) + b"</div>" + b"<p>x</p>" * 5000, {},
        Reason.BROKEN, "deeper than 512",
    ),
    "html nested in svg after its end tag in a block": (
        "a.html", b"<svg><foreignObject><div></svg></div></foreignObject>" + b"<a>" * 20_000, {}, Reason.BROKEN, "deeper than 512",
    ),
    "a tag of many attributes": ("a.html", b"<a " + NAMES + b">x", {}, Reason.BROKEN, "a tag with more than 1000 attributes"),
    "a body that is given many": (
        "a.html", NAMES.replace(b" ", b"><body ") + b">x", {}, Reason.BROKEN, "a tag with more than 1000 attributes",
    ),
    "html that opens a lot again": (
        "a.html", b"<p><b " + NAMES[:2000].replace(b" ", b"><b ") + b"></p>" + b"<p>x" * 50_000, {}, Reason.BROKEN, "elements like <b> open",
    ),
    "html that merges millions of cells": (
        "a.html", b"<table><tr><td colspan=1000 rowspan=65534>x" + b"<tr><td>y" * 9000, {}, Reason.TOO_LARGE, "fill more than 200000 places",
    ),
    "a csv without the column": ("a.csv", b"a,b\n1,2\n", {"text_columns": ("body",)}, Reason.MISSING_COLUMN, "no column body; it has a, b"),
    "a csv that names a column twice": ("a.csv", b"a,a\n1,2\n", {}, Reason.BROKEN, "names a column twice: a"),
    "a csv of a header only": ("a.csv", b"a,b\n", {}, Reason.EMPTY, "has a header but no rows"),
    "a csv of too many rows": ("a.csv", b"a\n1\n2\n3\n", {"max_rows": 2}, Reason.TOO_LARGE, "more than 2 rows"),
    "a csv field without end": ("a.csv", b'a\n1\n"' + b"x" * 3_000_000, {}, Reason.TOO_LARGE, "row 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refusals(case: tuple[str, bytes, dict[str, int], Reason, str]) -> None:
    name, data, options, reason, message = case
    with pytest.raises(ParseError) as caught:
        parse(data, name, ParseOptions(**options))
    assert (caught.value.reason, caught.value.file) == (reason, name)
    assert message in str(caught.value)
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize(
    "encoding", ["idna", "punycode", "undefined", "unicode_escape", "Raw-Unicode-Escape", "utf_7", "base64", "rot13"]
)
def test_what_is_no_encoding_of_text_is_refused_wherever_it_is_named(encoding: str) -> None:
    page = f'<meta charset="{encoding}">'.encode() + rb"<p>\ud800 +2AA- a-b</p>"
    for data, name, options in ((page, "a.html", ParseOptions()), (page, "a.txt", ParseOptions(encoding=encoding))):
        with pytest.raises(ParseError, match="unknown encoding") as caught:
            parse(data, name, options)
        assert caught.value.reason is Reason.ENCODING


@pytest.mark.parametrize(
    "page",
    [
        b"<div>" * 400 + b"<div></div>" * 30_000 + b"x", b"<li>x" * 30_000, b"<!--" * 500_000 + b"x-->y",
        b"<script" * 200_000 + b">x</script>y", b"<" * 500_000 + b"y",
    ],
    ids=["many at depth", "unclosed items", "comment starts", "script starts", "tag starts"],
)  # fmt: skip
def test_html_takes_linear_time(page: bytes) -> None:
    assert len(parse(page, "a.html").documents) == 1


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(b"<svg/><svg />" + b"<p><br/><li>x" * 600, "- x", id="svg that closes itself"),
        pytest.param(b"<p>a<math/>" + b"<p>x" * 600, "x", id="math that closes itself"),
        pytest.param(b"<p>a<math><mtext><![CDATA[x < y & z]]></mtext></math>", "ax < y & z", id="text of math"),
        pytest.param(b"<a name=x>t" * 600, "t", id="anchors that are left open"),
        pytest.param(b"<a name=x />t<nobr>" * 600, "t", id="anchors that close themselves"),
        pytest.param(
            b"<table><tr><td><table><tr><th>x<td><b>y</b><tr><td><a>z</a></table><td><object>q</object></table>" * 600, "z",
            id="tables in tables",
        ),
        pytest.param(b"<div><table><tr><td>x<table><caption><i>c</i><tr><td>" * 60, "x", id="tables deep in tables"),
    ],
)  # fmt: skip
def test_html_that_nests_less_than_it_seems_is_read(page: bytes, text: str) -> None:
    assert text in parse(page, "a.html", ParseOptions()).documents[0].text


def test_a_page_with_instructions_for_another_program_is_read_without_them() -> None:
    parsed = parse(b"<?xml version='1.0'?><p>one <?php echo 1 ?>two</p>", "a.html")
    assert parsed.documents[0].text == "one two"


def test_a_pdf_title_that_is_no_text_is_left_out() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("Hello")))
    writer.add_metadata({"/Author": "A"})
    assert writer._info is not None
    writer._info[NameObject("/Title")] = ByteStringObject(b"\xfe\xff\xd8\x00\x00a")
    out = io.BytesIO()
    writer.write(out)
    assert parse(out.getvalue(), "a.pdf").documents == (ParsedDocument("Hello", {"author": "A"}, (0,)),)


def test_blanks_of_a_pdf_page_take_linear_time() -> None:
    blanks = " \t" * 100_000
    assert clean(f"a{blanks}b{blanks}\nc") == f"a{blanks}b\nc"


def test_a_line_of_megabytes_is_one_document() -> None:
    line = b"x" * 8_000_000
    assert len(parse(line, "a.txt").documents[0].text) == len(line)


SEEDS = {
    "a.pdf": pdf("Some text", "More"),
    "a.docx": WORD,
    "a.html": HTML.encode(),
    "a.csv": b'a,b\n1,"2"\n',
    "a.md": b"---\na: 1\n---\nx",
}


@pytest.mark.timeout(30)  # hundreds of files, not one
@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(SEEDS)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), st.binary(max_size=8)), min_size=1, max_size=6),
)
def test_damaged_files_raise_nothing_but_parse_errors(name: str, edits: list[tuple[float, int, bytes]]) -> None:
    data = bytearray(SEEDS[name])
    for place, length, content in edits:
        at = int(place * len(data))
        data[at : at + length] = content
    try:
        parsed = parse(bytes(data), name)
    except ParseError as error:
        assert error.file == name  # noqa: PT017 - either outcome is right; another exception is not
    else:
        assert parsed.documents or parsed.rejected
