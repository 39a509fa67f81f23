"""Query time: p50 and p95 of hybrid search, alone and with reranking, over 100,000 chunks in a real Weaviate, one client.

The corpora give about 1,700 chunks; the rest are copies of them in which words are replaced and vectors are moved, so that all objects differ.
Retrieval quality is therefore meaningless here, only time is measured. The cross-encoder has the layers of MiniLM and an untrained head: it
costs what a trained one of its shape costs. Each question also goes to Weaviate's client alone, so that our own share can be told apart.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from tests.benchmarks import corpora
from tests.benchmarks.chunk_index import Vectors, chunks_of, load, load_embedder, row_of
from tests.benchmarks.cross_encoder import make
from tests.benchmarks.options import data_folder, parser_of
from tests.benchmarks.report import environment, finish, percentile, say
from tests.benchmarks.servers import weaviate
from weaviate.classes.query import HybridFusion, MetadataQuery

from gradatim.api.common import ModelRef
from gradatim.api.ragindex import Rerank
from gradatim.rag.chunk import Strategy
from gradatim.rag.model import Chunk, chunk_id
from gradatim.rag.retrieve.models import Models, QueryEncoder, Reranker
from gradatim.rag.retrieve.retriever import Query, Retriever
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.rag.store import names as s
from gradatim.rag.store.connection import connected
from gradatim.rag.store.manifest import EncoderInfo
from gradatim.rag.store.rows import IndexRow

NAME = "query"
COLLECTION = "Query"
REPLACED_WORDS = 0.15
MOVED = 0.75  # length of the random step from a vector of length 1: the cosine to its origin is 0.8
WARM_UP = 20
PROPERTIES = [
    s.TEXT, s.DOCUMENT, s.SOURCE, s.URI, s.INDEX, s.START, s.END, s.PAGE, s.ROW, s.HEADINGS, s.PARENT, s.PARENT_CARRIER,
    s.PARENT_START, s.PARENT_END,
]  # fmt: skip


@dataclass(slots=True)
class Clock:
    """Milliseconds spent in the models since the last reset, and the last question's vector."""

    encode: float = 0.0
    rerank: float = 0.0
    vector: list[float] = field(default_factory=list)

    def reset(self) -> None:
        """Start a new question."""
        self.encode = self.rerank = 0.0


@dataclass(slots=True)
class TimedEncoder:
    """The real encoder with a clock around it."""

    inner: QueryEncoder
    clock: Clock

    @property
    def digest(self) -> str:
        """As the real one."""
        return self.inner.digest

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode and book the time."""
        start = time.perf_counter()
        vectors = self.inner.encode_queries(texts)
        self.clock.encode += (time.perf_counter() - start) * 1000
        self.clock.vector = vectors[0].tolist()
        return vectors


@dataclass(slots=True)
class TimedReranker:
    """The real reranker with a clock around it."""

    inner: Reranker
    clock: Clock

    def score(self, question: str, passages: Sequence[str]) -> list[float]:
        """Score and book the time."""
        start = time.perf_counter()
        scores = self.inner.score(question, passages)
        self.clock.rerank += (time.perf_counter() - start) * 1000
        return scores


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Load the objects once, then ask all questions in every configuration."""
    start = environment()
    whole = corpora.load(data_folder(options))
    texts = corpora.head(whole, 6000) if options.quick else whole
    wanted, queries = (500, 5) if options.quick else (options.objects, options.queries)
    questions = random.Random(0).sample([q.text for q in whole.questions], WARM_UP + queries)
    with weaviate() as server:
        embedder = load_embedder(server.folder)
        chunks = chunks_of(texts, Strategy.RECURSIVE, embedder)
        vectors = embedder.encoder.encode([chunk.text for chunk in chunks])
        clock = Clock()
        shelf = ModelShelf(server.folder / "models")
        models = timed_models(shelf, clock)
        found: dict[str, Any] = {}
        with connected(server.address) as client:
            began, cpu = time.perf_counter(), server.cpu_seconds()
            count = load(client, COLLECTION, many(chunks, vectors, wanted), embedder)
            loading = {
                "objects": count,
                "wall_s": round(time.perf_counter() - began, 1),
                "weaviate_cpu_s": round(server.cpu_seconds() - cpu, 1),
            }
            say(f"loaded {loading}")
            retriever = Retriever(client, COLLECTION, models, max_age=1e9)
            bench = Bench(retriever, client.collections.use(COLLECTION), clock, embedder.encoder.dimension)
            found["hybrid"] = bench.measure(questions, {}, options.candidates)
            for layers in map(int, options.rerank_layers.split(",")):
                folder = server.folder / f"cross-encoder-{layers}"
                make(embedder.folder, folder, layers)
                rerank = Rerank(model=ModelRef(uri=f"file://{folder}"), top_n=8)
                name = f"hybrid+rerank, {layers} layers"
                found[name] = bench.measure(questions, {"rerank": rerank}, options.candidates)
                say(f"{name}: {found[name]}")
    return {
        **start,
        "settings": {
            "objects": count,
            "distinct_source_chunks": len(chunks),
            "copies": f"each word replaced with probability {REPLACED_WORDS}, vector moved to cosine 0.8",
            "queries": queries,
            "warm_up": WARM_UP,
            "top_k": 8,
            "rerank_candidates": options.candidates,
            "clients": 1,
            "torch_threads": torch.get_num_threads(),
            "encoder_precision": embedder.encoder.precision.value,
        },
        "load": loading,
        "configurations": found,
    }


