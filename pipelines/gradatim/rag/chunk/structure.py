"""Finds what a text is made of: headings, tables, fenced code, paragraphs, sentences, lines.

Pure functions over one string, each linear in its length; positions are character offsets. The packing works on the levels built from
them and knows nothing of Markdown.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+([^\n]*)$", re.MULTILINE)
_TABLE_RULE = re.compile(r"^[ \t]*(?:\|(?:[ \t]*:?-+:?[ \t]*\|)+|:?-+:?(?:[ \t]*\|[ \t]*:?-+:?)+)[ \t]*$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_LINE = re.compile(r"\n\s*")
_LIST_ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)])[ \t]")
# Closing quotes and brackets follow the stop; ideographic stops (U+3002, U+FF01, U+FF1F) need no space after them. A run of stops is tried
# at its first one only: what does not match there matches at none of the others.
_STOP = re.compile(
    r"""(?<![.!?\u2026])[.!?\u2026]+["'\u201d\u2019\u00bb)\]]*(\s+)|"""
    r"""[\u3002\uff01\uff1f]+["'\u201d\u2019\u300d\u300f\uff09]*"""
)
_TITLE_CHARS = 200
_LAST_WORD = re.compile(r"([\w.]+)$")
_ABBREVIATIONS = frozenset(
    {
        "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "e.g", "i.e", "cf", "al", "fig", "figs", "eq", "no", "nos", "vol",
        "pp", "p", "inc", "ltd", "co", "corp", "dept", "univ", "approx", "ca", "resp", "sec", "ch", "ed", "eds", "gen", "col", "sen",
        "rep", "gov", "u.s", "u.k", "a.m", "p.m", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading line: offsets of its start and of the end of its line, depth 1 to 6, and the titles from the outermost down to it.

    A title of more than 200 characters is cut.
    """

    start: int
    end: int
    depth: int
    path: tuple[str, ...]


def fences(text: str) -> list[tuple[int, int]]:
    """Spans of fenced code, fence lines included; a fence never closed runs to the end, as Markdown has it."""
    spans: list[tuple[int, int]] = []
    open_at, marker = -1, ""
    for match in _FENCE.finditer(text):
        if open_at < 0:
            if match.group(1)[0] == "`" and "`" in match.group(2):
                continue  # inline code on a line of its own
            open_at, marker = match.start(), match.group(1)
        elif match.group(1).startswith(marker) and not match.group(2).strip():
            spans.append((open_at, match.end()))
            open_at = -1
    if open_at >= 0:
        spans.append((open_at, len(text)))
    return spans


def tables(text: str) -> list[tuple[int, int]]:
    """Spans of pipe tables: a header line, a rule, and all lines with a pipe that follow."""
    spans: list[tuple[int, int]] = []
    for match in _TABLE_RULE.finditer(text):
        if spans and match.start() < spans[-1][1]:
            continue
        header = text.rfind("\n", 0, max(0, match.start() - 1)) + 1
        if match.start() == 0 or "|" not in text[header : match.start()]:
            continue
        end = match.end()
        while end < len(text):
            following = text.find("\n", end + 1)
            following = len(text) if following < 0 else following
            if text.find("|", end + 1, following) < 0:
                break
            end = following
        spans.append((header, end))
    return spans


def blocks(text: str) -> list[tuple[int, int]]:
    """Spans that should stay whole, in order and disjoint: fenced code, and tables outside it."""
    code = fences(text)
    starts = [start for start, _ in code]
    inside = list(code)
    for start, end in tables(text):
        before = bisect_left(starts, end)  # of the code that begins before the table ends, the last ends last
        if not before or code[before - 1][1] <= start:
            inside.append((start, end))
    return sorted(inside)


def headings(text: str, outside: list[tuple[int, int]]) -> list[Heading]:
    """ATX headings that do not lie in one of the spans `outside` names."""
    found: list[Heading] = []
    stack: list[tuple[int, str]] = []
    spans = iter([*outside, (len(text) + 1, len(text) + 1)])
    span = next(spans)
    for match in _HEADING.finditer(text):
        while span[1] <= match.start():
            span = next(spans)
        if span[0] <= match.start():
            continue
        depth = len(match.group(1))
        stack = [*(item for item in stack if item[0] < depth), (depth, _title(match.group(2)))]
        found.append(Heading(match.start(), match.end(), depth, tuple(title for _, title in stack)))
    return found


def _title(line: str) -> str:
    """A title, cut where it is longer than one is: every chunk below it carries it, and a page with a heading never closed is one line."""
    title = line.rstrip("# \t")
    if len(title) <= _TITLE_CHARS:
        return title
    word = title.rfind(" ", _TITLE_CHARS // 2, _TITLE_CHARS)
    return title[: word if word > 0 else _TITLE_CHARS - 1].rstrip() + "\u2026"


def paragraph_starts(text: str) -> Iterator[int]:
    """Offsets just after blank lines."""
    return (match.end() for match in _PARAGRAPH.finditer(text))


def line_starts(text: str) -> Iterator[tuple[int, bool]]:
    """Offset of each line's first visible character, and whether the line begins a list item."""
    return ((match.end(), _LIST_ITEM.match(text, match.end()) is not None) for match in _LINE.finditer(text))


def sentence_starts(text: str) -> Iterator[int]:
    """Offsets at which a sentence begins after another one ended.

    A rule, not a model: a full stop followed by white space ends a sentence unless a small letter follows, or a known abbreviation or a
    single capital letter (an initial) stands before it. In a text written without capitals small letters say nothing.
    """
    capitals = _with_capitals(text)
    for match in _STOP.finditer(text):
        end = match.end()
        if end >= len(text):
            return
        dubious = match.group(1) is not None and text[match.start()] == "."
        if dubious and not _ends_sentence(text, match.start(), end, capitals=capitals):
            continue
        yield end


def _with_capitals(text: str) -> bool:
    """Whether sentences begin with capitals: then there are at least as many of them as stops before a small letter."""
    small = sum(match.end() < len(text) and text[match.end()].islower() for match in _STOP.finditer(text))
    return small == 0 or sum(map(str.isupper, text)) >= small


def _ends_sentence(text: str, stop: int, following: int, *, capitals: bool) -> bool:
    if capitals and text[following].islower():
        return False
    word = _LAST_WORD.search(text[max(0, stop - 12) : stop])
    if word is None:
        return True
    last = word.group(1)
    initial = len(last) == 1 and (last.isupper() or (last.isalpha() and not capitals))
    return not (initial or last.lower() in _ABBREVIATIONS)
