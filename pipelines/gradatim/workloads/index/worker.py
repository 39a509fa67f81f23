"""One worker: reads, cuts and embeds. Lives in this process or in a Ray actor, and loads its encoder when it first needs it.

Every method takes one picklable input and gives one picklable result; none touches the artifact store or the network. On another node than the
driver's the encoder's files are copied first; see `weights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gradatim.rag.chunk.options import Strategy
from gradatim.rag.chunk.tokens import HfTokenizer
from gradatim.rag.model import RagError
from gradatim.rag.ocr import Ocr, OnPage
from gradatim.rag.ocr.engine import Engine
from gradatim.workloads.executor import Place
from gradatim.workloads.index.cutting import CuttingTools, cut_documents
from gradatim.workloads.index.files import FileContent, Read, read_file
from gradatim.workloads.index.reading import Vectors
from gradatim.workloads.index.settings import IndexSettings
from gradatim.workloads.index.weights import ModelAt, Weights, weights_at

if TYPE_CHECKING:
    from gradatim.rag.embed.question import QuestionEncoder


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker is made. `encoder_digest` is what the Run resolved; a worker with other files refuses to work."""

    settings: IndexSettings
    model: ModelAt
    encoder_digest: str
    threads: int | None = None


class Worker:
    """Does the work of one part after another."""

    def __init__(self, recipe: Recipe, place: Place, on_page: OnPage | None = None) -> None:
        """Remember what to load. `on_page` is told about every page before it is recognised; only a worker in this process can have it."""
        self._recipe = recipe
        self._place = place
        self._on_page = on_page
        self._ocr: Ocr | None = None
        self._weights: Weights | None = None
        self._encoder: QuestionEncoder | None = None
        self._tokenizer: HfTokenizer | None = None

    def read(self, file: FileContent) -> Read:
        """Parse one file."""
        return read_file(file, self._recipe.settings, self.ocr)

    def cut(self, rows: list[dict[str, Any]]) -> pa.Table:
        """Cut document rows into chunk rows."""
        if self._tokenizer is None:
            self._tokenizer = HfTokenizer(self.weights.transformer)
        semantic = self._recipe.settings.chunk.strategy is Strategy.SEMANTIC
        tools = CuttingTools(
            tokenizer=self._tokenizer,
            encoder=self._recipe.encoder_digest,
            embed=self.encoder.encode if semantic else None,
        )
        return cut_documents(rows, self._recipe.settings, tools)

    def embed(self, texts: list[str]) -> Vectors:
        """Return the vectors of texts, shape (texts, dimension), float32."""
        return self.encoder.encode(texts)

    def dimension(self, _: None) -> int:
        """Return the length of a vector."""
        return self.encoder.dimension

    @property
    def ocr(self) -> Ocr | None:
        """The engine that recognises pages, loaded at first use where the Run has one. Raises OcrUnavailable."""
        if self._ocr is None and self._recipe.settings.parse.ocr:
            engine = Engine(self._recipe.threads or self._place.threads)
            self._ocr = Ocr(engine, self._on_page) if self._on_page else Ocr(engine)
        return self._ocr

    @property
    def weights(self) -> Weights:
        """The encoder's files on this node, copied at first use. Raises EncoderError."""
        if self._weights is None:
            self._weights = weights_at(self._recipe.model, self._place)
        return self._weights

    @property
    def encoder(self) -> QuestionEncoder:
        """The encoder, opened at first use; torch is loaded for more than a few texts only.

        Raises EncoderError, or RagError where this machine has other weights.
        """
        if self._encoder is None:
            from gradatim.rag.embed import EmbedOptions, Precision
            from gradatim.rag.embed.question import QuestionEncoder

            embedding = self._recipe.settings.embedding
            options = EmbedOptions(
                batch_tokens=embedding.batch_tokens,
                normalize=embedding.normalize,
                query_prefix=embedding.prefix.query,
                document_prefix=embedding.prefix.document,
                precision=Precision(embedding.precision),
                threads=self._recipe.threads or self._place.threads,
            )
            found = QuestionEncoder(self.weights.folder, options)
            if "sha256:" + found.fingerprint != self._recipe.encoder_digest:
                raise RagError(f"{self.weights.folder} holds other weights than the Run resolved; request a new Run")
            self._encoder = found
        return self._encoder
