"""Packs tokens into chunks, given how good a cut would be before each token.

All five strategies end here: they differ in the levels they give and in which of them they prefer. Works on token indexes only, one pass,
a bounded window per chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.int8]


class Level(IntEnum):
    """How good it is to cut before a token, best last."""

    NEVER = -1  # inside a character or a block that is kept whole
    INSIDE = 0
    WORD = 1
    LINE = 2
    SENTENCE = 3
    PARAGRAPH = 4
    SECTION = 5


@dataclass(frozen=True, slots=True)
class Packing:
    """Sizes in tokens. `tiers` are tried in order; a cut of a tier is taken if it leaves the chunk at least `min_fill` full (a share).

    `overlap_level` is the weakest boundary at which an overlap may begin where a sentence was cut.
    """

    max_tokens: int
    overlap_tokens: int
    tiers: tuple[Level, ...]
    min_fill: float
    overlap_level: Level


def no_stop(_start: int, _limit: int) -> int | None:
    """For texts without boundaries that a chunk must not cross."""
    return None


def pack(
    levels: Levels, window: tuple[int, int], packing: Packing, stop: Callable[[int, int], int | None] = no_stop
) -> list[tuple[int, int]]:
    """Token spans [start, end) that cover the window in order, each of at most `max_tokens`.

    `levels` has one entry per token and one for the end. `stop(start, limit)` gives the first boundary in (start, limit] which a chunk
    from `start` must not cross. A span is longer only where no cut is allowed at all: one character of very many tokens.
    """
    first, last = window
    spans: list[tuple[int, int]] = []
    start = done = first
    while done < last:
        limit = min(start + packing.max_tokens, last)
        barrier = stop(start, limit)
        if barrier is not None and barrier > done:
            end = barrier
        elif limit == last:
            end = last
        else:
            found = _cut(levels, (start, max(done, start), limit), packing)
            if found is None and start < done:
                start = done  # the overlap leaves no room for what comes next
                continue
            end = _next_allowed(levels, limit, last) if found is None else found
        spans.append((start, end))
        done = end
        start = end if end == barrier else _overlap_start(levels, (start, end), packing)
    return spans


def _cut(levels: Levels, where: tuple[int, int, int], packing: Packing) -> int | None:
    """Last boundary of the best tier in the well-filled part of the window, else in all of it; None if there is none after `done`."""
    start, done, limit = where
    full_enough = max(done + 1, start + int(packing.max_tokens * packing.min_fill))
    for low in (full_enough, done + 1):
        part = levels[low : limit + 1]
        if not part.size:
            continue
        best = int(part.max())
        for tier in packing.tiers:
            if tier <= best:
                return low + int(np.flatnonzero(part >= tier)[-1])
    inside = np.flatnonzero(levels[done + 1 : limit + 1] >= Level.INSIDE)
    return done + 1 + int(inside[-1]) if inside.size else None


def _next_allowed(levels: Levels, limit: int, last: int) -> int:
    allowed = np.flatnonzero(levels[limit:last] >= Level.INSIDE)
    return limit + int(allowed[0]) if allowed.size else last


def _overlap_start(levels: Levels, span: tuple[int, int], packing: Packing) -> int:
    """Where the next chunk begins: the first sentence in the overlap, else the first boundary allowed there, else no overlap.

    After a cut between sentences only whole ones are repeated: the end of one says little and makes two chunks alike. An overlap of words
    is for a sentence that was cut.
    """
    start, end = span
    low = max(start + 1, end - packing.overlap_tokens)
    part = levels[low:end]
    whole = levels[end] >= Level.SENTENCE and Level.SENTENCE in packing.tiers
    for level in (Level.SENTENCE,) if whole else (Level.SENTENCE, packing.overlap_level):
        found = np.flatnonzero(part >= level)
        if found.size:
            return low + int(found[0])
    return end
