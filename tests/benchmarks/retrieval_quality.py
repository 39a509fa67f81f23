"""Retrieval quality: five chunkers by four ways to search, on all 472 questions of chunking-evaluation in a real Weaviate.

Every cell goes through the product's chunker, encoder, writer and retriever, with the retriever's defaults (alpha 0.5, relative score fusion) and
ten results. Reranking is off by default and no cross-encoder weights come with a package: one is trained here on every other question and judged
on the rest, next to the same questions without it. Both halves ask about the same texts, so its effect holds for that model only.
"""

from __future__ import annotations

import argparse
import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks import corpora
from tests.benchmarks.chunk_index import OVERLAP, TOKENS, Embedder, chunks_of, load_embedder, loaded, row_of, span_of
from tests.benchmarks.cross_encoder import Pair, Training, train
from tests.benchmarks.options import data_folder, parser_of
from tests.benchmarks.quality import K, Scores, difference, means, name_of, relevant_chunks, scores_of
from tests.benchmarks.report import environment, finish, say
from tests.benchmarks.servers import Server, weaviate

from gradatim.api.common import ModelRef
from gradatim.api.ragindex import Rerank
from gradatim.rag.chunk import Strategy
from gradatim.rag.metrics import Span
from gradatim.rag.model import Chunk
from gradatim.rag.retrieve.retriever import Query, Retriever
from gradatim.rag.retrieve.shelf import ModelShelf

NAME = "retrieval_quality"
MODES = ("keyword", "vector", "hybrid")
HARD, EASY = 4, 1  # unanswering chunks per question to train on: from the first results, and from anywhere


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fill the table: all searches first, then reranking; what is there already is written in between."""
    start = environment()
    whole = corpora.load(data_folder(options))
    texts = corpora.head(whole, 15_000) if options.quick else whole
    found: dict[str, Any] = {}
    with weaviate() as server, ExitStack() as stack:
        embedder = load_embedder(server.folder)
        bench = Bench(server, embedder, options)
        found = start | {
            "settings": {
                "questions": len(texts.questions),
                "documents": len(texts.documents),
                "chunk_tokens": TOKENS,
                "overlap_tokens": OVERLAP,
                "results": K,
                "relevance": "a chunk shares at least half of the shorter of itself and a gold passage",
                "rerank_candidates": options.candidates,
                "encoder_precision": embedder.encoder.precision.value,
            },
            "cross_encoder": {},
            "chunkers": {},
        }
        loads = {name: Loaded.make(Strategy(name), texts, bench, stack) for name in options.chunkers.split(",")}
        for name, loaded_chunks in loads.items():
            found["chunkers"][name] = row(loaded_chunks, texts)
            say(f"{name}: {found['chunkers'][name]}")
        if options.rerank:
            finish(NAME, options, found)
            found["cross_encoder"] = train_reranker(loads.get("recursive") or next(iter(loads.values())), texts, bench)
            for name, loaded_chunks in loads.items():
                found["chunkers"][name]["held_out_half"] = held_out(loaded_chunks, texts, bench)
                say(f"{name}: {found['chunkers'][name]['held_out_half']}")
    return found


class Bench:
    """What every row needs."""

    def __init__(self, server: Server, embedder: Embedder, options: argparse.Namespace) -> None:
        self.server, self.embedder, self.options = server, embedder, options
        self.models = ModelShelf(server.folder / "models").models()

    @property
    def reranker(self) -> Path:
        """Where the trained cross-encoder lies."""
        return self.server.folder / "cross-encoder"


@dataclass(slots=True)
class Loaded:
    """One chunker's chunks in their collection. `hybrid` keeps the scores that reranking is compared with."""

    chunks: list[Chunk]
    relevant: list[frozenset[str]]
    retriever: Retriever
    hybrid: Scores = field(default_factory=list)

    @classmethod
    def make(cls, strategy: Strategy, texts: corpora.Collection, bench: Bench, stack: ExitStack) -> Loaded:
        """Cut, embed and load; the collection lives as long as `stack`."""
        chunks = chunks_of(texts, strategy, bench.embedder)
        vectors = bench.embedder.encoder.encode([chunk.text for chunk in chunks])
        rows = zip(map(row_of, chunks), vectors, strict=True)
        opened = loaded(bench.server, f"Quality_{strategy.value}", rows, bench.embedder, bench.models)
        say(f"{strategy.value}: {len(chunks)} chunks")
        return cls(chunks, relevant_chunks([span_of(chunk) for chunk in chunks], texts), stack.enter_context(opened))


