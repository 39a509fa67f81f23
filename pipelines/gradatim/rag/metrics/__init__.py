"""Retrieval metrics, span metrics and confidence intervals, in numpy only.

The index workload scores an index with them before promotion, the benchmarks compare peers. No model and no store is needed: rankings and
judgements are plain mappings.
"""

from gradatim.rag.metrics.bootstrap import Difference, Interval, interval, paired_difference
from gradatim.rag.metrics.ranking import MetricsError, RankingReport, evaluate, names, rank
from gradatim.rag.metrics.spans import Span, SpanScores, judge, merge, span_scores

__all__ = [
    "Difference", "Interval", "MetricsError", "RankingReport", "Span", "SpanScores", "evaluate", "interval", "judge", "merge", "names",
    "paired_difference", "rank", "span_scores",
]  # fmt: skip