def timed_models(shelf: ModelShelf, clock: Clock) -> Models:
    """Return the shelf's models with clocks around them."""

    def encoder(info: EncoderInfo) -> QueryEncoder:
        return TimedEncoder(shelf.encoder(info), clock)

    def reranker(uri: str) -> Reranker:
        return TimedReranker(shelf.reranker(uri), clock)

    return Models(encoder=encoder, reranker=reranker)


def many(chunks: list[Chunk], vectors: Vectors, wanted: int) -> Iterator[tuple[IndexRow, Vectors]]:
    """Yield `wanted` distinct objects: the chunks themselves, then changed copies of them."""
    generator, noise = random.Random(0), np.random.default_rng(0)
    vocabulary = [word for chunk in chunks for word in chunk.text.split()]
    for number in range(wanted):
        copy, position = divmod(number, len(chunks))
        row, vector = row_of(chunks[position]), vectors[position]
        if copy:
            words = (
                generator.choice(vocabulary) if generator.random() < REPLACED_WORDS else word
                for word in row.text.split()
            )
            text = " ".join(words)
            name = f"copy-{copy}/{row.document_id}"
            row = replace(
                row, id=chunk_id(name, str(copy), (row.start, row.end), text), document_id=name, uri=name, text=text
            )
            step = noise.standard_normal(len(vector)).astype(np.float32)
            vector = vector + MOVED * step / np.linalg.norm(step)
            vector = vector / np.linalg.norm(vector)
        yield row, vector


class Bench:
    """Asks questions and takes times."""

    def __init__(self, retriever: Retriever, handle: Any, clock: Clock, dimension: int) -> None:
        self.retriever, self.handle, self.clock, self.dimension = retriever, handle, clock, dimension

    def measure(self, questions: list[str], overrides: dict[str, object], candidates: int) -> dict[str, Any]:
        """Return percentiles in milliseconds, by stage, and the share that is neither a model's nor Weaviate's."""
        rows: list[dict[str, float]] = []
        chosen = {**overrides, "candidates": candidates, "ordering": "score"}
        limit = candidates if overrides else 8
        for number, question in enumerate(questions):
            self.clock.reset()
            start = time.perf_counter()
            hits = self.retriever.answer(Query(question, 8, overrides=chosen)).hits
            total = (time.perf_counter() - start) * 1000
            encode, rerank = self.clock.encode, self.clock.rerank
            if len(hits) != 8:
                raise RuntimeError(f"{len(hits)} hits for {question!r}")
            start = time.perf_counter()
            self.alone(question, limit)
            alone = (time.perf_counter() - start) * 1000
            explained = self.retriever.answer(Query(question, 8, explain=True, overrides=chosen)).timings
            if number >= WARM_UP:
                rows.append(
                    {
                        "total": total,
                        "encode": encode,
                        "rerank": rerank,
                        "weaviate_client": alone,
                        "rest": total - encode - rerank,
                        "explained_own": explained["own"],
                    }
                )
        return summarise(rows)

    def alone(self, question: str, limit: int) -> None:
        """Send the same request through Weaviate's client, without any of our code."""
        self.handle.query.hybrid(
            query=question,
            vector=self.clock.vector,
            target_vector=self.retriever.manifest.vector_name,
            alpha=0.5,
            fusion_type=HybridFusion.RELATIVE_SCORE,
            query_properties=[s.TEXT],
            limit=limit,
            return_properties=PROPERTIES,
            return_metadata=MetadataQuery(score=True),
        )


def summarise(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return percentiles of each part, and our share: what is left of the total after models and Weaviate's client."""
    middle = {key: percentile([row[key] for row in rows], 0.5) for key in rows[0]}
    own = max(0.0, middle["rest"] - middle["weaviate_client"])
    return {
        "p50_ms": round(middle["total"], 2),
        "p95_ms": round(percentile([row["total"] for row in rows], 0.95), 2),
        "median_ms": {key: round(value, 3) for key, value in middle.items()},
        "p95_by_part_ms": {key: round(percentile([row[key] for row in rows], 0.95), 3) for key in rows[0]},
        "own_ms": round(own, 3),
        "own_share": round(own / middle["total"], 4),
        "own_share_by_stopwatch": round(middle["explained_own"] / middle["total"], 4),
        "share_encoder": round(middle["encode"] / middle["total"], 4),
        "share_weaviate": round(middle["weaviate_client"] / middle["total"], 4),
        "share_rerank": round(middle["rerank"] / middle["total"], 4),
        "samples": len(rows),
    }


def main() -> None:
    """Parse, measure, write."""
    parser = parser_of(NAME, __doc__)
    parser.add_argument("--objects", type=int, default=100_000, help="chunks in the collection")
    parser.add_argument("--queries", type=int, default=200, help="questions after the warm-up")
    parser.add_argument("--candidates", type=int, default=20, help="results that the cross-encoder orders")
    parser.add_argument("--rerank-layers", default="2,6", help="layers of the cross-encoders to try, by commas")
    options = parser.parse_args()
    finish(NAME, options, run(options))


if __name__ == "__main__":
    main()
