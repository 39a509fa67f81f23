"""Writes tables down: as Markdown, the one form in which the chunkers recognise them, or as plain lines.

Used by the html, docx and csv parsers. Cells are flattened to one line; in Markdown pipes are escaped, so that columns stay columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradatim.rag.parse.types import TableForm

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
