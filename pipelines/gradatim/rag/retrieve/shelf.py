"""Loads encoders and rerankers for queries once and keeps them.

Every client of an index makes one shelf and hands `models()` to its retrievers. Weights are fetched into the cache folder and checked against the
manifest by the retriever; questions are encoded one at a time, because an encoder is not safe for several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gradatim.rag.rerank import CrossEncoderReranker
from gradatim.rag.retrieve.candidates import Vectors
from gradatim.rag.retrieve.models import Models, QueryEncoder, Reranker
from gradatim.rag.store.manifest import EncoderInfo

if TYPE_CHECKING:
    from gradatim.rag.embed import EmbedOptions, Kind


class TextEncoder(Protocol):
    """`Encoder`, or `QuestionEncoder` where importing torch would cost more than it saves."""

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over weights, normalisation and prefixes."""
        ...

    def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """Return the vectors of texts, shape (texts, dimension)."""
        ...


@dataclass(slots=True)
class SharedEncoder:
    """An encoder behind a lock. `digest` covers weights, normalisation and prefixes."""

    encoder: TextEncoder
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def digest(self) -> str:
        """Return `sha256:…`, as manifests carry it."""
        return "sha256:" + self.encoder.fingerprint

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of questions, shape (texts, dimension)."""
        from gradatim.rag.embed import Kind

        with self._lock:
            return self.encoder.encode(texts, Kind.QUERY)


@dataclass(slots=True)
class SharedReranker:
    """A cross-encoder behind a lock."""

    reranker: CrossEncoderReranker
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def score(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return one score per passage."""
        with self._lock:
            return self.reranker.score(question, passages)


@dataclass(slots=True)
class ModelShelf:
    """Models by address and settings. `cache` is a folder of this machine for fetched weights; `threads` is for the whole process.

    `few` says that the process asks a few questions and ends: torch is then loaded only if a model needs it.
    """

    cache: Path
    threads: int | None = None
    few: bool = False
    _encoders: dict[str, SharedEncoder] = field(default_factory=dict)
    _rerankers: dict[str, SharedReranker] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def models(self) -> Models:
        """Return what a retriever needs."""
        return Models(encoder=self.encoder, reranker=self.reranker)

    def encoder(self, info: EncoderInfo) -> QueryEncoder:
        """Return the encoder that a manifest names, loaded. Raises EncoderError."""
        from gradatim.rag.embed import EmbedOptions, Precision, load_model

        key = info.model_dump_json()
        with self._lock:
            if key not in self._encoders:
                options = EmbedOptions(
                    normalize=info.normalize,
                    query_prefix=info.prefix.query,
                    document_prefix=info.prefix.document,
                    precision=Precision(info.precision),
                    threads=self.threads,
                )
                self._encoders[key] = SharedEncoder(self._open(load_model(info.uri, self.cache), options))
            return self._encoders[key]

    def _open(self, folder: Path, options: EmbedOptions) -> TextEncoder:
        if self.few:
            from gradatim.rag.embed.question import QuestionEncoder

            return QuestionEncoder(folder, options)
        from gradatim.rag.embed import Encoder

        return Encoder(folder, options)

    def reranker(self, uri: str) -> Reranker:
        """Return the cross-encoder at an address, loaded. Raises EncoderError or RerankerError."""
        from gradatim.rag.embed import load_model

        with self._lock:
            if uri not in self._rerankers:
                self._rerankers[uri] = SharedReranker(CrossEncoderReranker.load(load_model(uri, self.cache)))
            return self._rerankers[uri]
