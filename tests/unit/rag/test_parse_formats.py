"""What each parser makes of a good file: text in reading order, structure as Markdown, metadata, pages, rows."""

from __future__ import annotations

import io
from pathlib import Path

import docx
import pytest

from gradatim.rag.model import Document, document_id
from gradatim.rag.parse import CsvMode, ParsedDocument, ParseOptions, TableForm, parse, to_documents

from .pdf_files import encrypted, pdf


def word_file() -> bytes:
    document = docx.Document()
    document.core_properties.title, document.core_properties.author = "Leave policy", "HR"
    document.sections[0].header.paragraphs[0].text = "Internal"
    document.add_heading("Leave", 0)
    document.add_paragraph("Everyone has leave.")
    document.add_heading("How much", 2)
    table = document.add_table(2, 3)
    for index, text in enumerate(["Role", "Days", "Note", "Any", "30", "a|b"]):
        table.cell(index // 3, index % 3).text = text
    document.add_paragraph("First", style="List Bullet")
    document.add_table(1, 2).cell(0, 0).merge(document.tables[1].cell(0, 1)).text = "wide"
    document.add_paragraph("Last.")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


WORD_TEXT = (
    "Internal\n\n# Leave\n\nEveryone has leave.\n\n## How much\n\n| Role | Days | Note |\n| --- | --- | --- |\n| Any | 30 | a\\|b |\n\n"
    "- First\n\n| wide |\n| --- |\n\nLast."
)
HTML = """<!doctype html><html><head><title> A  page </title><style>p {}</style></head><body><nav>Menu</nav>
<h1>Big <em>news</em></h1><script>alert("no")</script><p>One<br>two &amp; three.</p>Loose <b>text</b>
<ul><li>first</li><li><p>second</p></li></ul><table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1
2</td></tr></table><pre>if x:
    y()</pre><template>hidden</template></body></html>"""
HTML_TEXT = (
    "# Big news\n\nOne\ntwo & three.\n\nLoose text\n\n- first\n\n- second\n\n"
    "| k | v |\n| --- | --- |\n| a | 1 2 |\n\n```\nif x:\n    y()\n```"
)

CASES = {
    "pdf pages with their offsets": (
        "a.pdf", pdf("Hello there", "", "Second page\nof text"), ParseOptions(),
        ParsedDocument("Hello there\n\n\n\nSecond page\nof text", {}, (0, 13, 15)),
    ),
    "pdf with an owner password only": (
        "a.pdf", encrypted(pdf("Readable"), ""), ParseOptions(), ParsedDocument("Readable", {}, (0,)),
    ),
    "docx with headings, tables, lists, header and merged cells": (
        "a.docx", word_file(), ParseOptions(), ParsedDocument(WORD_TEXT, {"title": "Leave policy", "author": "HR"}),
    ),
    "docx without page headers": (
        "a.docx", word_file(), ParseOptions(page_headers=False),
        ParsedDocument(WORD_TEXT.removeprefix("Internal\n\n"), {"title": "Leave policy", "author": "HR"}),
    ),
    "html without scripts and navigation": ("a.html", HTML.encode(), ParseOptions(), ParsedDocument(HTML_TEXT, {"title": "A page"})),
    "docx with tables as text": (
        "a.docx", word_file(), ParseOptions(tables=TableForm.TEXT),
        ParsedDocument(
            WORD_TEXT.replace("| Role | Days | Note |\n| --- | --- | --- |\n| Any | 30 | a\\|b |", "Role\tDays\tNote\nAny\t30\ta|b")
            .replace("| wide |\n| --- |", "wide"), {"title": "Leave policy", "author": "HR"},
        ),
    ),
    "html with tables as text": (
        "a.html", HTML.replace("<td>1", "<td></td><td>1|").encode(), ParseOptions(tables=TableForm.TEXT),
        ParsedDocument(
            HTML_TEXT.replace("| k | v |\n| --- | --- |\n| a | 1 2 |", "k\tv\na\t\t1| 2"), {"title": "A page"},
        ),
    ),
    "a pdf has no tables to write": (
        "a.pdf", pdf("k v"), ParseOptions(tables=TableForm.TEXT), ParsedDocument("k v", {}, (0,)),
    ),
    "markdown keeps its own tables": (
        "a.md", b"| k |\n| --- |", ParseOptions(tables=TableForm.TEXT), ParsedDocument("| k |\n| --- |"),
    ),
    "html in its declared encoding": (
        "a.htm", '<meta charset="shift_jis"><p>日本語</p>'.encode("shift_jis"), ParseOptions(), ParsedDocument("日本語"),
    ),
    "html that names an encoding it cannot have": (
        "a.htm", b'<meta charset="utf-16"><p>caf\xc3\xa9', ParseOptions(), ParsedDocument("caf\u00e9"),
    ),
    "markdown with front matter": (
        "a.md", b"---\ntitle: Guide\ndate: 2024-05-01\ntags: [a, 2]\nnested: {x: 1}\n---\n# Guide\r\n\r\nText\n", ParseOptions(),
        ParsedDocument("# Guide\n\nText\n", {"title": "Guide", "date": "2024-05-01", "tags": ("a", "2")}),
    ),
    "front matter with pairs of surrogates, and halves of them": (
        "a.md", rb"""---
t: "\uD83D\uDE00 \uD800"
"k\uDC00": ["\uD800", b]
---
x""", ParseOptions(), ParsedDocument("x", {"t": "\U0001f600 \ufffd", "k\ufffd": ("\ufffd", "b")}),
    ),
    "front matter with aliases": (
        "a.md", b"---\na: &a [x, 1]\nb: *a\nc: &c {p: 1}\nd: {<<: *c}\n---\nx", ParseOptions(),
        ParsedDocument("x", {"a": ("x", "1"), "b": ("x", "1")}),
    ),
    "markdown that starts with a rule": ("a.md", b"---\nJust text\n---\nmore", ParseOptions(), ParsedDocument("---\nJust text\n---\nmore")),
    "text is kept as it stands": ("a.txt", b"  a\tb \r\nc", ParseOptions(), ParsedDocument("  a\tb \nc", {"encoding": "utf-8"})),
    "a file without a known extension by option": (
        "NOTES", b"x", ParseOptions(format="text"), ParsedDocument("x", {"encoding": "utf-8"}),
    ),
    "csv as a table stays Markdown": (
        "a.csv", b"k,v\na,1\n", ParseOptions(csv_mode=CsvMode.TABLE, tables=TableForm.TEXT),
        ParsedDocument("| k | v |\n| --- | --- |\n| a | 1 |"),
    ),
    "csv as a table": (
        "a.csv", b"k,v\na,1\n", ParseOptions(csv_mode=CsvMode.TABLE), ParsedDocument("| k | v |\n| --- | --- |\n| a | 1 |"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_documents(case: tuple[str, bytes, ParseOptions, ParsedDocument]) -> None:
    name, data, options, expected = case
    assert parse(data, name, options).documents == (expected,)


def test_csv_rows_become_documents_and_bad_rows_are_named() -> None:
    data = 'id;title;body\n1;First;"Long; text\nin two lines"\n2;Second\n\n3;Third;  \n4;Fourth;Ends\n'.encode(
        "utf-8-sig"
    )
    parsed = parse(data, "faq.csv", ParseOptions(text_columns=("body",)))
    assert parsed.documents == (
        ParsedDocument("Long; text\nin two lines", {"id": "1", "title": "First"}, row=1),
        ParsedDocument("Ends", {"id": "4", "title": "Fourth"}, row=4),
    )
    assert [str(error) for error in parsed.rejected] == [
        "faq.csv row 2: has 2 fields where the header has 3; quote fields that contain the separator (Broken)",
        "faq.csv row 3: has no text in body; fill it or drop the row (Empty)",
    ]


def test_all_csv_columns_make_the_text_unless_some_are_chosen() -> None:
    parsed = parse(b"q\ta\nWhy?\tBecause\n", "faq.tsv")
    assert parsed.documents == (ParsedDocument("q: Why?\na: Because", row=1),)


def test_documents_are_named_and_located() -> None:
    parsed = parse(b"text,lang\nHi,en\n", "dir/a.csv", ParseOptions(text_columns=("text",)))
    assert to_documents(parsed, "faq", "dir/a.csv", {"lang": "?", "team": "x"}) == (
        Document(
            id=document_id("faq", "dir/a.csv", 1), source="faq", uri="dir/a.csv", text="Hi",
            metadata={"lang": "en", "team": "x"}, parser="csv/1", row=1,
        ),
    )  # fmt: skip
    assert to_documents(parsed, "faq", "dir/a.csv")[0].location() == "dir/a.csv row 1"


def test_document_ids_tell_apart_source_path_and_row() -> None:
    ids = {document_id("a", "b/c"), document_id("a/b", "c"), document_id("a", "b/c", 1), document_id("a", "b/c1")}
    assert len(ids) == 4
    assert document_id("a", "b/c") == "e5661d5c28ca88c1c824f9ef78941aa6e1e6708b9d9b0ac5539394311b0811ef"


def test_pages_are_found_by_offset() -> None:
    document = Document("i", "s", "a.pdf", "one\n\ntwo", pages=(0, 5))
    assert [document.page_at(offset) for offset in (0, 4, 5, 7)] == [1, 1, 2, 2]
    assert Document("i", "s", "a.md", "x").page_at(0) is None


@pytest.mark.parametrize(
    ("data", "encoding", "text", "ratio"),
    [
        ("naïve".encode(), "utf-8", "naïve", 0.0),
        ("naïve".encode("utf-8-sig"), "utf-8-sig", "naïve", 0.0),
        ("naïve".encode("utf-16"), "utf-16", "naïve", 0.0),
        ("naïve text".encode("utf-16-be"), "utf-16-be", "naïve text", 0.0),
        ("naïve".encode("utf-32"), "utf-32", "naïve", 0.0),
        ("naïve \u2013 café".encode("cp1252"), "windows-1252", "naïve \u2013 café", 0.0),
        ("é".encode() * 24 + b"\xff", "utf-8", "é" * 24 + "\ufffd", 0.04),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16", "utf-16 without mark", "utf-32", "western", "damaged utf-8"],
)
def test_encodings(data: bytes, encoding: str, text: str, ratio: float) -> None:
    assert parse(data, "a.txt").documents == (ParsedDocument(text, {"encoding": encoding}, replacement_ratio=ratio),)


def test_the_text_keeps_gold_offsets() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert parse(text.encode(), "a.md").documents[0].text == text
