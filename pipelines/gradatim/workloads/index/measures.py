"""Scores of each question and their means with intervals, under the names that gates use.

Called by the evaluation. `ndcg@k`, `recall@k`, `precision@k`, `hit_rate@k` for every k of the spec, `mrr` and `map` over the whole ranking, and
`span_recall@10`, `span_precision@10`, `span_iou@10` by characters. The formulas are those of `rag.metrics`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradatim.api.runstatus import Metrics, NamedMetric
from gradatim.rag.metrics import Span, evaluate, interval, span_scores
from gradatim.workloads.index.units import Unit

SPAN_DEPTH = 10
_NAMES = {"ndcg": "ndcg", "recall": "recall", "precision": "precision", "hit": "hit_rate"}


@dataclass(frozen=True, slots=True)
class Ranking:
    """What came back for a question, best first, and what should have."""

    question: str
    units: Sequence[Unit]
    relevant: frozenset[str]
    gold: Sequence[Span]


def depth(cutoffs: Sequence[int]) -> int:
    """Return how many results every question must ask for."""
    return max(*cutoffs, SPAN_DEPTH)


def measure(rankings: Sequence[Ranking], cutoffs: Sequence[int]) -> list[dict[str, float]]:
    """Return the scores of every question, in order. Every question has at least one relevant unit."""
    deepest = depth(cutoffs)
    # The order is the retriever's: scores are made from it, so that ties cannot be broken another way.
    run = {item.question: _scores(item.units) for item in rankings}
    qrels = {item.question: dict.fromkeys(item.relevant, 1) for item in rankings}
    report = evaluate(qrels, run, sorted({*cutoffs, deepest}))
    found: list[dict[str, float]] = []
    row = {question: position for position, question in enumerate(report.queries)}
    for item in rankings:
        position = row[item.question]
        values = {
            f"{name}@{k}": float(report.values[f"{metric}@{k}"][position])
            for k in cutoffs
            for metric, name in _NAMES.items()
        }
        values |= {name: float(report.values[f"{name}@{deepest}"][position]) for name in ("mrr", "map")}
        spans = span_scores(item.gold, [unit.span for unit in item.units[:SPAN_DEPTH]])
        values |= {f"span_{name}@{SPAN_DEPTH}": float(value) for name, value in spans._asdict().items()}
        found.append(values)
    return found


def _scores(units: Sequence[Unit]) -> dict[str, float]:
    return {unit.id: float(len(units) - position) for position, unit in enumerate(units)}


def summarise(scores: Sequence[Mapping[str, float]]) -> Metrics:
    """Return the mean of each metric with its 95 % bootstrap interval, by name."""
    found: list[NamedMetric] = []
    for name in sorted(scores[0]):
        at = interval([values[name] for values in scores])
        found.append(NamedMetric(name=name, value=at.mean, low=at.low, high=at.high, samples=len(scores)))
    return found