def row(one: Loaded, texts: corpora.Collection) -> dict[str, Any]:
    """Measure one chunker with every search."""
    scores = {mode: scores_of(ask(one.retriever, texts, mode), texts, one.relevant) for mode in MODES}
    one.hybrid = scores["hybrid"]
    return {
        "chunks": len(one.chunks),
        "mean_tokens": round(float(np.mean([chunk.tokens for chunk in one.chunks])), 1),
        **{mode: means(scores[mode]) for mode in MODES},
        "hybrid_minus_best_leg_ndcg@10": difference(scores["hybrid"], best_leg(scores)),
    }


def best_leg(scores: dict[str, Scores]) -> Scores:
    """Return the better of keyword and vector search by mean nDCG."""
    return max((scores["keyword"], scores["vector"]), key=lambda rows: sum(item["ndcg@10"] for item in rows))


def ask(retriever: Retriever, texts: corpora.Collection, mode: str, **overrides: object) -> list[list[Span]]:
    """Ask all questions; returns the places of the results, best first."""
    chosen = {"mode": mode, "ordering": "score", **overrides}
    found: list[list[Span]] = []
    for question in texts.questions:
        hits = retriever.answer(Query(question.text, K, overrides=chosen)).hits
        found.append([Span(hit.document_id, hit.citation.start, hit.citation.end) for hit in hits])
    return found


def held_out(one: Loaded, texts: corpora.Collection, bench: Bench) -> dict[str, Any]:
    """Judge hybrid search with and without reranking on the questions that nothing was trained on."""
    rest = corpora.Collection(texts.documents, texts.questions[1::2])
    rerank = Rerank(model=ModelRef(uri=f"file://{bench.reranker}"), top_n=K)
    ranked = ask(one.retriever, rest, "hybrid", rerank=rerank, candidates=bench.options.candidates)
    scores = scores_of(ranked, rest, one.relevant[1::2])
    return {
        "questions": len(rest.questions),
        "hybrid": means(one.hybrid[1::2]),
        "hybrid+rerank": means(scores),
        "rerank_minus_off_ndcg@10": difference(scores, one.hybrid[1::2]),
    }


def train_reranker(one: Loaded, texts: corpora.Collection, bench: Bench) -> dict[str, Any]:
    """Train on every other question: its relevant chunks against first results that are not, and some from anywhere."""
    half = corpora.Collection(texts.documents, texts.questions[::2])
    by_name = {name_of(span_of(chunk)): chunk.text for chunk in one.chunks}
    generator = random.Random(0)
    pairs: list[Pair] = []
    found = ask(one.retriever, half, "hybrid", candidates=50)
    for question, spans, wanted in zip(half.questions, found, one.relevant[::2], strict=True):
        hard = [name_of(span) for span in spans if name_of(span) not in wanted][:HARD]
        easy = [name for name in generator.sample(sorted(by_name), EASY) if name not in wanted]
        pairs += [Pair(question.text, by_name[name], relevant=True) for name in sorted(wanted)]
        pairs += [Pair(question.text, by_name[name], relevant=False) for name in hard + easy]
    settings = Training(bench.options.layers, 1 if bench.options.quick else bench.options.epochs)
    losses = train(bench.embedder.folder, bench.reranker, pairs, settings)
    return {
        "layers": settings.layers,
        "epochs": settings.epochs,
        "start": "the first layers of MiniLM, a new head",
        "pairs": len(pairs),
        "relevant_pairs": sum(pair.relevant for pair in pairs),
        "questions": len(half.questions),
        "losses": losses,
    }


def main() -> None:
    """Parse, measure, write."""
    parser = parser_of(NAME, __doc__)
    parser.add_argument("--chunkers", default=",".join(item.value for item in Strategy), help="which, by commas")
    parser.add_argument("--candidates", type=int, default=20, help="results that the cross-encoder orders")
    parser.add_argument("--layers", type=int, default=2, help="layers of the cross-encoder")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of its training")
    parser.add_argument("--no-rerank", dest="rerank", action="store_false", help="leave reranking out")
    options = parser.parse_args()
    finish(NAME, options, run(options))


if __name__ == "__main__":
    main()
