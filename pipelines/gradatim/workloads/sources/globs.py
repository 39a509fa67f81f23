"""Patterns that choose files: `*` within a folder, `**` across folders, `?`, `[...]`.

Used by the sources for what a user wrote, and for what the card of somebody's repository on a hub says: so a pattern of any form takes time in
proportion to its length and the path's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial

# One star more multiplies the work of a regular expression that fails by the length of the path.
_FEW = 2
_WITHIN, _ACROSS, _FOLDERS = "[^/]*", ".*", "(?:.*/)?"
_STARS = frozenset({_WITHIN, _ACROSS, _FOLDERS})


def matches(path: str, globs: Iterable[str]) -> bool:
    """Tell whether a relative path matches one of the globs."""
    return any(_matcher(glob)(path) for glob in globs)


@lru_cache(maxsize=256)
def _matcher(glob: str) -> Callable[[str], bool]:
    pieces = _pieces(glob)
    if sum(piece in _STARS for piece in pieces) > _FEW:
        singles = tuple(None if piece in _STARS else re.compile(piece, re.DOTALL) for piece in pieces)
        return partial(_walk, pieces=pieces, singles=singles)
    whole = re.compile("".join(pieces), re.DOTALL)
    return lambda path: whole.fullmatch(path) is not None


def _walk(path: str, pieces: tuple[str, ...], singles: tuple[re.Pattern[str] | None, ...]) -> bool:
    """Match by all ways at once (Thompson, 1968): never more places than the pattern has pieces, whatever the path.

    A place is a piece and whether it has begun, which only matters for `**/`: that may end before it begins, or after a slash.
    """
    places = _closed({(0, False)}, pieces)
    for character in path:
        after: set[tuple[int, bool]] = set()
        for at, begun in places:
            if at == len(pieces):
                continue
            piece, single = pieces[at], singles[at]
            if piece == _FOLDERS:
                after.add((at, True))
                if character == "/":
                    after.add((at + 1, False))
            elif piece in _STARS:
                if piece == _ACROSS or character != "/":
                    after.add((at, begun))
            elif single is not None and single.match(character):
                after.add((at + 1, False))
        places = _closed(after, pieces)
        if not places:
            return False
    return (len(pieces), False) in places


def _closed(places: set[tuple[int, bool]], pieces: tuple[str, ...]) -> set[tuple[int, bool]]:
    """Add where a star that matches nothing more leads."""
    waiting = list(places)
    while waiting:
        at, begun = waiting.pop()
        free = at < len(pieces) and pieces[at] in _STARS and not (begun and pieces[at] == _FOLDERS)
        if free and (at + 1, False) not in places:
            places.add((at + 1, False))
            waiting.append((at + 1, False))
    return places


def _pieces(glob: str) -> tuple[str, ...]:
    """Return a pattern as regular expressions of one character each, and stars."""
    out: list[str] = []
    rest = glob.removeprefix("./").removeprefix("/")
    while rest:
        if rest.startswith("**/"):
            piece, rest = _FOLDERS, rest[3:]
        elif rest.startswith("**"):
            piece, rest = _ACROSS, rest[2:]
        else:
            piece, rest = _piece(rest)
        if piece not in _STARS or out[-1:] != [piece]:  # twice the same star is once
            out.append(piece)
    return tuple(out)


def _piece(rest: str) -> tuple[str, str]:
    head, tail = rest[0], rest[1:]
    if head == "*":
        return _WITHIN, tail
    if head == "?":
        return "[^/]", tail
    end = tail.find("]", 1) if head == "[" else -1
    if end > 0:
        return _class(tail[:end]), tail[end + 1 :]
    return re.escape(head), tail


def _class(body: str) -> str:
    """Return `[...]` as a regular expression; one whose range runs backwards matches nothing, as in a shell."""
    body = body.replace("\\", "\\\\").replace("[", "\\[")
    found = f"[^/{body[1:]}]" if body[0] in "!^" else f"[{body}]"
    try:
        re.compile(found)
    except re.error:
        return "(?!)"
    return found
