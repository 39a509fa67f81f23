"""A candidate on its way through the stages, and what a caller gets of it.

Made from the store's objects by the retriever, passed from stage to stage, turned into hits at the end. Values and pure conversions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from gradatim.rag.store.rows import IndexRow, TypedValue

Vector = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the store with its score so far (higher is better, never negative) and the score after each stage."""

    row: IndexRow
    score: float
    vector: Vector | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    def scored(self, stage: str, score: float) -> Candidate:
        """Return the candidate with a new score, noted under the stage."""
        return replace(self, score=score, scores={**self.scores, stage: score})


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a hit's text stands: characters `start` to `end` of the document's parsed text, and page or row where it has them."""

    source: str
    file: str
    start: int
    end: int
    page: int | None = None
    row: int | None = None
    headings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the citation as it stands below an answer."""
        where = f" page {self.page}" if self.page is not None else f" row {self.row}" if self.row is not None else ""
        return f"{self.source}/{self.file}{where} [{self.start}:{self.end}]"


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage. `score` is that of the last stage; `scores` has one entry per stage when explained.

    `citation` covers the found chunk; `context` covers `text`, which is wider where a parent stands in for the chunk.
    """

    text: str
    score: float
    chunk_id: str
    document_id: str
    version: str
    citation: Citation
    context: Citation
    metadata: Mapping[str, TypedValue] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of a query. `timings` are milliseconds by stage when explained: encode, store, rerank, own, total."""

    hits: tuple[Hit, ...]
    version: str
    collection: str
    timings: Mapping[str, float] = field(default_factory=dict)


def similarity(distance: str, value: float) -> float:
    """Turn a distance of the store into a score from 0 to 1 (normalised vectors assumed for dot), higher is better.

    >>> similarity("cosine", 0.0), similarity("cosine", 2.0), similarity("dot", -1.0), similarity("l2-squared", 0.0)
    (1.0, 0.0, 1.0, 1.0)
    """
    if distance == "cosine":
        found = 1.0 - value / 2.0
    elif distance == "dot":
        found = (1.0 - value) / 2.0
    else:
        found = 1.0 / (1.0 + max(0.0, value))
    return min(1.0, max(0.0, found))


def ranked(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates best first; equal scores keep an order that does not depend on the store's."""
    return sorted(candidates, key=lambda item: (-item.score, item.row.document_id, item.row.start, item.row.id))
