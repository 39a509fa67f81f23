"""Writes the passages of an answer for a person: where each stands, how well it fits, and its text as it was written.

Called by `gradatim index query`. Values in, lines out; it asks nothing and prints nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradatim.client.filters import Condition
    from gradatim.client.search import Passage

WIDTH = 100
_INDENT = "    "
_HINTS = {
    "uri": "uri is the path within its source: passages print `<source>/<uri>`, so that docs/guides/a.md of the source docs is "
    "--filter source=docs --filter uri=guides/a.md",
    "document": "document is an id of 64 hexadecimal digits; to choose a file take --filter uri=PATH",
}


def heading(number: int, passage: Passage) -> str:
    """Return the place of a passage and its score in one line."""
    where = f"{passage.source}/{passage.file}"
    if passage.page is not None:
        where += f", page {passage.page}"
    if passage.row is not None:
        where += f", row {passage.row}"
    return f"[{number}] {where}, characters {passage.start} to {passage.end}, score {passage.score:.3f}"


def body(passage: Passage, width: int = WIDTH) -> Iterator[str]:
    """Yield the text, indented and wrapped; its lines stay lines, and those of tables and code are whole."""
    code = False
    for line in passage.text.splitlines():
        fence = line.lstrip().startswith(("```", "~~~"))
        code ^= fence
        if code or fence or line.lstrip().startswith("|"):
            yield f"{_INDENT}{line.rstrip()}" if line.strip() else ""
        elif line.strip():
            yield from textwrap.wrap(
                line.rstrip(),
                max(width, 40),
                initial_indent=_INDENT,
                subsequent_indent=_INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
    if passage.scores:
        yield f"{_INDENT}scores: " + ", ".join(f"{k} {v:.4f}" for k, v in passage.scores.items())


def none_found(filters: Sequence[Condition]) -> Iterator[str]:
    """Yield what to say where no passage was found: filters on a place name it exactly, and a wrong form finds nothing."""
    yield "no passage found"
    named = {item.field for item in filters} & _HINTS.keys()
    for field in sorted(named):
        yield f"hint: {_HINTS[field]}"
    if named:
        yield "hint: without the filter, -o json shows the `source`, `file` (the uri) and `document` of passages"
