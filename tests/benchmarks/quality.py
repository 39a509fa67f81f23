"""Judges ranked chunks by gold passages exactly as the evaluation of an index does, and searches exactly by cosine.

All systems under comparison are judged here, by their chunks' places in the documents; nothing but the product's own relevance rule and
metrics is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tests.benchmarks.corpora import Collection

from gradatim.rag.metrics import Span, paired_difference
from gradatim.workloads.index.measures import Ranking, measure, summarise
from gradatim.workloads.index.questions import LocatedQuestion, Question
from gradatim.workloads.index.units import Unit, relevant_units

K = 10
SHOWN = ("ndcg@10", "recall@10", "span_iou@10", "span_recall@10", "span_precision@10", "mrr")
Vectors = npt.NDArray[np.float32]
Scores = list[dict[str, float]]


def exact_search(questions: Vectors, vectors: Vectors, k: int) -> list[list[int]]:
    """Return the positions of the k nearest vectors by cosine for each question, best first; ties in order of position."""

    def unit(rows: Vectors) -> Vectors:
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    scores = unit(questions) @ unit(vectors).T
    found: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
    return found


def relevant_chunks(chunks: Sequence[Span], texts: Collection) -> list[frozenset[str]]:
    """Return the names of the relevant chunks of each question, by the product's rule."""
    units: dict[str, list[Unit]] = {}
    for chunk in dict.fromkeys(chunks):
        units.setdefault(chunk.document, []).append(Unit(name_of(chunk), chunk))
    return [
        relevant_units(LocatedQuestion(Question(str(number), question.text, (), ""), question.gold), units)
        for number, question in enumerate(texts.questions)
    ]


def scores_of(found: Sequence[Sequence[Span]], texts: Collection, relevant: Sequence[frozenset[str]]) -> Scores:
    """Return the scores of each question from its first ten results, best first."""
    rankings = [
        Ranking(str(number), [Unit(name_of(span), span) for span in spans[:K]], wanted, question.gold)
        for number, (spans, wanted, question) in enumerate(zip(found, relevant, texts.questions, strict=True))
    ]
    return measure(rankings, [K])


def means(scores: Scores) -> dict[str, float]:
    """Return the mean of each metric, and of nDCG its 95 % interval."""
    found = {metric.name: metric for metric in summarise(scores)}
    ndcg = found["ndcg@10"]
    return {
        **{name: round(found[name].value, 4) for name in SHOWN},
        "ndcg@10_low": round(ndcg.low or 0.0, 4),
        "ndcg@10_high": round(ndcg.high or 0.0, 4),
    }


def difference(first: Scores, second: Scores, name: str = "ndcg@10") -> dict[str, float]:
    """Return the mean difference of two systems on the same questions, its 95 % interval and p-value."""
    found = paired_difference([row[name] for row in first], [row[name] for row in second])
    at = found.interval
    return {
        "mean": round(at.mean, 4),
        "low": round(at.low, 4),
        "high": round(at.high, 4),
        "p_value": round(found.p_value, 4),
    }


def name_of(span: Span) -> str:
    """Return the name of a chunk in judgements."""
    return f"{span.document}:{span.start}:{span.end}"
