"""HTML to text: headings as `#` lines, lists as bullets, tables as Markdown or plain lines, preformatted text as fenced code.

Scripts, styles, navigation and other furniture are dropped. The tree is walked without recursion, since hostile pages nest deeply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.encoding import decode, refuse_other_scripts
from gradatim.rag.parse.htmlguard import guarded
from gradatim.rag.parse.tables import Cell, Grid, written
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseOptions, TableForm

DROPPED = frozenset({
    "script", "style", "nav", "noscript", "template", "svg", "iframe", "object", "embed", "canvas", "head", "button", "select",
    "option", "input", "textarea", "dialog",
})  # fmt: skip
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dir", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend", "li", "listing", "main", "menu", "ol", "p", "section",
    "summary", "ul",
})  # fmt: skip
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_APART = BLOCKS | set(HEADINGS) | {
    "br", "button", "caption", "optgroup", "option", "pre", "select", "table", "tbody", "td", "tfoot", "th", "thead", "tr",
}  # of the words of a cell  # fmt: skip
# Detection tells these apart better than page authors do; and a page that says UTF-16 in letters of one byte is none.
_DETECTED = frozenset(
    {
        "iso-8859-1",
        "latin1",
        "latin-1",
        "windows-1252",
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "utf-16",
        "utf-16le",
        "utf-16be",
    }
)
_META_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\f\r]+")
_SPAN = re.compile(r"[ \t\n\f\r]*\+?([0-9]{1,9})")
_MAX_ROWS = 65_534  # that a cell spans, as the standard says
_BLANK_LINES = re.compile(r"\n{3,}")
_FENCE = "```"


def parse_html(data: bytes, name: str, options: ParseOptions) -> ParsedFile:
    """An HTML page as one document; the title becomes metadata."""
    declared = _META_CHARSET.search(data[:4096])
    decoded = decode(
        data, name, options if options.encoding or declared is None else _with_charset(data, declared, options)
    )
    tree = LexborHTMLParser(guarded(decoded.text, name))
    metadata: dict[str, MetadataValue] = {}
    title = tree.css_first("title")
    if title is not None and title.text(strip=True):
        metadata["title"] = _SPACE.sub(" ", title.text(strip=True))
    text = _Writer(options.tables, Grid(name)).write(tree.body) if tree.body is not None else ""
    if decoded.guessed:  # again: in the page's source, letters of markup outnumber those of the text
        refuse_other_scripts(text, name)
    return ParsedFile(
        (ParsedDocument(text, metadata, replacement_ratio=decoded.replacement_ratio),), "html-selectolax/2"
    )


def _with_charset(data: bytes, declared: re.Match[bytes], options: ParseOptions) -> ParseOptions:
    """Options with the page's own encoding, unless the bytes contradict it: a mark or valid UTF-8 beats the declaration."""
    charset = declared.group(1).decode("ascii").lower()
    if charset in _DETECTED:
        return options
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"} or data[:3] == b"\xef\xbb\xbf":
        return options
    return replace(options, encoding=charset)


class _Writer:
    """Collects lines in reading order. `inline` is the text of the block being read."""

    def __init__(self, tables: TableForm, grid: Grid) -> None:
        self.tables = tables
        self.grid = grid
        self.blocks: list[str] = []
        self.inline: list[str] = []
        self.prefix = ""

    def write(self, root: Any) -> str:
        """Text of everything under `root`."""
        _walk(root, self._enter, self._leave)
        self._flush()
        return _BLANK_LINES.sub("\n\n", "\n\n".join(self.blocks)).strip("\n")

    def _enter(self, node: Any) -> bool:
        """Take in a node; true if its children are to be visited."""
        tag = node.tag or "-instruction"  # selectolax names comments and doctypes, but not `<?php ...>`
        if tag == "-text":
            self.inline.append(node.text_content or "")
            return False
        if tag in DROPPED or tag.startswith(("-", "_")):
            return False
        if tag == "table":
            self._block(" ".join(_cell_text(part).strip() for part in node.iter() if part.tag == "caption"))
            self._block(written(_rows(node, self.grid), self.tables))
            return False
        if tag == "pre":
            code = node.text(deep=True).strip("\n")
            self._block(f"{_FENCE}\n{code}\n{_FENCE}" if code.strip() else "")
            return False
        if tag == "br":
            self.inline.append("\0")
        elif tag in HEADINGS or tag in BLOCKS:
            self._flush()
            self.prefix = f"{HEADINGS[tag]} " if tag in HEADINGS else "- " if tag == "li" else self.prefix
        return True

    def _leave(self, node: Any) -> None:
        if node.tag in HEADINGS or node.tag in BLOCKS:
            self._flush()
            self.prefix = ""

    def _block(self, text: str) -> None:
        self._flush()
        if text:
            self.blocks.append(text)

    def _flush(self) -> None:
        """Close the current block: white space collapses as a browser does, `br` (kept as NUL until here) becomes a line end."""
        joined = _SPACE.sub(" ", "".join(self.inline).replace("\u00a0", " "))
        self.inline.clear()
        separator = " " if self.prefix.startswith("#") else "\n"
        text = separator.join(line for line in (part.strip() for part in joined.split("\0")) if line)
        if text:
            self.blocks.append(self.prefix + text)
            self.prefix = ""


def _walk(root: Any, enter: Callable[[Any], bool], leave: Callable[[Any], None]) -> None:
    """Visit everything under `root` in order; `enter` says whether the children of a node are to be visited."""
    node, entering = root, True
    while node is not None:
        if entering and enter(node) and node.child is not None:
            node = node.child
            continue
        leave(node)
        if node.mem_id == root.mem_id:  # `==` compares the markup of whole subtrees
            break
        if node.next is not None:
            node, entering = node.next, True
        else:
            node, entering = node.parent, False


def _rows(table: Any, grid: Grid) -> list[list[str]]:
    """Cells of a table by column; a table inside a cell is read as that cell's text. No cell spans rows of two groups."""
    rows: list[list[str]] = []
    for _, group in groupby(
        (row for row in table.css("tr") if _owner(row) == table.mem_id), key=lambda row: row.parent.mem_id
    ):
        found = [[cell for cell in row.iter(include_text=False) if cell.tag in {"td", "th"}] for row in group]
        placed = grid.placed([_cell(cell) for cell in cells] for cells in found)  # a row without cells uses up spans
        rows += [row for row, cells in zip(placed, found, strict=True) if cells]
    return rows


def _cell(cell: Any) -> Cell:
    spans = cell.attributes
    columns, rows = _span(spans.get("colspan"), 1), _span(spans.get("rowspan"), 1)
    return Cell(_cell_text(cell), columns or 1, min(rows or _MAX_ROWS, _MAX_ROWS))


def _span(value: str | None, otherwise: int) -> int:
    """A number as browsers read it: digits at the start."""
    match = _SPAN.match(value or "")
    return int(match.group(1)) if match else otherwise


def _cell_text(cell: Any) -> str:
    """Text with a space where a browser breaks the line, and none within words of which only a part is bold."""
    parts: list[str] = []

    def apart(node: Any) -> None:
        if node.tag in _APART:
            parts.append(" ")

    def enter(node: Any) -> bool:
        if node.tag == "-text":
            parts.append(node.text_content or "")
        apart(node)
        return node.tag not in {"script", "style", "template"}

    _walk(cell, enter, apart)
    return "".join(parts)


def _owner(row: Any) -> int:
    """Identity of the table a row belongs to directly."""
    node = row.parent
    while node.tag != "table":
        node = node.parent
    return int(node.mem_id)
