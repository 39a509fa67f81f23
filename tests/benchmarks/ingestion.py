"""Ingestion: chunks per CPU-second from texts to vectors, against LlamaIndex and Haystack.

Same texts, same MiniLM weights, same chunk size, one thread on one core; every measurement is a fresh process and the systems take turns, so
that whatever disturbs the machine disturbs all of them. CPU seconds leave imports and loading out (both are reported). Because splitters cut
differently, tokens and source characters per CPU-second are given too, and nDCG@10 of each system's chunks by the same exact search.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks import corpora
from tests.benchmarks.ingestion_systems import SYSTEMS, folder_of_weights, tokenize
from tests.benchmarks.options import ROOT, data_folder, parser_of
from tests.benchmarks.quality import difference, exact_search, means, relevant_chunks, scores_of
from tests.benchmarks.report import environment, finish, medians, say

from gradatim.rag.chunk import ChunkOptions, HfTokenizer, chunk_document
from gradatim.rag.metrics import Span
from gradatim.rag.model import Document

NAME = "ingestion"
DOCUMENT_CHARS = 4000
MEASURED = ("cpu_s", "wall_s", "import_and_load_cpu_s", "peak_rss_mb")
RATES = ("chunks_per_cpu_s", "tokens_per_cpu_s", "source_chars_per_cpu_s")
TOKENS, OVERLAP = 254, 32  # MiniLM reads 256 tokens, two of them its own: a longer chunk would be cut by every system


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all systems, `options.repeats` times each."""
    start = environment()
    whole = corpora.head(corpora.load(data_folder(options)), 4000 if options.quick else options.chars)
    texts = corpora.cut(whole, DOCUMENT_CHARS)
    words = words_per_chunk(texts, options.words)
    sizes = {"tokens": TOKENS, "overlap": OVERLAP, "words": words, "word_overlap": round(words * OVERLAP / TOKENS)}
    repeats = 1 if options.quick else options.repeats
    names = options.systems.split(",")
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="gradatim-bench-") as folder:
        given = Path(folder, "input.json")
        given.write_text(
            json.dumps(
                {
                    "sizes": sizes,
                    "documents": [[d.name, d.text] for d in texts.documents],
                    "questions": [q.text for q in texts.questions],
                }
            ),
            encoding="utf-8",
        )
        for name in islice(cycle(names), repeats * len(names)):
            samples[name].append(measure(name, given, Path(folder, f"{name}.npz")))
            say(f"{name}: {samples[name][-1]}")
        chunks = {name: describe(Path(folder, f"{name}.npz"), texts) for name in names}
    systems = {name: combined(samples[name], chunks[name], texts) for name in names}
    return {
        **start,
        "settings": {
            **sizes,
            "documents": len(texts.documents),
            "source_chars": sum(len(d.text) for d in texts.documents),
            "questions": len(texts.questions),
            "repeats": repeats,
            "threads": 1,
        },
        "samples": samples,
        "systems": systems,
        "ratios": {rate: ratios(systems, rate) for rate in RATES},
        "ndcg@10_ours_minus_peer": {
            f"{ours} - {peer}": difference(chunks[ours]["scores"], chunks[peer]["scores"])
            for ours, peer in pairs(names)
        },
        "embeddings_agree": agreement({name: chunks[name]["question_vectors"] for name in names}),
    }


def words_per_chunk(texts: corpora.Collection, given: int | None) -> int:
    """Words per Haystack chunk: the size at which it makes as many chunks of these texts as our chunker does."""
    if given:
        return given
    tokenizer = HfTokenizer(folder_of_weights())
    options = ChunkOptions(max_tokens=TOKENS, overlap_tokens=OVERLAP)
    wanted = sum(
        len(chunk_document(Document(d.name, "", d.name, d.text), options, tokenizer).chunks) for d in texts.documents
    )
    words = [d.text.count(" ") + 1 for d in texts.documents]

    def difference(size: int) -> int:
        step = size - round(size * OVERLAP / TOKENS)
        return abs(wanted - sum(1 + max(0, math.ceil((count - size) / step)) for count in words))

    return min(range(40, TOKENS), key=difference)


