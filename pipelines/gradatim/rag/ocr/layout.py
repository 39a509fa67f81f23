"""Recognised lines to the text of a page in reading order. Pure.

The engine finds lines as quadrilaterals, in no useful order. Here the page is turned upright, straightened, cut into columns where prose stands
side by side, and written down row by row. What looks like a table stays in rows, with tabs between its cells.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]

LEAST_SCORE = 0.5  # a line below is noise more often than text: left out, but counted in the confidence
COLUMN_LINES = 3  # what stands side by side in fewer lines is a table, a form or a letterhead
PROSE = 10.0  # lines of a column of prose are this many times as wide as high; cells of a table are shorter
CELL_GAP = 2.0  # in line heights, as the next two
PARAGRAPH_GAP = 0.8
ASIDE_HEIGHT = 3.0
SKEW_WIDTH = 3.0  # shorter lines say little about how the page is skewed


@dataclass(frozen=True, slots=True)
class Line:
    """A line as the engine saw it: corners clockwise from the upper left of the upright text, text and score (0 to 1)."""

    quad: Quad
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class PageText:
    """Text of a page. `confidence` is the mean score of its lines by their length, those left out included; None without any line."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Direction:
    """How text lies on a page: `sideways` needs a quarter against the clock, `over` half a turn after that."""

    sideways: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float
    text: str

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def page_text(lines: Sequence[Line]) -> PageText:
    """Return the text of an upright page, blocks and paragraphs apart by a blank line."""
    if not lines:
        return PageText("")
    letters = sum(len(line.text) for line in lines)
    confidence = sum(line.score * len(line.text) for line in lines) / letters if letters else 0.0
    kept = [line for line in lines if line.score >= LEAST_SCORE and line.text.strip()]
    blocks = [_block_text(block) for block in _in_order(_straightened(kept))]
    return PageText("\n\n".join(blocks), round(confidence, 4))


def direction(quads: Sequence[Quad], flipped: Sequence[bool]) -> Direction:
    """Return how most of the page's text lies. `flipped` says of each line whether it stands on its head once it lies.

    Long lines count more: a single letter stands or lies by chance.
    """
    weights = [max(_extent(quad)) for quad in quads]
    sideways = sum(weight if tall(quad) else -weight for quad, weight in zip(quads, weights, strict=True)) > 0
    over = sum(
        weight if flip else -weight
        for quad, weight, flip in zip(quads, weights, flipped, strict=True)
        if tall(quad) == sideways
    )
    return Direction(sideways, over > 0)


def upright(quad: Quad, size: tuple[float, float], found: Direction) -> Quad:
    """Return a line's corners on the page turned upright. `size` is width and height of the page as it was seen."""
    quarters = (3 if found.over else 1) if found.sideways else (2 if found.over else 0)
    width, height = size
    moved = [((x, y), (y, width - x), (width - x, height - y), (height - y, x))[quarters] for x, y in quad]
    # What was the upper left corner has moved on by as many corners.
    return (moved[quarters], moved[(quarters + 1) % 4], moved[(quarters + 2) % 4], moved[(quarters + 3) % 4])


def tall(quad: Quad) -> bool:
    """Tell whether a line stands: a quarter against the clock lays it down before it is read."""
    width, height = _extent(quad)
    return height >= 1.5 * width


def _extent(quad: Quad) -> tuple[float, float]:
    first, second, third, fourth = quad
    width = max(math.dist(first, second), math.dist(fourth, third))
    return width, max(math.dist(first, fourth), math.dist(second, third))


def _straightened(lines: Sequence[Line]) -> list[_Box]:
    """The lines as upright boxes after the page's skew, the median of its longer lines, is taken out."""
    angles = [
        math.atan2(line.quad[1][1] - line.quad[0][1], line.quad[1][0] - line.quad[0][0])
        for line in lines
        if _extent(line.quad)[0] > SKEW_WIDTH * _extent(line.quad)[1]
    ]
    angle = median(angles) if angles else 0.0
    cos, sin = math.cos(angle), math.sin(angle)
    found: list[_Box] = []
    for line in lines:
        xs = [x * cos + y * sin for x, y in line.quad]
        ys = [y * cos - x * sin for x, y in line.quad]
        found.append(_Box(min(xs), min(ys), max(xs), max(ys), " ".join(line.text.split())))
    return found


