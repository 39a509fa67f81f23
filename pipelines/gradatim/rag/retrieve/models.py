"""What a retriever asks of models: protocols, so that an index can be queried with any encoder that its manifest names.

`shelf` loads the real ones. No library is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gradatim.rag.retrieve.candidates import Vectors
from gradatim.rag.store.manifest import EncoderInfo


class QueryEncoder(Protocol):
    """What turns a question into a vector."""

    @property
    def digest(self) -> str:
        """Digest over weights and settings, as in the manifest."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of questions, shape (texts, dimension)."""
        ...


class Reranker(Protocol):
    """What scores (question, passage) pairs; higher is better, 0 to 1."""

    def score(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return one score per passage."""
        ...


@dataclass(frozen=True, slots=True)
class Models:
    """Where encoders and rerankers come from; the caller keeps loaded ones between queries."""

    encoder: Callable[[EncoderInfo], QueryEncoder]
    reranker: Callable[[str], Reranker]
