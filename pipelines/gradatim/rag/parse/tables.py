"""Writes tables as Markdown, the one form in which the chunkers recognise them.

Used by the html, docx and csv parsers. Cells are flattened to one line; pipes are escaped, so that columns stay columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPACE = re.compile(r"\s+")


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
