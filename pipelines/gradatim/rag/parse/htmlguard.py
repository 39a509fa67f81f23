"""Looks through a page before the HTML parser does: refuses what would cost that one quadratic time, and empties what is no markup.

Called by the html parser with decoded text. Reads tags, attributes, comments and raw elements as the WHATWG foundizer does, in linear time
whatever the input. The parser is given the page that comes back, in which comments, scripts and the like are empty: what was left out of the
count cannot turn out to be markup after all. Builds no tree: nesting is an estimate.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from gradatim.rag.parse.types import ParseError, Reason

MAX_DEPTH = 512  # browsers stop here too; the standard's algorithm takes quadratic time in the depth
MAX_ATTRIBUTES = 1000  # of one tag; each is compared with all before it
MAX_REOPENED = 2_000_000  # elements; `<b>` and its like, left open, are opened again in every block that follows

# Elements that never contain themselves directly: unclosed ones do not nest.
_NOT_NESTING = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "p", "li", "td", "th", "tr",
    "tbody", "thead", "tfoot", "dt", "dd", "option", "optgroup", "colgroup", "html", "head", "body",
})  # fmt: skip
_FORMATTING = frozenset({
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
})  # fmt: skip
_FOREIGN = frozenset({"svg", "math"})
_HTML_WITHIN = frozenset({"annotation-xml", "desc", "foreignobject", "mi", "mn", "mo", "ms", "mtext"})  # svg and math
_CELLS = frozenset({"td", "th", "caption"})
_SCOPES = frozenset({"object", "applet", "marquee", "template", "table"})  # like cells: no end tag within reaches out
_EMPTIED = frozenset({"iframe", "noembed", "noframes", "script", "style", "textarea"})  # never text of the page
_RAW = _EMPTIED | {"plaintext", "title", "xmp"}
_S = r" \t\n\f\r"
_MARKUP = re.compile(
    rf"<(?:(!--)|(!doctype|!\[CDATA\[|[!?]|/(?![a-zA-Z>]))|(/?)([a-zA-Z][^{_S}/>]*)(>)?)", re.IGNORECASE
)
_ATTRIBUTE = re.compile(
    rf"""[{_S}/]*(?:(>)|=?[^{_S}/>=]*(?:[{_S}]*=[{_S}]*(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|[^{_S}>"'][^{_S}>]*)?)?)"""
)
_COMMENT = re.compile(r"-?>|.*?(?:--!?>|\Z)", re.DOTALL)  # `<!-->` and `<!--->` are whole comments
_SCRIPT = re.compile(rf"<!--(?!-?>)|-->|<(/?)script(?=[{_S}/>])", re.IGNORECASE)
_CLOSING = {
    name: re.compile(rf"</{name}(?=[{_S}/>])", re.IGNORECASE)
    for name in sorted(_EMPTIED - {"script"} | {"title", "xmp"})
}


def guarded(text: str, name: str) -> str:
    """The page with nothing but markup and text in it. Raises ParseError(Broken) for what nests too deeply or has too many attributes."""
    kept: list[str] = []
    nesting, position, copied = _Nesting(name), 0, 0
    while match := _MARKUP.search(text, position):
        comment, other, slash, tag, bare = match.groups()
        start, written = match.start(), ""
        if tag is None:
            position = _comment_end(text, match.end()) if comment else _other_end(text, match, foreign=nesting.foreign)
            if nesting.foreign and other == "![CDATA[":
                written = _escaped(text[match.end() : position].removesuffix("]]>"))
            else:
                written = "" if (other or "").lower() == "!doctype" else "<!---->"
        else:
            position, attributes, closed = (match.end(), 0, False) if bare else _tag_end(text, match.end(), name)
            if position < 0:  # a tag that the end of the page cuts off is none
                return "".join([*kept, text[copied:start]])
            element = tag.lower()
            if slash:
                nesting.end(element)
            else:
                nesting.start(element, attributes, closed=closed)
                if closed and (nesting.foreign or element in _FOREIGN):  # two tags mean the same in svg and out of it
                    written = f"{text[start : position - 2]}></{tag}>"
                elif element in _RAW:
                    end = _raw_end(text, position, element)
                    written, position = _raw(text[start:position], text[position:end], element), end
        if written:
            kept += [text[copied:start], written]
            copied = position
    return "".join([*kept, text[copied:]])


@dataclass(slots=True)
class _Scope:
    """Elements open within an object, a table, a cell or the like, and where the nearest of these are among the open scopes, or -1."""

    tag: str = ""
    table: int = -1  # or template: an end tag of a cell reaches no further
    cell: int = -1  # of that table
    template: int = -1
    open: Counter[str] = field(default_factory=Counter)


class _Nesting:
    """Open elements, estimated: an end tag closes one of its name in its own scope, and nothing where none is open there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._scopes = [_Scope()]
        self._foreign, self._mixed = 0, False
        self._depth = self._formatting = self._reopened = self._merged = 0

    @property
    def foreign(self) -> bool:
        """Whether svg or math is open, where `/>` closes an element and names of HTML have no meaning."""
        return self._foreign > 0

    def start(self, tag: str, attributes: int, *, closed: bool) -> None:
        self._reopen()
        if tag in {"html", "body"}:  # a later one adds its attributes to the first
            self._merged += attributes
            if self._merged > MAX_ATTRIBUTES:
                raise _too_many_attributes(self._name)
        if tag in _CELLS and not self.foreign:
            self._cell(tag)
            return
        if closed if self.foreign or tag in _FOREIGN else tag in _NOT_NESTING:
            return
        self._mixed |= self.foreign and tag in _HTML_WITHIN
        if tag in {"a", "nobr"} and not self.foreign and not self._mixed:  # ends the one before, but in svg they nest
            self._close(tag)
        self._count(tag, 1)
        if self._depth > MAX_DEPTH:
            raise _broken(f"nests elements deeper than {MAX_DEPTH}; close them or remove the file", self._name)
        if tag in _SCOPES:
            self._enter(tag)

    def end(self, tag: str) -> None:
        self._reopen()
        scope = self._scopes[-1]
        target = {"table": scope.table, "template": scope.template}.get(
            tag, scope.cell if tag in _CELLS else len(self._scopes) - 1
        )
        if target > 0 and self._scopes[target].tag == tag:
            self._leave(target)
            if tag in _CELLS:  # not counted
                return
        self._close(tag)

    def _cell(self, tag: str) -> None:
        """A cell ends the one before it; outside of tables it is none."""
        if self._scopes[-1].cell > 0:
            self._leave(self._scopes[-1].cell)
        if self._scopes[-1].table > 0:
            self._enter(tag)

    def _enter(self, tag: str) -> None:
        above, here = self._scopes[-1], len(self._scopes)
        scope = _Scope(tag, above.table, above.cell, above.template)
        if tag in _CELLS:
            scope.cell = here
        elif tag in {"table", "template"}:
            scope.table, scope.cell = here, -1
            scope.template = here if tag == "template" else above.template
        self._scopes.append(scope)

    def _leave(self, target: int) -> None:
        """End a scope and those in it. What they leave open counts as open around them: too much rather than too little."""
        while len(self._scopes) > target:
            left = self._scopes.pop().open
            self._scopes[-1].open.update(left)

    def _close(self, tag: str) -> None:
        if self._scopes[-1].open[tag]:
            self._count(tag, -1)

    def _count(self, tag: str, step: int) -> None:
        opened = self._scopes[-1].open
        opened[tag] += step
        if not opened[tag]:
            del opened[tag]
        self._depth += step
        self._formatting += step * (tag in _FORMATTING)
        self._foreign += step * (tag in _FOREIGN)

    def _reopen(self) -> None:
        self._reopened += self._formatting
        if self._reopened > MAX_REOPENED:
            raise _broken("leaves too many elements like <b> open; close them or remove the file", self._name)


def _comment_end(text: str, position: int) -> int:
    match = _COMMENT.match(text, position)
    return match.end() if match else len(text)


def _other_end(text: str, match: re.Match[str], *, foreign: bool) -> int:
    """End of a doctype, an instruction for another program or a mistake, all up to `>`; in svg and math of a CDATA section."""
    closing = "]]>" if foreign and match.group(2).startswith("![") else ">"
    found = text.find(closing, match.end())
    return found + len(closing) if found >= 0 else len(text)


def _tag_end(text: str, position: int, name: str) -> tuple[int, int, bool]:
    """(position after `>` or -1 where the page ends before it, number of attributes, whether it is `/>`)."""
    count = 0
    while match := _ATTRIBUTE.match(text, position):
        if match.group(1):
            slash = match.start(1) - 1
            return match.end(), count, slash >= match.start() and text[slash] == "/"
        if match.end() == len(text):
            break
        position, count = match.end(), count + 1
        if count > MAX_ATTRIBUTES:
            raise _too_many_attributes(name)
    return -1, count, False


def _raw_end(text: str, position: int, tag: str) -> int:
    """Where the content of a raw element ends: before its end tag, or with the page."""
    if tag == "script":
        return _script_end(text, position)
    found = _CLOSING[tag].search(text, position) if tag in _CLOSING else None
    return found.start() if found else len(text)


def _script_end(text: str, position: int) -> int:
    """A script within a comment within a script has an end tag of its own."""
    commented = inner = False
    for match in _SCRIPT.finditer(text, position):
        found = match.group().lower()
        if found == "<!--":
            commented = True
        elif found == "-->":
            commented = inner = False
        elif found == "<script":
            inner = commented
        elif inner:
            inner = False
        else:
            return match.start()
    return len(text)


def _raw(start: str, content: str, tag: str) -> str:
    """The start tag and what is kept of the content, so written that no markup is in it."""
    if tag in _EMPTIED:
        return start
    if tag == "title":  # character references count in a title
        return start + content.replace("<", "&lt;")
    return f"<pre>{_escaped(content)}</pre>"


def _escaped(content: str) -> str:
    return content.replace("&", "&amp;").replace("<", "&lt;")


def _broken(message: str, name: str) -> ParseError:
    return ParseError(Reason.BROKEN, message, file=name)


def _too_many_attributes(name: str) -> ParseError:
    return _broken(f"has a tag with more than {MAX_ATTRIBUTES} attributes; remove them or the file", name)