def measure(name: str, given: Path, output: Path) -> dict[str, Any]:
    """Run one system in a fresh process."""
    argv = [sys.executable, "-m", "tests.benchmarks.ingestion_child", name, str(given), str(output)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def describe(output: Path, texts: corpora.Collection) -> dict[str, Any]:
    """Read a system's chunks: sizes, and how well the questions find them."""
    documents, pieces = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    arrays = np.load(output)
    spans, lost = locate(documents, pieces, {d.name: d.text for d in texts.documents})
    count = tokenize()
    tokens = [len(count(piece)) for piece in pieces]
    rankings = exact_search(arrays["questions"], arrays["vectors"], 10)
    found = [[spans[position] for position in ranking] for ranking in rankings]
    scores = scores_of(found, texts, relevant_chunks(spans, texts))
    return {
        "tokens": [min(t, TOKENS) for t in tokens],
        "mean_tokens": float(np.mean(tokens)),
        "truncated": sum(t > TOKENS for t in tokens),
        "not_located": lost,
        "scores": scores,
        "question_vectors": arrays["questions"],
    }


def locate(documents: list[str], pieces: list[str], texts: dict[str, str]) -> tuple[list[Span], int]:
    """Find every chunk in its document, each at or after the start of the one before; also counts those not found."""
    spans: list[Span] = []
    lost, name, start = 0, "", 0
    for document, piece in zip(documents, pieces, strict=True):
        start = start if document == name else 0
        name, text = document, piece.strip()
        position = texts[document].find(text, start)
        if position < 0:
            lost += 1
            spans.append(Span(document, -1, -1))
            continue
        spans.append(Span(document, position, position + len(text)))
        start = position + 1
    return spans, lost


def combined(samples: list[dict[str, Any]], chunks: dict[str, Any], texts: corpora.Collection) -> dict[str, Any]:
    """Return medians, rates and quality of one system."""
    middle = medians(samples, MEASURED)
    number = len(chunks["tokens"])
    return {
        "chunks": number,
        "mean_tokens": round(chunks["mean_tokens"], 1),
        "truncated_chunks": chunks["truncated"],
        "chunks_not_located": chunks["not_located"],
        **{key: round(value, 3) for key, value in middle.items()},
        "chunks_per_cpu_s": round(number / middle["cpu_s"], 2),
        "tokens_per_cpu_s": round(sum(chunks["tokens"]) / middle["cpu_s"], 1),
        "source_chars_per_cpu_s": round(sum(len(d.text) for d in texts.documents) / middle["cpu_s"], 1),
        **means(chunks["scores"]),
    }


def pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return every one of our systems with every peer."""
    known = list(names)
    ours = [name for name in known if name.startswith("gradatim")]
    return [(o, p) for o in ours for p in known if p not in ours]


def ratios(systems: dict[str, dict[str, Any]], rate: str) -> dict[str, float]:
    """Return ours over each peer's, at both precisions."""
    return {f"{o} / {p}": round(systems[o][rate] / systems[p][rate], 2) for o, p in pairs(systems)}


def agreement(vectors: dict[str, Any]) -> dict[str, float]:
    """Return the least cosine between any question's vector of each system and of the first."""
    first = next(iter(vectors.values()))
    return {
        name: float(np.min(np.sum(unit(found) * unit(first), axis=1), initial=1.0)) for name, found in vectors.items()
    }


def unit(vectors: Any) -> Any:
    """Return vectors of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Parse, measure, write."""
    parser = parser_of(NAME, __doc__)
    parser.add_argument("--chars", type=int, default=60_000, help="characters taken of each corpus")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="which systems, separated by commas")
    parser.add_argument("--words", type=int, default=None, help="words per Haystack chunk; default: for equal chunks")
    options = parser.parse_args()
    finish(NAME, options, run(options))


if __name__ == "__main__":
    main()
