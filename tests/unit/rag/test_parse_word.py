"""What Word shows of a document, and only that: tracked changes, controls, fields, merged cells and tables within tables."""

from __future__ import annotations

import pytest

from gradatim.rag.parse import ParseOptions, TableForm, parse

from .word_files import DOWN, LONG, around, p, r, tbl, tc, tr, word_body

WORD_BODIES = {
    "tracked changes, fields, tags and controls within a line": (
        p(
            "a", around("ins", r("b")), around("del", r("no", "delText")), around("moveFrom", r("no")), around("moveTo", r("c")),
            around("fldSimple", r("d")), around("smartTag", r("e")), around("sdt", around("hyperlink", r("f"))), r("no", "instrText"), "g",
        ),
        "abcdefg",
    ),
    "controls around paragraphs, tables, rows and cells": (
        around("sdt", p("a") + around("customXml", tbl(around("sdt", tr(tc(p("b")), around("sdt", tc(around("sdt", p("c")))))))))
        + around("moveFrom", p("no")) + p("d"),
        "a\n\nb\tc\n\nd",
    ),
    "a table within a cell": (tbl(tr(tc(p("a") + tbl(tr(tc(p("b")), tc(p("c")))) + p("d")), tc(p("e")))), "a b c d\te"),
    "cells merged in both directions": (
        tbl(
            tr(tc(p("Region"), vMerge="restart"), tc(p("2023"), gridSpan="2"), tc(p(LONG), vMerge="restart")),
            tr(DOWN, tc(p("Q1")), tc(p("Q2")), DOWN),
            tr(tc(p("EU"), vMerge="restart"), tc(p("1")), tc(p("2")), tc(p("3"))),
            tr(DOWN, tc(p("4")), tc(p("5"))),
            tr(tc(p("All"), gridSpan="4")),
            tr('<w:trPr><w:gridBefore w:val="2"/></w:trPr>', tc(p("6"))),
        ),
        f"Region\t2023\t2023\t{LONG.strip()}\nRegion\tQ1\tQ2\nEU\t1\t2\t3\nEU\t4\t5\nAll\n\t\t6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WORD_BODIES.values(), ids=WORD_BODIES.keys())
def test_a_word_file_is_read_as_word_shows_it(case: tuple[str, str]) -> None:
    xml, text = case
    parsed = parse(word_body(xml, around("sdt", p("Top"))), "a.docx", ParseOptions(tables=TableForm.TEXT))
    assert parsed.documents[0].text == f"Top\n\n{text}"


def styled(style: str) -> str:
    return p(f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>', style)


def test_a_style_is_found_by_its_id_and_any_other_id_means_the_default() -> None:
    xml = styled("Heading2") + styled("ListBullet") + styled("nowhere") + styled("Heading2Char") + styled("Title")
    parsed = parse(word_body(xml), "a.docx", ParseOptions())
    assert parsed.documents[0].text == "## Heading2\n\n- ListBullet\n\nnowhere\n\nHeading2Char\n\n# Title"


def test_paragraphs_take_linear_time() -> None:
    parsed = parse(word_body("".join(styled("nowhere") for _ in range(3000))), "a.docx", ParseOptions())
    assert parsed.documents[0].text.count("nowhere") == 3000


def test_tables_take_linear_time() -> None:
    rows = [tr(tc(p("EU"), vMerge="restart"), tc(p("0"))), *(tr(DOWN, tc(p(str(n)))) for n in range(1, 1200))]
    parsed = parse(word_body(tbl(*rows)), "a.docx", ParseOptions(tables=TableForm.TEXT))
    assert parsed.documents[0].text == "\n".join(f"EU\t{n}" for n in range(1200))
