"""Recognised lines become text in the order in which a person reads the page, however it lay on the scanner."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from gradatim.rag.ocr.layout import Direction, Line, PageText, Quad, direction, page_text, upright

HEIGHT, WIDTH, PITCH = 20.0, 400.0, 26.0
SIZE = (1000.0, 1400.0)


def quad(left: float, top: float, width: float = WIDTH, height: float = HEIGHT) -> Quad:
    return ((left, top), (left + width, top), (left + width, top + height), (left, top + height))


def line(text: str, left: float, row: float, width: float = WIDTH, score: float = 1.0) -> Line:
    return Line(quad(left, row * PITCH, width), text, score)


def column(letter: str, left: float, count: int, first: float = 0) -> list[Line]:
    return [line(f"{letter}{number}", left, first + number) for number in range(count)]


def turned(lines: Sequence[Line], degrees: float) -> list[Line]:
    """The lines on a page that lies skewed on the glass."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [
        Line(tuple((x * cos - y * sin, x * sin + y * cos) for x, y in item.quad), item.text, item.score)  # type: ignore[arg-type]
        for item in lines
    ]


TITLE = [line("Title over both", 0, 0, 900)]
TABLE = [
    line(text, left, row, 60)
    for row, cells in enumerate([("Role", "Days"), ("Clerk", "30"), ("Guard", "28"), ("Pilot", "25")])
    for text, left in zip(cells, (0, 300), strict=True)
]
CASES: dict[str, tuple[list[Line], str]] = {
    "no line at all": ([], ""),
    "lines from top to bottom": (column("a", 0, 3)[::-1], "a0\na1\na2"),
    "pieces of one line from left to right": ([line("right", 450, 0, 300), line("left", 0, 0)], "left\tright"),
    "pieces close together are words": ([line("right", 410, 0, 300), line("left", 0, 0)], "left right"),
    "a paragraph ends at a gap": (column("a", 0, 2) + column("b", 0, 2, 3.5), "a0\na1\n\nb0\nb1"),
    "double spacing is no gap": ([line(f"a{row}", 0, row * 2) for row in range(3)], "a0\na1\na2"),
    "two columns one after the other": (column("b", 500, 4) + column("a", 0, 4), "a0\na1\na2\na3\n\nb0\nb1\nb2\nb3"),
    "a title over two columns": (
        column("b", 500, 3, 2) + TITLE + column("a", 0, 3, 2), "Title over both\n\na0\na1\na2\n\nb0\nb1\nb2",
    ),
    "columns, a line over both, and columns": (
        column("a", 0, 3) + column("b", 500, 3) + [line("between", 0, 4, 900)] + column("c", 0, 3, 6) + column("d", 500, 3, 6),
        "a0\na1\na2\n\nb0\nb1\nb2\n\nbetween\n\nc0\nc1\nc2\n\nd0\nd1\nd2",
    ),
    "three columns": (
        [Line(quad(left, row * PITCH, 280), f"{letter}{row}", 1.0) for row in range(3) for letter, left in (("c", 700), ("a", 0), ("b", 350))],
        "a0\na1\na2\n\nb0\nb1\nb2\n\nc0\nc1\nc2",
    ),
    "a table keeps its rows": (TABLE, "Role\tDays\nClerk\t30\nGuard\t28\nPilot\t25"),
    "columns on a skewed page": (turned(column("b", 500, 4) + column("a", 0, 4), 3), "a0\na1\na2\na3\n\nb0\nb1\nb2\nb3"),
    "rows on a skewed page": (turned([*column("a", 0, 3), line("x", 850, 1, 60)], -4), "a0\na1\tx\na2"),
    "text along the margin comes last": ([Line(quad(900, 0, 20, 600), "margin", 1.0), *column("a", 0, 3)], "a0\na1\na2\n\nmargin"),
    "a line that is hardly seen is left out": ([*column("a", 0, 2), line("?", 0, 3, score=0.3)], "a0\na1"),
    "blanks of a line are one": ([line("  a   b ", 0, 0)], "a b"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_text_in_reading_order(case: tuple[list[Line], str]) -> None:
    lines, expected = case
    assert page_text(lines).text == expected


def test_the_order_of_the_lines_does_not_matter() -> None:
    lines = TITLE + column("a", 0, 5, 2) + column("b", 500, 5, 2)
    assert page_text(lines) == page_text(lines[::-1]) == page_text(sorted(lines, key=lambda item: item.text))


def test_confidence_counts_long_lines_more_and_those_that_are_left_out() -> None:
    lines = [line("a" * 30, 0, 0, score=1.0), line("b" * 10, 0, 1, score=0.2)]
    assert page_text(lines) == PageText("a" * 30, 0.8)
    assert page_text([line("??", 0, 0, score=0.1)]) == PageText("", 0.1)
    assert page_text([]) == PageText("", None)


def seen(upright_quad: Quad, quarters: int) -> Quad:
    """The corners as the scanner sees them when the page lies turned by quarters with the clock, named anew from the upper left."""
    corners = list(upright_quad)
    width, height = SIZE
    for _ in range(quarters):
        corners = [(height - y, x) for x, y in corners]
        width, height = height, width
    across = sorted(corners)
    left, right = sorted(across[:2], key=lambda p: p[1]), sorted(across[2:], key=lambda p: p[1])
    return (left[0], right[0], right[1], left[1])


@pytest.mark.parametrize(
    ("quarters", "flipped", "expected"),
    [
        pytest.param(0, False, Direction(), id="upright"),
        pytest.param(1, False, Direction(sideways=True), id="turned with the clock"),
        pytest.param(2, True, Direction(over=True), id="on its head"),
        pytest.param(3, True, Direction(sideways=True, over=True), id="turned against the clock"),
    ],
)
def test_a_turned_page_is_turned_back(quarters: int, flipped: bool, expected: Direction) -> None:
    lines = [quad(50, 100), quad(50, 140, 300), quad(480, 100)]
    quads = [seen(item, quarters) for item in lines]
    size = SIZE if quarters % 2 == 0 else SIZE[::-1]
    found = direction(quads, [flipped] * 3)
    assert found == expected
    assert [upright(item, size, found) for item in quads] == lines


def test_one_mistaken_line_turns_no_page() -> None:
    quads = [quad(0, 0), quad(0, 40), quad(0, 80, 30), quad(600, 0, 20, 60)]
    assert direction(quads, [False, True, False, True]) == Direction()
    assert direction(quads, [True, True, False, False]) == Direction(over=True)
