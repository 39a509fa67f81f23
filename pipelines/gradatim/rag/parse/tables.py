"""Writes tables down: as Markdown, the one form in which the chunkers recognise them, or as plain lines.

Used by the html, docx and csv parsers. Cells are flattened to one line; in Markdown pipes are escaped, so that columns stay columns.
Merged cells are laid out by `Grid`, since neither form has any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradatim.rag.parse.types import ParseError, Reason, TableForm

MAX_COLUMNS = 1000  # that merged cells reach, as in browsers
MAX_REPEATED = 200_000  # places of one file that merged cells fill: some bytes can merge millions
MAX_LABEL = 200
_SPACE = re.compile(r"\s+")


def written(rows: Sequence[Sequence[str]], form: TableForm) -> str:
    """A table in the form that the options ask for."""
    return to_text(rows) if form is TableForm.TEXT else to_markdown(rows)


def to_text(rows: Sequence[Sequence[str]]) -> str:
    """One line per row, cells apart by tabs. Rows and cells at their end without any text are left out."""
    lines = ["\t".join(_SPACE.sub(" ", value).strip() for value in row).rstrip("\t") for row in rows]
    return "\n".join(line for line in lines if line)


def cell(text: str) -> str:
    """One cell: single spaces, no line ends, pipes escaped."""
    return _SPACE.sub(" ", text).strip().replace("|", "\\|")


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first row is the header; short rows are filled up. Rows without any text are left out."""
    filled = [[cell(value) for value in row] for row in rows]
    filled = [row for row in filled if any(row)]
    if not filled:
        return ""
    width = max(len(row) for row in filled)
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in filled]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it is written in the file: its text and how many columns and rows it spans."""

    text: str
    columns: int = 1
    rows: int = 1


def label(text: str) -> str:
    """What stands in the further places of a merged cell: its text, so that every row says by itself what it is about and every value has
    its header; nothing where the text is longer than a label, which would drown the rest.
    """
    flat = _SPACE.sub(" ", text).strip()
    return flat if len(flat) <= MAX_LABEL else ""


class Grid:
    """Lays out the rows of one file's tables, so that every value stands in its own column."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MAX_REPEATED

    def placed(self, rows: Iterable[Sequence[Cell]]) -> list[list[str]]:
        """Texts by column of one group of rows, which no cell leaves. Raises ParseError(TooLarge) when merged cells fill too many places.

        A cell that is alone in its row is a heading of what follows and stands there once.
        """
        placed: list[list[str]] = []
        below: dict[int, tuple[int, str]] = {}  # column: rows that a cell still spans, and its label
        for cells in rows:
            above, below = below, {column: (left - 1, text) for column, (left, text) in below.items() if left > 1}
            row: list[str] = []
            for cell in cells:
                while len(row) in above:
                    row.append(above[len(row)][1])
                columns = max(1, min(cell.columns, MAX_COLUMNS - len(row)))
                further = label(cell.text) if columns > 1 or cell.rows > 1 else ""
                if cell.rows > 1:
                    self._spend(columns)
                    below.update((column, (cell.rows - 1, further)) for column in range(len(row), len(row) + columns))
                alone = len(cells) == 1 and not above
                self._spend(0 if alone else columns - 1)
                row += [cell.text, *([] if alone else [further] * (columns - 1))]
            for column in sorted(column for column in above if column >= len(row)):
                row += [""] * (column - len(row)) + [above[column][1]]
            self._spend(len(above))
            placed.append(row)
        return placed

    def _spend(self, places: int) -> None:
        self._left -= places
        if self._left < 0:
            message = f"has tables whose merged cells fill more than {MAX_REPEATED} places; unmerge them"
            raise ParseError(Reason.TOO_LARGE, message, file=self._name)
