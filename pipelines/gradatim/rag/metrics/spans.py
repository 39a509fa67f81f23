"""How much of the gold passages the retrieved chunks hold, by characters.

As in Chroma's chunking evaluation (research.trychroma.com/evaluating-chunking): overlapping intervals are merged first, so that no
character counts twice; recall is the share of gold characters retrieved, precision the share of retrieved characters that are gold, IoU
their intersection over their union. Characters stand in for tokens, so that encoders with different tokenizers can be compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gradatim.rag.metrics.ranking import MetricsError


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a document."""

    document: str
    start: int
    end: int


class SpanScores(NamedTuple):
    """Scores of one query, each 0 to 1."""

    recall: float
    precision: float
    iou: float


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same characters as disjoint spans in order, touching ones joined, empty ones dropped."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        last = merged[-1] if merged else None
        if last is not None and last.document == span.document and span.start <= last.end:
            merged[-1] = last._replace(end=max(last.end, span.end))
        else:
            merged.append(span)
    return merged


def span_scores(gold: Sequence[Span], retrieved: Sequence[Span]) -> SpanScores:
    """Scores of one query. Nothing retrieved scores 0 throughout. Raises MetricsError without a gold span."""
    wanted, got = merge(gold), merge(retrieved)
    if not wanted:
        raise MetricsError("a question has no gold span; give it one or leave it out")
    common = _common(wanted, got)
    gold_size, size = _size(wanted), _size(got)
    return SpanScores(common / gold_size, common / size if size else 0.0, common / (gold_size + size - common))


def judge(chunks: Mapping[str, Span], gold: Sequence[Span], min_share: float = 0.5) -> dict[str, int]:
    """Judgements {chunk id: 1} for ranking metrics, from gold spans.

    A chunk is relevant to a gold span if they share at least `min_share` of the shorter of the two: it holds most of the passage, or
    is itself mostly passage. Chunks that only touch one are left out.
    """
    if not 0 < min_share <= 1:
        raise MetricsError(f"the least share is {min_share}; use a value above 0 and up to 1")
    passages: dict[str, list[Span]] = defaultdict(list)
    for span in gold:
        if span.start < span.end:
            passages[span.document].append(span)
    relevant = {}
    for name, chunk in chunks.items():
        for span in passages.get(chunk.document, ()):
            shared = min(chunk.end, span.end) - max(chunk.start, span.start)
            if shared > 0 and shared >= min_share * min(chunk.end - chunk.start, span.end - span.start):
                relevant[name] = 1
                break
    return relevant


def _common(left: list[Span], right: list[Span]) -> int:
    """Characters in both of two merged lists."""
    total, i, j = 0, 0, 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        if a.document == b.document:
            total += max(0, min(a.end, b.end) - max(a.start, b.start))
        if (a.document, a.end) <= (b.document, b.end):
            i += 1
        else:
            j += 1
    return total


def _size(spans: list[Span]) -> int:
    return sum(span.end - span.start for span in spans)
