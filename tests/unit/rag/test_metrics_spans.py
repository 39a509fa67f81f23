"""Span metrics against sets of characters, judgements from gold spans, and bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradatim.rag.metrics import (
    Interval,
    MetricsError,
    Span,
    SpanScores,
    interval,
    judge,
    merge,
    paired_difference,
    span_scores,
)

ONE = st.builds(
    lambda name, start, size: Span(name, start, start + size),
    st.sampled_from("ab"),
    st.integers(0, 30),
    st.integers(0, 12),
)
SPANS = st.lists(ONE, max_size=8)


def characters(spans: list[Span]) -> set[tuple[str, int]]:
    return {(span.document, position) for span in spans for position in range(span.start, span.end)}


@given(gold=SPANS, retrieved=SPANS)
def test_scores_equal_those_of_character_sets(gold: list[Span], retrieved: list[Span]) -> None:
    wanted, got = characters(gold), characters(retrieved)
    if not wanted:
        with pytest.raises(MetricsError, match="no gold span"):
            span_scores(gold, retrieved)
        return
    common = len(wanted & got)
    expected = SpanScores(common / len(wanted), common / len(got) if got else 0.0, common / len(wanted | got))
    assert span_scores(gold, retrieved) == pytest.approx(expected)


@given(spans=SPANS)
def test_merged_spans_hold_the_same_characters_once(spans: list[Span]) -> None:
    merged = merge(spans)
    assert characters(merged) == characters(spans)
    assert sum(span.end - span.start for span in merged) == len(characters(spans))


@pytest.mark.parametrize(
    ("gold", "relevant"),
    [
        ([Span("d", 10, 20)], {"inside": 1, "around": 1, "half": 1}),
        ([Span("d", 0, 100)], {"inside": 1, "around": 1, "half": 1, "touching": 1}),
        ([Span("e", 10, 20)], {"elsewhere": 1}),
        ([Span("d", 5, 5)], {}),
    ],
    ids=["a short passage", "a passage larger than the chunks", "another document", "an empty passage"],
)
def test_chunks_that_share_half_of_the_shorter_span_are_relevant(gold: list[Span], relevant: dict[str, int]) -> None:
    chunks = {
        "inside": Span("d", 12, 16), "around": Span("d", 0, 40), "half": Span("d", 15, 60), "touching": Span("d", 16, 60),
        "elsewhere": Span("e", 0, 40),
    }  # fmt: skip
    assert judge(chunks, gold) == relevant


def test_a_least_share_of_nought_is_refused() -> None:
    with pytest.raises(MetricsError, match="above 0"):
        judge({}, [], 0.0)


def test_the_interval_agrees_with_theory_and_repeats() -> None:
    scores = np.random.default_rng(1).normal(0.6, 0.2, 400)
    found = interval(scores)
    error = 1.96 * scores.std() / 20
    assert found.mean == pytest.approx(scores.mean())
    assert (found.low, found.high) == pytest.approx((scores.mean() - error, scores.mean() + error), abs=0.003)
    assert interval(scores) == found
    assert interval(scores, seed=1) != found


def test_equal_scores_have_no_spread() -> None:
    assert interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5)


def test_a_small_steady_gain_is_found_only_when_paired() -> None:
    base = np.random.default_rng(2).uniform(0, 1, 200)
    better = base + np.random.default_rng(3).normal(0.02, 0.02, 200)
    found = paired_difference(better, base)
    assert found.interval.low > 0
    assert found.p_value < 0.01
    assert interval(better).low < interval(base).high


def test_no_difference_is_no_evidence() -> None:
    same = np.linspace(0, 1, 50)
    assert paired_difference(same, same).p_value == 1.0


@pytest.mark.parametrize("scores", [[], [0.1, float("nan")], [[0.1]]], ids=["none", "not finite", "a table"])
def test_scores_that_make_no_interval_are_refused(scores: list[float]) -> None:
    with pytest.raises(MetricsError, match="at least one finite score"):
        interval(scores)


def test_scores_of_different_queries_are_not_paired() -> None:
    with pytest.raises(MetricsError, match="2 scores cannot be paired with 1"):
        paired_difference([0.1, 0.2], [0.1])
