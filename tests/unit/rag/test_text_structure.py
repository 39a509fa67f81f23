"""What a text is made of is found in linear time, and where it was found before that was so."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest

from gradatim.rag.chunk import structure
from gradatim.rag.chunk.structure import blocks, fences, headings, sentence_starts, tables

# As they were while they took quadratic time; the spans that they find are the right ones.
STOP = re.compile(
    r"""[.!?\u2026]+["'\u201d\u2019\u00bb)\]]*(\s+)|[\u3002\uff01\uff1f]+["'\u201d\u2019\u300d\u300f\uff09]*"""
)
TABLE_RULE = re.compile(
    r"^[ \t]*(?:\|(?:[ \t]*:?-+:?[ \t]*\|)+|:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)+)[ \t]*$", re.MULTILINE
)
FENCED_TABLES = "a|b\n-|-\n1|2\n\n```\nc|d\n-|-\n3|4\n```\n\ne|f\n-|-\n"


def texts(*pieces: str, count: int = 2000) -> list[str]:
    chance = random.Random(0)
    return ["".join(chance.choices(pieces, k=chance.randrange(40))) for _ in range(count)]


def spans(pattern: re.Pattern[str], text: str) -> list[tuple[object, ...]]:
    return [(match.span(), *match.regs) for match in pattern.finditer(text)]


@pytest.mark.parametrize(
    ("old", "new", "pieces"),
    [
        (STOP, structure._STOP, "..!?\u2026\u3002\uff01\"')\u201d \n\tab"),
        (TABLE_RULE, structure._TABLE_RULE, ["|", " | ", "-", "--:", ":-", "\t", "\n", "\n|", "|\n", "a"]),
    ],
    ids=["sentence ends", "table rules"],
)
def test_the_same_spans_are_found(old: re.Pattern[str], new: re.Pattern[str], pieces: Sequence[str]) -> None:
    found = [spans(old, text) for text in texts(*pieces)]
    assert sum(map(len, found)) > 300
    assert [spans(new, text) for text in texts(*pieces)] == found


def test_tables_in_fenced_code_are_part_of_it() -> None:
    for text in (FENCED_TABLES, *texts("```", "~~~", "\n", "\n", "a|b", "\n-|-", "x")):
        code = fences(text)
        free = [(start, end) for start, end in tables(text) if not any(a < end and start < b for a, b in code)]
        assert blocks(text) == sorted([*code, *free])
    assert len(blocks(FENCED_TABLES)) == 3


@pytest.mark.parametrize(
    "text",
    ["." * 200_000 + "a", "?!" * 100_000 + "a", "a" + "\u2026" * 200_000, "." + ")" * 200_000 + "a"],
    ids=["dots", "questions", "at the end", "brackets"],
)
def test_stops_take_linear_time(text: str) -> None:
    assert list(sentence_starts(text)) == []
    assert list(sentence_starts(f"{text}. Then")) == [len(text) + 2]


@pytest.mark.parametrize(
    "line", ["-|-" + " " * 200_000 + "x", "|-|" + " " * 200_000 + "x", "-|" * 100_000 + "x", "-" * 200_000 + "x"]
)
def test_table_rules_take_linear_time(line: str) -> None:
    assert tables(f"a|b\n{line}\n") == []


@pytest.mark.parametrize(
    ("line", "title"),
    [
        pytest.param("Title ##", "Title", id="a short one"),
        pytest.param("x" * 200, "x" * 200, id="as long as one may be"),
        pytest.param("word " * 20_000, "word " * 39 + "word\u2026", id="words"),
        pytest.param("\u6f22" * 20_000, "\u6f22" * 199 + "\u2026", id="no spaces"),
        pytest.param("a " + "x" * 20_000, "a " + "x" * 197 + "\u2026", id="a word that fills it"),
    ],
)
def test_a_title_is_cut_where_it_is_longer_than_titles_are(line: str, title: str) -> None:
    assert [heading.path for heading in headings(f"# {line}\n## b\n", [])] == [(title,), (title, "b")]


def test_many_blocks_take_linear_time() -> None:
    assert len(blocks("```\n```\n" * 15_000 + "a|b\n-|-\n\n" * 15_000)) == 30_000
