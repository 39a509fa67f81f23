"""Turns the structure of a text into one cut level per token boundary.

Character positions found by `structure` are mapped to tokens by binary search on the offsets; everything per token is vectorised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradatim.rag.chunk import structure
from gradatim.rag.chunk.packing import Level, Levels
from gradatim.rag.chunk.tokens import Offsets


@dataclass(frozen=True, slots=True)
class Layout:
    """A tokenised text: `starts` [n + 1] are token starts with the text's length as last, `base` the levels without whole blocks.

    `blocks` are (first token, end token) of tables and fenced code, `headings` the headings and `heading_tokens` where they begin.
    """

    text: str
    starts: NDArray[np.int64]
    base: Levels
    blocks: tuple[tuple[int, int], ...]
    headings: tuple[structure.Heading, ...]
    heading_tokens: NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.starts) - 1

    def token_at(self, positions: list[int]) -> NDArray[np.int64]:
        """First token at or after each character position."""
        return np.searchsorted(self.starts[:-1], np.array(positions, dtype=np.int64))

    def levels(self, max_tokens: int) -> Levels:
        """Levels for chunks of `max_tokens`: blocks that fit are closed, larger ones may be cut between their lines."""
        levels = self.base.copy()
        for first, end in self.blocks:
            inside = levels[first + 1 : end]
            if end - first <= max_tokens:
                inside[:] = Level.NEVER
            else:
                inside[inside > Level.WORD] = Level.WORD
                lines = self._line_tokens(first, end)
                levels[lines] = np.where(levels[lines] > Level.NEVER, Level.SENTENCE, Level.NEVER)
        return levels

    def _line_tokens(self, first: int, end: int) -> NDArray[np.int64]:
        low, high = int(self.starts[first]), int(self.starts[end])
        lines = [low + start for start, _ in structure.line_starts(self.text[low:high])]
        tokens = self.token_at(lines)
        return tokens[(tokens > first) & (tokens < end)]


def layout(text: str, offsets: Offsets, *, with_headings: bool) -> Layout:
    """Read the structure of `text`, tokenised as `offsets` [n, 2] say. `with_headings`: `#` lines are headings, not comments."""
    starts = _starts(text, offsets)
    count = len(starts) - 1
    base = np.full(count + 1, Level.INSIDE, dtype=np.int8)
    if count:
        before = _is_space(text)[np.maximum(starts[:-1] - 1, 0)]
        base[:-1][before] = Level.WORD
    spans = structure.blocks(text)
    found = structure.headings(text, spans) if with_headings else []
    out = Layout(text, starts, base, (), tuple(found), np.empty(0, dtype=np.int64))

    def raise_to(positions: list[int], level: Level) -> NDArray[np.int64]:
        tokens = out.token_at(positions)
        np.maximum.at(base, tokens, np.int8(level))
        return tokens

    lines = list(structure.line_starts(text))
    raise_to([start for start, item in lines if not item], Level.LINE)
    raise_to([start for start, item in lines if item], Level.SENTENCE)
    raise_to(list(structure.sentence_starts(text)), Level.SENTENCE)
    raise_to(list(structure.paragraph_starts(text)), Level.PARAGRAPH)
    first_tokens = raise_to([start for start, _ in spans], Level.PARAGRAPH)
    end_tokens = raise_to([end for _, end in spans], Level.PARAGRAPH)
    heading_tokens = raise_to([heading.start for heading in found], Level.SECTION)
    # A heading belongs to what follows it.
    base[out.token_at([heading.end for heading in found])] = Level.WORD
    repeated = np.flatnonzero(starts[1:-1] == starts[:-2]) + 1 if count else np.empty(0, dtype=np.int64)
    base[repeated] = Level.NEVER  # tokens that share a character
    base[-1] = Level.SECTION
    pairs = zip(first_tokens.tolist(), end_tokens.tolist(), strict=True)
    return Layout(text, starts, base, tuple(pair for pair in pairs if pair[0] < pair[1]), tuple(found), heading_tokens)


def _starts(text: str, offsets: Offsets) -> NDArray[np.int64]:
    """Token starts, moved past white space that some tokenizers count to the token, then the length of the text."""
    starts = np.maximum.accumulate(offsets[:, 0]) if len(offsets) else np.empty(0, dtype=np.int64)
    if len(starts):
        visible = np.flatnonzero(~_is_space(text))
        following = np.searchsorted(visible, starts)
        starts = np.where(following < len(visible), visible[np.minimum(following, len(visible) - 1)], len(text))
        starts = np.minimum(starts, np.maximum(offsets[:, 1] - 1, offsets[:, 0]))
        starts = np.maximum.accumulate(starts)
    return np.append(starts, len(text)).astype(np.int64)


def _is_space(text: str) -> NDArray[np.bool_]:
    """One truth value per character."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return np.isin(codes, _SPACES)


_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)
