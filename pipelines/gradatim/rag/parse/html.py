"""HTML to text: headings as `#` lines, lists as bullets, tables as Markdown or plain lines, preformatted text as fenced code.

Scripts, styles, navigation and other furniture are dropped. The tree is walked without recursion, since hostile pages nest deeply.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.encoding import decode
from gradatim.rag.parse.tables import written
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason, TableForm

DROPPED = frozenset({
    "script", "style", "nav", "noscript", "template", "svg", "iframe", "object", "embed", "canvas", "head", "button", "select",
    "option", "input", "textarea", "dialog",
})  # fmt: skip
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure",
    "footer", "form", "header", "hgroup", "hr", "html", "li", "main", "ol", "p", "section", "summary", "ul",
})  # fmt: skip
# Elements that never contain themselves directly: unclosed ones do not nest.
_NOT_NESTING = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "p", "li", "td", "th", "tr",
    "tbody", "thead", "tfoot", "dt", "dd", "option", "optgroup", "colgroup", "html", "head", "body",
})  # fmt: skip
MAX_DEPTH = 512  # browsers stop here too; the standard's algorithm takes quadratic time in the depth
_OPAQUE = re.compile(r"<!--|<(script|style)\b", re.IGNORECASE)
_CLOSING = {
    "": re.compile("-->"),
    "script": re.compile("</script", re.IGNORECASE),
    "style": re.compile("</style", re.IGNORECASE),
}
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
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
_BLANK_LINES = re.compile(r"\n{3,}")
_FENCE = "```"


def parse_html(data: bytes, name: str, options: ParseOptions) -> ParsedFile:
    """An HTML page as one document; the title becomes metadata."""
    declared = _META_CHARSET.search(data[:4096])
    decoded = decode(
        data, name, options if options.encoding or declared is None else _with_charset(data, declared, options)
    )
    if _depth(decoded.text) > MAX_DEPTH:
        raise ParseError(
            Reason.BROKEN, f"nests elements deeper than {MAX_DEPTH}; close them or remove the file", file=name
        )
    tree = LexborHTMLParser(decoded.text)
    metadata: dict[str, MetadataValue] = {}
    title = tree.css_first("title")
    if title is not None and title.text(strip=True):
        metadata["title"] = _SPACE.sub(" ", title.text(strip=True))
    text = _Writer(options.tables).write(tree.body) if tree.body is not None else ""
    return ParsedFile(
        (ParsedDocument(text, metadata, replacement_ratio=decoded.replacement_ratio),), "html-selectolax/1"
    )


def _depth(text: str) -> int:
    """Greatest nesting of open tags, estimated without building a tree. Linear, whatever the input."""
    depth = deepest = 0
    for match in _TAG.finditer(_without_opaque(text)):
        if match.group(2).lower() in _NOT_NESTING:
            continue
        depth = max(0, depth - 1) if match.group(1) else depth + 1
        deepest = max(deepest, depth)
    return deepest


def _without_opaque(text: str) -> str:
    """The page without comments, scripts and styles: what stands in them is not markup."""
    kept, position = [], 0
    while match := _OPAQUE.search(text, position):
        kept.append(text[position : match.start()])
        closing = _CLOSING[(match.group(1) or "").lower()].search(text, match.end())
        if closing is None:
            return "".join(kept)
        position = closing.end()
    return "".join([*kept, text[position:]])


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

    def __init__(self, tables: TableForm) -> None:
        self.tables = tables
        self.blocks: list[str] = []
        self.inline: list[str] = []
        self.prefix = ""

    def write(self, root: Any) -> str:
        """Text of everything under `root`."""
        node, entering = root, True
        while node is not None:
            if entering and self._enter(node) and node.child is not None:
                node = node.child
                continue
            self._leave(node)
            if node.mem_id == root.mem_id:  # `==` compares the markup of whole subtrees
                break
            if node.next is not None:
                node, entering = node.next, True
            else:
                node, entering = node.parent, False
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
            self._block(written(_rows(node), self.tables))
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


def _rows(table: Any) -> list[list[str]]:
    """Cells of a table in order; a table inside a cell is read as that cell's text."""
    rows = []
    for row in table.css("tr"):
        cells = [cell for cell in row.iter(include_text=False) if cell.tag in {"td", "th"}]
        if cells and _owner(row) == table.mem_id:
            rows.append([_cell_text(cell) for cell in cells])
    return rows


def _cell_text(cell: Any) -> str:
    for unwanted in cell.css("script, style, template"):
        unwanted.decompose()
    return str(cell.text(deep=True, separator=" "))


def _owner(row: Any) -> int:
    """Identity of the table a row belongs to directly."""
    node = row.parent
    while node.tag != "table":
        node = node.parent
    return int(node.mem_id)
