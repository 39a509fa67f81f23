"""What each parser makes of a good file: text in reading order, structure as Markdown, metadata, pages, rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.rag.model import Document, document_id
from gradatim.rag.parse import CsvMode, ParsedDocument, ParseError, ParseOptions, Reason, TableForm, parse, to_documents

from .pdf_files import encrypted, pdf
from .word_files import LONG, word_file

WORD_TEXT = (
    "Internal\n\n# Leave\n\nEveryone has leave.\n\n## How much\n\n| Role | Days | Note |\n| --- | --- | --- |\n| Any | 30 | a\\|b |\n\n"
    "- First\n\n| wide |\n| --- |\n\nLast."
)
HTML = """<!doctype html><html><head><title> A  page </title><style>p {}</style></head><body><nav>Menu</nav>
<h1>Big <em>news</em></h1><script>alert("no")</script><p>One<br>two &amp; three.</p>Loose <b>text</b>
<ul><li>first</li><li><p>second</p></li></ul><table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1
2</td></tr></table><pre>if x:
    y()</pre><template>hidden</template></body></html>"""
MERGED = f"""<table><caption>Prices <b>n</b>ow</caption><tr><th rowspan=2>Region<th colspan=2>2023<th rowspan=3>{LONG}<tr><th>Q1<th>Q2
<tr><td rowspan=2>EU<td>1<td>2<tr><td>3<td>4<td>5<tr><td colspan=4>All<tr><td>US<td>6</table>"""
MERGED_TEXT = f"Prices now\n\nRegion\t2023\t2023\t{LONG.strip()}\nRegion\tQ1\tQ2\nEU\t1\t2\nEU\t3\t4\t5\nAll\nUS\t6"
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
    "html with merged cells: a label stands in every place it spans, a heading across the table once, long text once": (
        "a.html", MERGED.encode(), ParseOptions(tables=TableForm.TEXT), ParsedDocument(MERGED_TEXT),
    ),
    "html whose spans are no numbers, too large or across groups of rows": (
        "a.html", b"<table><thead><tr><th rowspan=9>a<th colspan=x>b</thead><tr><td rowspan=0>c<td rowspan=' +1 '>d<tr><td>e<tr><td>f</table>",
        ParseOptions(tables=TableForm.TEXT), ParsedDocument("a\tb\nc\td\nc\te\nc\tf"),
    ),
    "html cells: no space within a word, one at ends of lines and blocks": (
        "a.html", b"<table><tr><td>H<sub>2</sub>O<td><b>Im</b>portant<td>a<br>b<p>c</p>d<td><table><tr><td>n<td>m</table></table>",
        ParseOptions(tables=TableForm.TEXT), ParsedDocument("H2O\tImportant\ta b c d\tn m"),
    ),
    "html whose scripts, comments and titles hold what looks like markup": (
        "a.html",
        (b"<title>a <b> &amp; c</title>1<!-->2<!--->3<!-- <p> --!>4<a title='<script>'>5</a><svg><style/><title/></svg>6"
        b"<script><!-- f('<script></script>') --></script>7<textarea><!--</textarea>8<noframes><p></noframes>9<xmp><i>&amp;</xmp>"),
        ParseOptions(), ParsedDocument("123456789\n\n```\n<i>&amp;\n```", {"title": "a <b> & c"}),
    ),
    "html with an icon of many paths": ("a.html", b"<svg>" + b"<path d='M0'/>" * 600 + b"</svg>ok", ParseOptions(), ParsedDocument("ok")),
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


QUOTES = {
    "a line that is a record all the same is refused by itself": (
        'text,tenant\na,acme\n"12" pipe",beta\n"two\nlines",gamma\n', [("a", "acme", 1), ("two\nlines", "gamma", 3)], "row 2: ",
    ),
    "a quote that takes in other tenants' rows": (
        'text,tenant\n"12-inch pipe for acme,acme\nsecret beta one,beta\n"10-inch pipe",gamma\nlast,beta\n', [], "row 1: ",
    ),
    "a record of several lines that begins like one": ('text,tenant\na,acme\n"12" pipe\nsecret,gamma\nend",acme\n', [], "row 2: "),
    "a quote that is open to the end of the file": ('text,tenant\na,acme\n"b,beta\nc,gamma\n', [], "row 2: "),
    "a quote within one that goes on in the next line": (
        'tenant,text\nA,"He said "hi" and\nB,the secret of A"\nB,fine\n', [], "row 1: ",
    ),
    "a header with an open quote": ('text,"tenant\na,acme\n', [], "row 0: "),
}  # fmt: skip


@pytest.mark.parametrize("mode", CsvMode)
@pytest.mark.parametrize("case", QUOTES.values(), ids=QUOTES.keys())
def test_a_wrong_quote_gives_no_row_to_another_tenant(
    case: tuple[str, list[tuple[str, str, int]], str], mode: CsvMode
) -> None:
    text, rows, place = case
    options = ParseOptions(text_columns=("text",), csv_mode=mode)
    if not rows:
        with pytest.raises(ParseError, match=place) as caught:
            parse(text.encode(), "a.csv", options)
        assert caught.value.reason is Reason.BROKEN
        return
    parsed = parse(text.encode(), "a.csv", options)
    table = "".join(f"\n| {' '.join(text.split())} | {tenant} |" for text, tenant, _ in rows)
    assert parsed.documents == (
        tuple(ParsedDocument(text, {"tenant": tenant}, row=row) for text, tenant, row in rows)
        if mode is CsvMode.ROWS
        else (ParsedDocument(f"| text | tenant |\n| --- | --- |{table}"),)
    )
    (refused,) = parsed.rejected
    assert refused.reason is Reason.BROKEN
    assert place in str(refused)


def test_a_long_line_with_wrong_quotes_takes_linear_time() -> None:
    with pytest.raises(ParseError, match="row 1: "):
        parse(b"a,b\n" + b'"x" y,' + b'"",' * 200_000 + b'"open\nc,d\n', "a.csv", ParseOptions())


def test_quotes_of_tsv_are_letters_where_they_enclose_no_field() -> None:
    parsed = parse(
        b'text\tn\n"Hello" he said\t5\n"12" pipe"\t6\nok\t7\n', "a.tsv", ParseOptions(text_columns=("text",))
    )
    assert [(document.text, document.metadata["n"]) for document in parsed.documents] == [
        ('"Hello" he said', "5"),
        ("ok", "7"),
    ]
    assert [error.row for error in parsed.rejected] == [2]
    with pytest.raises(ParseError, match="row 1: "):
        parse(b'n\ttext\nA\t"He said "hi" and\nB\tthe secret of A"\n', "a.tsv", ParseOptions(text_columns=("text",)))


def test_a_row_without_cells_uses_up_what_cells_span() -> None:
    page = b"<table><tr><td rowspan=2>EU<td>1<tr></tr><tr><td>US<td>2</table>"
    assert parse(page, "a.html", ParseOptions(tables=TableForm.TEXT)).documents[0].text == "EU\t1\nUS\t2"


def test_a_wide_heading_of_a_table_costs_one_place() -> None:
    page = b"<table>" + b"<tr><td colspan=1000>x" * 300 + b"</table>"
    assert parse(page, "a.html", ParseOptions(tables=TableForm.TEXT)).documents[0].text.count("x") == 300


@pytest.mark.parametrize(
    "tag", ["button", "center", "dir", "legend", "listing", "menu", "optgroup", "option", "select"]
)
def test_words_of_a_cell_stay_apart(tag: str) -> None:
    page = f"<table><tr><td>Name<{tag}>Value</{tag}>x</table>".encode()
    text = parse(page, "a.html", ParseOptions(tables=TableForm.TEXT)).documents[0].text
    assert text.split() == ["Name", "Value", "x"]


def test_a_bad_byte_late_in_a_long_text_leaves_it_utf8() -> None:
    parsed = parse(b"plain " * 20_000 + "“so”".encode() + b"\xff", "a.txt", ParseOptions())
    assert parsed.documents[0].text.endswith("“so”\ufffd")


def test_all_csv_columns_make_the_text_unless_some_are_chosen() -> None:
    parsed = parse(b"q\ta\nWhy?\tBecause\n", "faq.tsv")
    assert parsed.documents == (ParsedDocument("q: Why?\na: Because", row=1),)


def test_documents_are_named_and_located() -> None:
    parsed = parse(b"text,lang\nHi,en\n", "dir/a.csv", ParseOptions(text_columns=("text",)))
    assert to_documents(parsed, "faq", "dir/a.csv", {"lang": "?", "team": "x"}) == (
        Document(
            id=document_id("faq", "dir/a.csv", 1), source="faq", uri="dir/a.csv", text="Hi",
            metadata={"lang": "en", "team": "x"}, parser="csv/2", row=1,
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


FRENCH = "Les élèves âgés ont été reçus à l'été où ça a commencé, déjà très tôt."
POLISH = "Zażółć gęślą jaźń, to jest zwykły polski tekst o urlopach pracowników."


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
        (FRENCH.encode("cp1252"), "windows-1252", FRENCH, 0.0),
        ("à\té\tô\n".encode("cp1252") * 9, "windows-1252", "à\té\tô\n" * 9, 0.0),
        (POLISH.encode("cp1250"), "windows-1252", POLISH.encode("cp1250").decode("cp1252"), 0.0),
    ],
    ids=[
        "utf-8",
        "utf-8 with mark",
        "utf-16",
        "utf-16 without mark",
        "utf-32",
        "western",
        "damaged utf-8",
        "much French",
        "nothing but accents",
        "Polish of cp1250, which nothing tells from Western text",
    ],
)
def test_encodings(data: bytes, encoding: str, text: str, ratio: float) -> None:
    assert parse(data, "a.txt").documents == (ParsedDocument(text, {"encoding": encoding}, replacement_ratio=ratio),)


def test_the_text_keeps_gold_offsets() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert parse(text.encode(), "a.md").documents[0].text == text
