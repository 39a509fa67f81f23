"""Precision, recall, nDCG, reciprocal rank, average precision and hit rate at k.

Definitions are trec_eval's: linear gain, binary relevance is a judgement above 0, average precision and recall divide by all relevant
documents, equal scores are ordered by descending id. Two points differ on purpose: a query that the run misses scores 0 instead of being
dropped, and a query without any relevant document is left out of the means, since every metric is undefined for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradatim.rag.model import RagError

Floats = NDArray[np.float64]
Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]

METRICS = ("precision", "recall", "ndcg", "mrr", "map", "hit")


class MetricsError(RagError):
    """Judgements or rankings that cannot be scored."""


@dataclass(frozen=True, slots=True)
class RankingReport:
    """`values[name]` holds one score per entry of `queries`. `without_relevant` and `missing` name queries left out or not answered."""

    queries: tuple[str, ...]
    values: Mapping[str, Floats]
    without_relevant: tuple[str, ...]
    missing: tuple[str, ...]

    def means(self) -> dict[str, float]:
        """Mean of each metric over `queries`."""
        return {name: float(values.mean()) for name, values in self.values.items()}


def names(cutoffs: Sequence[int]) -> list[str]:
    """Metric names such as `ndcg@10`, for every cutoff."""
    return [f"{metric}@{cutoff}" for cutoff in cutoffs for metric in METRICS]


def rank(scores: Mapping[str, float]) -> list[str]:
    """Ids by descending score; equal scores by descending id, as trec_eval does. Raises MetricsError for a score that is no number."""
    if any(score != score for score in scores.values()):  # noqa: PLR0124 - only NaN differs from itself
        raise MetricsError("a score is not a number; check the retriever")
    return sorted(sorted(scores, reverse=True), key=lambda item: -scores[item])


def evaluate(qrels: Qrels, run: Run, cutoffs: Sequence[int] = (1, 5, 10)) -> RankingReport:
    """Score a run against judgements. Raises MetricsError if no query has a relevant document or a cutoff is below 1."""
    if not cutoffs or min(cutoffs) < 1:
        raise MetricsError(f"cutoffs are {list(cutoffs)}; use numbers of at least 1")
    judged = tuple(query for query, documents in qrels.items() if any(grade > 0 for grade in documents.values()))
    if not judged:
        raise MetricsError("no query has a relevant document; check that the gold passages match the indexed documents")
    deepest = max(cutoffs)
    gains, ideal = np.zeros((len(judged), deepest)), np.zeros((len(judged), deepest))
    relevant = np.zeros(len(judged))
    for row, query in enumerate(judged):
        grades = qrels[query]
        found = [max(0, grades.get(item, 0)) for item in rank(run.get(query, {}))[:deepest]]
        gains[row, : len(found)] = found
        best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        relevant[row] = len(best)
        ideal[row, : min(len(best), deepest)] = best[:deepest]
    values: dict[str, Floats] = {}
    for cutoff in cutoffs:
        for metric, scores in _at(gains[:, :cutoff], ideal[:, :cutoff], relevant).items():
            values[f"{metric}@{cutoff}"] = scores
    return RankingReport(
        queries=judged,
        values=values,
        without_relevant=tuple(query for query in qrels if query not in set(judged)),
        missing=tuple(query for query in judged if not run.get(query)),
    )


def _at(gains: Floats, ideal: Floats, relevant: Floats) -> dict[str, Floats]:
    """All metrics from gains [queries, k] in rank order, ideal gains [queries, k] and the number of relevant documents [queries]."""
    ranks = np.arange(1, gains.shape[1] + 1)
    hits = (gains > 0).astype(np.float64)
    found = hits.cumsum(axis=1)
    discount = 1.0 / np.log2(ranks + 1)
    return {
        "precision": found[:, -1] / ranks[-1],
        "recall": found[:, -1] / relevant,
        "ndcg": (gains @ discount) / (ideal @ discount),
        "mrr": (hits / ranks).max(axis=1),
        "map": (hits * found / ranks).sum(axis=1) / relevant,
        "hit": (found[:, -1] > 0).astype(np.float64),
    }
