"""What a caller may choose about chunking, and its digest.

The index workload fills `ChunkOptions` from the API spec. The digest goes into every chunk id and embedding cache key: raise `VERSION`
when the same options would cut differently.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from gradatim.rag.model import RagError

VERSION = 2
MIN_TOKENS = 16


class Strategy(StrEnum):
    """Where to prefer cuts. All keep tables and fenced code whole where they fit."""

    FIXED = "fixed"  # windows of equal size, cut between words
    SENTENCE = "sentence"  # as many whole sentences as fit
    RECURSIVE = "recursive"  # the strongest boundary in the last quarter of the window: section, paragraph, sentence, line, word
    MARKDOWN = "markdown"  # recursive, but no chunk runs past the end of its section
    SEMANTIC = "semantic"  # whole sentences, cut where the topic changes


class ChunkOptionsError(RagError):
    """Chunk options that contradict each other."""


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """Sizes count the encoder's tokens, without special ones.

    `parent_max_tokens` asks for larger parent chunks, each child lying wholly inside one. `breakpoint_percentile` is for `semantic`: a
    topic changes where the distance between neighbouring sentences is above this percentile of the document's distances.
    """

    strategy: Strategy = Strategy.RECURSIVE
    max_tokens: int = 256
    overlap_tokens: int = 32
    parent_max_tokens: int | None = None
    breakpoint_percentile: float = 90.0

    def __post_init__(self) -> None:
        if self.max_tokens < MIN_TOKENS:
            raise ChunkOptionsError(f"maxTokens is {self.max_tokens}; use at least {MIN_TOKENS}")
        if not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise ChunkOptionsError(
                f"overlapTokens is {self.overlap_tokens}; use 0 to {self.max_tokens // 2}, half of maxTokens"
            )
        if self.parent_max_tokens is not None and self.parent_max_tokens < self.max_tokens:
            raise ChunkOptionsError(
                f"parent.maxTokens is {self.parent_max_tokens}; use at least maxTokens, {self.max_tokens}"
            )
        if not 0 < self.breakpoint_percentile < 100:
            raise ChunkOptionsError(
                f"the breakpoint percentile is {self.breakpoint_percentile}; use a value between 0 and 100"
            )

    def digest(self, tokenizer_digest: str, encoder_digest: str = "") -> str:
        """Hex SHA-256 over options, chunker version and tokenizer; `encoder_digest` counts for `semantic` only, whose cuts depend on it."""
        values = {"version": VERSION, "tokenizer": tokenizer_digest, **asdict(self)}
        if self.strategy is Strategy.SEMANTIC:
            values["encoder"] = encoder_digest
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