def _in_order(boxes: Sequence[_Box]) -> list[list[_Box]]:
    """Blocks in reading order; text that runs along a margin comes last."""
    if not boxes:
        return []
    high = ASIDE_HEIGHT * median(box.height for box in boxes)
    aside = [box for box in boxes if box.height > high and box.height > box.right - box.left]
    blocks = _blocks([box for box in boxes if box not in aside])
    return blocks + [[box] for box in sorted(aside, key=lambda box: (box.left, box.top))]


def _blocks(boxes: list[_Box]) -> list[list[_Box]]:
    gutter = _gutter(boxes)
    if gutter is None:
        return [boxes] if boxes else []
    across = sorted((box for box in boxes if box.left < gutter < box.right), key=lambda box: box.middle)
    bounds = [box.middle for box in across]
    zones: list[tuple[list[_Box], list[_Box]]] = [([], []) for _ in range(len(across) + 1)]
    for box in boxes:
        if not box.left < gutter < box.right:
            zones[bisect_left(bounds, box.middle)][box.left >= gutter].append(box)
    found: list[list[_Box]] = []
    spanning: list[_Box] = []
    for number, (left, right) in enumerate(zones):
        if left or right:
            found += [spanning] if spanning else []
            found += _blocks(left) + _blocks(right)
            spanning = []
        spanning += across[number : number + 1]
    return found + ([spanning] if spanning else [])


def _gutter(boxes: Sequence[_Box]) -> float | None:
    """Where two columns of prose part: the place that most lines keep clear of on both sides."""
    if len(boxes) < 2 * COLUMN_LINES:
        return None
    ends, starts = sorted(box.right for box in boxes), sorted(box.left for box in boxes)
    places: list[tuple[int, float]] = []
    for start in sorted(set(starts)):
        before = bisect_left(ends, start)
        after = len(starts) - bisect_left(starts, start)
        fewer = min(before, after)
        if fewer >= COLUMN_LINES and len(boxes) - before - after <= fewer:
            # Halfway between what ends before and what starts here, so that neither side touches it.
            places.append((-fewer, (ends[before - 1] + start) / 2))
    for _, place in sorted(places):
        left = [box for box in boxes if box.right <= place]
        right = [box for box in boxes if box.left >= place]
        if _prose(left) and _prose(right) and _side_by_side(left, right):
            return place
    return None


def _prose(boxes: Sequence[_Box]) -> bool:
    return median((box.right - box.left) / max(box.height, 1.0) for box in boxes) >= PROSE


def _side_by_side(left: Sequence[_Box], right: Sequence[_Box]) -> bool:
    """Whether most lines of the smaller side have the other side beside them."""
    few, many = sorted((left, right), key=len)
    top, bottom = min(box.top for box in many), max(box.bottom for box in many)
    return sum(top <= box.middle <= bottom for box in few) * 2 > len(few)


def _block_text(boxes: Sequence[_Box]) -> str:
    rows = _rows(boxes)
    height = median(box.height for box in boxes)
    gaps = [_top(below) - _bottom(above) for above, below in pairwise(rows)]
    wide = max(PARAGRAPH_GAP * height, 1.5 * median(gaps)) if gaps else 0.0
    parts = [_row_text(rows[0], height)]
    for gap, row in zip(gaps, rows[1:], strict=True):
        parts += ["\n\n" if gap > wide else "\n", _row_text(row, height)]
    return "".join(parts)


def _rows(boxes: Sequence[_Box]) -> list[list[_Box]]:
    rows: list[list[_Box]] = []
    for box in sorted(boxes, key=lambda box: (box.middle, box.left)):
        first = rows[-1][0] if rows else None
        if first is not None and _shared(first, box) > 0.5 * min(first.height, box.height):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [sorted(row, key=lambda box: (box.left, box.top)) for row in rows]


def _shared(one: _Box, other: _Box) -> float:
    return min(one.bottom, other.bottom) - max(one.top, other.top)


def _row_text(row: Sequence[_Box], height: float) -> str:
    text = row[0].text
    for before, box in pairwise(row):
        text += ("\t" if box.left - before.right > CELL_GAP * height else " ") + box.text
    return text


def _top(row: Sequence[_Box]) -> float:
    return min(box.top for box in row)


def _bottom(row: Sequence[_Box]) -> float:
    return max(box.bottom for box in row)
