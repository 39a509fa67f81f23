"""Ranking metrics against pytrec_eval, the reference implementation, and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval

from gradatim.rag.metrics import MetricsError, evaluate, rank

CUTOFFS = (1, 3, 5, 10, 20)
ORACLE = {"precision": "P", "recall": "recall", "ndcg": "ndcg_cut", "map": "map_cut"}


def random_case(seed: int) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Graded judgements with negatives and a run with many ties, unjudged documents and queries nobody judged."""
    draw = np.random.default_rng(seed)
    qrels, run = {}, {}
    for query in range(30):
        documents = draw.choice(60, size=int(draw.integers(1, 25)), replace=False)
        qrels[f"q{query}"] = {f"d{document}": int(draw.integers(-1, 4)) for document in documents}
        found = draw.choice(80, size=int(draw.integers(1, 40)), replace=False)
        run[f"q{query}"] = {f"d{document}": float(draw.integers(0, 8)) / 8 for document in found}
    run["unjudged"] = {"d1": 1.0}
    return qrels, run


@pytest.mark.parametrize("seed", range(6))
def test_every_query_scores_as_in_trec_eval(seed: int) -> None:
    qrels, run = random_case(seed)
    report = evaluate(qrels, run, CUTOFFS)
    cuts = ",".join(str(cutoff) for cutoff in CUTOFFS)
    oracle = pytrec_eval.RelevanceEvaluator(qrels, {f"{name}.{cuts}" for name in ORACLE.values()}).evaluate(run)
    for cutoff in CUTOFFS:
        for name, theirs in ORACLE.items():
            expected = [oracle[query][f"{theirs}_{cutoff}"] for query in report.queries]
            assert report.values[f"{name}@{cutoff}"] == pytest.approx(expected, abs=1e-9), f"{name}@{cutoff}"
        top = {query: {item: run[query][item] for item in rank(run[query])[:cutoff]} for query in report.queries}
        found = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "success.1"}).evaluate(top)
        reciprocal = [found[query]["recip_rank"] for query in report.queries]
        assert report.values[f"mrr@{cutoff}"] == pytest.approx(reciprocal, abs=1e-9)
        assert report.values[f"hit@{cutoff}"].tolist() == [float(value > 0) for value in reciprocal]


def test_a_query_the_run_misses_counts_as_zero_in_the_mean() -> None:
    report = evaluate({"q1": {"a": 1}, "q2": {"b": 1}}, {"q1": {"a": 0.9}}, (1,))
    assert report.means() == {
        "precision@1": 0.5,
        "recall@1": 0.5,
        "ndcg@1": 0.5,
        "mrr@1": 0.5,
        "map@1": 0.5,
        "hit@1": 0.5,
    }
    assert report.missing == ("q2",)


def test_a_query_without_relevant_documents_is_left_out_and_named() -> None:
    report = evaluate({"q1": {"a": 1}, "q2": {"b": 0}, "q3": {}}, {"q1": {"a": 1.0}, "q2": {"b": 1.0}}, (1,))
    assert (report.queries, report.without_relevant, report.means()["recall@1"]) == (("q1",), ("q2", "q3"), 1.0)


def test_graded_gain_is_linear() -> None:
    report = evaluate({"q": {"a": 1, "b": 3}}, {"q": {"a": 2.0, "b": 1.0}}, (2,))
    assert report.values["ndcg@2"][0] == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_equal_scores_are_ordered_by_descending_id() -> None:
    assert rank({"a": 1.0, "c": 1.0, "b": 2.0}) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("qrels", "run", "cutoffs", "message"),
    [
        ({"q": {"a": 0}}, {}, (1,), "no query has a relevant document"),
        ({"q": {"a": 1}}, {}, (0,), "at least 1"),
        ({"q": {"a": 1}}, {}, (), "at least 1"),
        ({"q": {"a": 1}}, {"q": {"a": float("nan")}}, (1,), "not a number"),
    ],
    ids=["nothing relevant", "cutoff of nought", "no cutoff", "score that is no number"],
)
def test_what_cannot_be_scored_is_refused(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]], cutoffs: tuple[int, ...], message: str
) -> None:
    with pytest.raises(MetricsError, match=message):
        evaluate(qrels, run, cutoffs)
