"""Cuts one document into chunks, and into parents where asked for.

Tokenises once; `levels` says where cuts are good, `packing` chooses. Parents are cut first and children inside them, so that every child
lies wholly in its parent. Called by the index workload for each new or changed document.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradatim.rag.chunk.levels import Layout, layout
from gradatim.rag.chunk.options import ChunkOptions, ChunkOptionsError, Strategy
from gradatim.rag.chunk.packing import Level, Levels, Packing, no_stop, pack
from gradatim.rag.chunk.semantic import Embed, topic_changes
from gradatim.rag.chunk.tokens import Tokenizer
from gradatim.rag.model import Chunk, Document, chunk_id

Stop = Callable[[int, int], int | None]
Span = tuple[int, int]

# A chunk that ends at half of its size is found less well than a full one, whatever boundary it ends at: on the texts of the benchmark 0.7
# to 0.97 make no difference, 0.5 does.
_FILL = 0.75
_ALL = (Level.SECTION, Level.PARAGRAPH, Level.SENTENCE, Level.LINE, Level.WORD)
_STYLES: dict[Strategy, tuple[tuple[Level, ...], float, Level]] = {
    Strategy.FIXED: ((Level.WORD,), 0.0, Level.WORD),
    Strategy.SENTENCE: ((Level.SENTENCE, Level.LINE, Level.WORD), 0.0, Level.SENTENCE),
    Strategy.RECURSIVE: (_ALL, _FILL, Level.WORD),
    Strategy.MARKDOWN: (_ALL, _FILL, Level.WORD),
    Strategy.SEMANTIC: ((Level.SENTENCE, Level.LINE, Level.WORD), 0.0, Level.SENTENCE),
}
# Formats in which a line that begins with `#` is a comment or an accident, not a heading.
_WITHOUT_HEADINGS = ("text/", "pypdf", "csv/")


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """`chunks` in order, `index` from 0; `parents` likewise, empty unless asked for."""

    chunks: tuple[Chunk, ...]
    parents: tuple[Chunk, ...] = ()


def chunk_document(
    document: Document,
    options: ChunkOptions,
    tokenizer: Tokenizer,
    embed: Embed | None = None,
    encoder_digest: str = "",
) -> ChunkedDocument:
    """Chunks of a document, none of them blank, together covering every visible character.

    No chunk has more than `max_tokens` tokens by itself, unless one single character has. `embed` maps sentences to [n, d] vectors and
    is needed by the `semantic` strategy only. Raises ChunkOptionsError without it.
    """
    if not document.text.strip():
        return ChunkedDocument(())
    with_headings = not document.parser.startswith(_WITHOUT_HEADINGS)
    plan = layout(document.text, tokenizer.offsets(document.text), with_headings=with_headings)
    writer = _Writer(document, plan, tokenizer, options.digest(tokenizer.digest, encoder_digest))
    levels = plan.levels(options.max_tokens)
    stop = _stop(plan, levels, options, embed)
    if options.parent_max_tokens is None:
        spans = pack(
            levels, (0, plan.tokens), _packing(options.strategy, options.max_tokens, options.overlap_tokens), stop
        )
        return ChunkedDocument(tuple(writer.chunks(spans or [(0, 0)], options.max_tokens, "")))
    return _with_parents(writer, levels, options, stop)


def _with_parents(writer: _Writer, levels: Levels, options: ChunkOptions, stop: Stop) -> ChunkedDocument:
    size = options.parent_max_tokens or options.max_tokens
    plan = writer.plan
    outer = pack(plan.levels(size), (0, plan.tokens), _packing(Strategy.RECURSIVE, size, 0))
    parents: list[Chunk] = []
    children: list[Chunk] = []
    packing = _packing(options.strategy, options.max_tokens, options.overlap_tokens)
    for window in outer or [(0, 0)]:
        for parent, (low, high) in writer.located([window], size, "parent"):
            parents.append(replace(parent, index=len(parents)))
            spans = pack(levels, (low, high), packing, stop)
            for child in writer.chunks(spans or [(low, high)], options.max_tokens, ""):
                children.append(replace(child, index=len(children), parent_id=parent.id))
    return ChunkedDocument(tuple(children), tuple(parents))


def _packing(strategy: Strategy, max_tokens: int, overlap: int) -> Packing:
    tiers, min_fill, overlap_level = _STYLES[strategy]
    return Packing(max_tokens, overlap, tiers, min_fill, overlap_level)


def _stop(plan: Layout, levels: Levels, options: ChunkOptions, embed: Embed | None) -> Stop:
    """The boundaries a chunk must not cross: ends of sections or changes of topic. A quarter of a chunk is the least they may leave."""
    least = options.max_tokens // 4
    if options.strategy is Strategy.MARKDOWN:
        return _section_stop(plan, least)
    if options.strategy is not Strategy.SEMANTIC:
        return no_stop
    if embed is None:
        raise ChunkOptionsError("the semantic strategy needs an encoder to compare sentences; pass `embed`")
    changes = topic_changes(plan, levels, options.breakpoint_percentile, embed)

    def stop(start: int, limit: int) -> int | None:
        position = int(np.searchsorted(changes, start + max(1, least)))
        return int(changes[position]) if position < len(changes) and changes[position] <= limit else None

    return stop


def _section_stop(plan: Layout, least: int) -> Stop:
    """A section ends at the next heading of its own depth or above; its sub-sections may share a chunk with it."""
    tokens: NDArray[np.int64] = plan.heading_tokens

    def stop(start: int, limit: int) -> int | None:
        own = int(np.searchsorted(tokens, start, side="right"))
        depth = plan.headings[own - 1].depth if own else 1
        for position in range(own, len(tokens)):
            token = int(tokens[position])
            if token > limit:
                return None
            if plan.headings[position].depth <= depth and token - start >= max(1, least):
                return token
        return None

    return stop


class _Writer:
    """Makes chunks from token spans of one document: exact offsets, strict sizes, ids, page and headings."""

    def __init__(self, document: Document, plan: Layout, tokenizer: Tokenizer, digest: str) -> None:
        self.document, self.plan, self.tokenizer, self.digest = document, plan, tokenizer, digest
        self._heading_starts = [heading.start for heading in plan.headings]

    def chunks(self, spans: list[Span], max_tokens: int, kind: str) -> list[Chunk]:
        """Chunks of the spans, numbered from 0."""
        return [replace(chunk, index=index) for index, (chunk, _) in enumerate(self.located(spans, max_tokens, kind))]

    def located(self, spans: list[Span], max_tokens: int, kind: str) -> list[tuple[Chunk, Span]]:
        """Chunks with their token spans; a span whose text has more tokens by itself than in context is divided.

        A piece that ends no later than the one before lies in the overlap and is left out.
        """
        made: list[tuple[Chunk, Span]] = []
        counts = self._recount(spans)
        for span, count in zip(spans, counts, strict=True):
            if count > max_tokens and (cut := self._divide(span)):
                made.extend(self.located([(span[0], cut), (cut, span[1])], max_tokens, kind))
                continue
            start, end = self._characters(span)
            if start < end:
                made.append((self._chunk((start, end), count, kind), span))
        furthest = 0
        kept = []
        for chunk, span in made:
            if chunk.end > furthest:
                kept.append((chunk, span))
                furthest = chunk.end
        return kept

    def _recount(self, spans: list[Span]) -> list[int]:
        """Tokens of each span's text by itself. Between white space they equal those in context if the tokenizer is additive."""
        counts = [end - start for start, end in spans]
        text = self.document.text
        unsafe, texts = [], []
        for index, span in enumerate(spans):
            start, end = self._characters(span)
            free = (start == 0 or text[start - 1].isspace()) and (end == len(text) or text[end].isspace())
            if not (free and self.tokenizer.additive):
                unsafe.append(index)
                texts.append(text[start:end])
        for index, count in zip(unsafe, self.tokenizer.count(texts) if texts else [], strict=True):
            counts[index] = count
        return counts

    def _divide(self, span: Span) -> int | None:
        """The best cut near the middle of a span; None if there is no place to cut."""
        first, end = span
        part = self.plan.base[first + 1 : end]
        allowed = np.flatnonzero(part >= min(Level.WORD, int(part.max(initial=Level.NEVER))))
        if not allowed.size or part.max() < Level.INSIDE:
            return None
        middle = (end - first) // 2
        return first + 1 + int(allowed[np.argmin(np.abs(allowed + 1 - middle))])

    def _characters(self, span: Span) -> Span:
        """Character offsets of a token span without white space at its ends. What no token covers goes to the token before it."""
        starts = self.plan.starts
        low = 0 if span[0] == 0 else int(starts[span[0]])
        high = int(starts[span[1]]) if span[1] < self.plan.tokens else len(self.document.text)
        piece = self.document.text[low:high]
        start = low + len(piece) - len(piece.lstrip())
        return start, max(start, low + len(piece.rstrip()))

    def _chunk(self, span: Span, tokens: int, kind: str) -> Chunk:
        document = self.document
        text = document.text[span[0] : span[1]]
        above = bisect_right(self._heading_starts, span[0])
        return Chunk(
            id=chunk_id(document.id, self.digest + kind, span, text),
            document_id=document.id,
            index=0,
            start=span[0],
            end=span[1],
            text=text,
            tokens=tokens,
            headings=self.plan.headings[above - 1].path if above else (),
            page=document.page_at(span[0]),
        )
