"""The stages after the store, each by itself: diversity, recency, parents, order, scores and the plan of a query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from gradatim.api.ragindex import Diversity, Retrieval
from gradatim.rag.retrieve.candidates import Candidate, Citation, ranked, similarity
from gradatim.rag.retrieve.diversity import mmr_order, scale
from gradatim.rag.retrieve.order import edges
from gradatim.rag.retrieve.parents import best_of_each_parent, missing_carriers, window
from gradatim.rag.retrieve.plan import QueryError, check_question, fetch_limit, plan_query
from gradatim.rag.retrieve.recency import decay
from gradatim.rag.retrieve.search import explained
from gradatim.rag.store.rows import IndexRow, ParentSpan

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(name: str, start: int = 0, parent: ParentSpan | None = None) -> IndexRow:
    return IndexRow(name, "doc", "src", "a.md", 0, start, start + 10, f"text of {name}", parent=parent)


def candidate(name: str, score: float, parent: ParentSpan | None = None) -> Candidate:
    return Candidate(row(name, parent=parent), score)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        pytest.param(1.0, [0, 1, 2], id="relevance alone keeps the order of scores"),
        pytest.param(0.5, [0, 2, 1], id="a copy of the best gives way to something new"),
        pytest.param(0.0, [0, 2, 1], id="diversity alone still begins with the first"),
    ],
)
def test_mmr_prefers_what_is_not_said_yet(weight: float, expected: list[int]) -> None:
    vectors = np.array([[2, 0], [4, 0], [0, 1]], dtype=np.float32)
    assert mmr_order([0.9, 0.8, 0.5], vectors, weight, 3) == expected


def test_mmr_stops_at_the_count_and_survives_zero_vectors() -> None:
    assert mmr_order([0.1, 0.2], np.zeros((2, 3), dtype=np.float32), 0.7, 1) == [1]
    assert mmr_order([], np.zeros((0, 3), dtype=np.float32), 0.7, 5) == []


def test_scores_are_scaled_to_their_range_and_equal_ones_to_one() -> None:
    assert scale([2.0, 4.0, 3.0]).tolist() == [0.0, 1.0, 0.5]
    assert scale([7.0, 7.0]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        pytest.param(NOW, 1.0, id="today counts whole"),
        pytest.param(NOW - timedelta(days=10), 0.5, id="one half-life counts half"),
        pytest.param(NOW - timedelta(days=30), 0.125, id="three half-lives count an eighth"),
        pytest.param(NOW + timedelta(days=400), 1.0, id="the future counts as today"),
        pytest.param(None, 0.5, id="no date counts as one half-life"),
        pytest.param(datetime(2025, 12, 22), 0.5, id="a time without zone is UTC"),  # noqa: DTZ001
    ],
)
def test_scores_halve_with_every_half_life(published: datetime | None, expected: float) -> None:
    assert decay(published, NOW, 10) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1], [1], id="one"),
        pytest.param([1, 2, 3, 4], [1, 3, 4, 2], id="an even number has the two best at the ends"),
        pytest.param([1, 2, 3, 4, 5], [1, 3, 5, 4, 2], id="the weakest is in the middle"),
    ],
)
def test_the_best_passages_stand_at_both_ends(items: list[int], expected: list[int]) -> None:
    assert edges(items) == expected


def test_siblings_give_one_passage_with_the_text_of_their_window() -> None:
    bare, carrying = ParentSpan("p1", "c1", 0, 100), ParentSpan("p2", "c3", 100, 180, "whole second window")
    found = [
        candidate("c2", 0.9, bare),
        candidate("c1", 0.8, bare),
        candidate("c3", 0.7, carrying),
        candidate("c9", 0.1),
    ]
    kept = best_of_each_parent(found)
    assert [item.row.id for item in kept] == ["c2", "c3", "c9"]
    assert missing_carriers(kept) == ["c1"]
    assert [window(item, {"c1": "whole first window"}) for item in kept] == [
        ("whole first window", 0, 100),
        ("whole second window", 100, 180),
        ("text of c9", 0, 10),
    ]


def test_a_vanished_carrier_leaves_the_chunk_itself() -> None:
    assert window(candidate("c2", 0.9, ParentSpan("p1", "c1", 0, 100)), {}) == ("text of c2", 0, 10)


def test_equal_scores_have_one_order_whatever_the_store_gave() -> None:
    first, second = Candidate(row("b", 5), 0.5), Candidate(row("a", 9), 0.5)
    assert ranked([second, first]) == ranked([first, second]) == [first, second]


@pytest.mark.parametrize(
    ("distance", "value", "expected"),
    [("cosine", 0.5, 0.75), ("cosine", 2.1, 0.0), ("dot", -1.0, 1.0), ("dot", 1.0, 0.0), ("l2-squared", 3.0, 0.25)],
)
def test_distances_become_scores_between_zero_and_one(distance: str, value: float, expected: float) -> None:
    assert similarity(distance, value) == pytest.approx(expected)


def test_the_explanation_of_a_hybrid_score_gives_both_shares() -> None:
    text = (
        "\nHybrid (Result Set keyword,bm25) Document x: original score 3.4, normalized score: 0.5 - "
        "\nHybrid (Result Set vector,hybridVector) Document x: original score 0.8, normalized score: 0.25"
    )
    assert explained(text) == {"keyword": 0.5, "keywordRaw": 3.4, "vector": 0.25, "vectorRaw": 0.8}
    assert explained(None) == {}


def test_overrides_change_the_plan_and_nothing_else() -> None:
    defaults = Retrieval(diversity=Diversity())
    plan = plan_query(defaults, 60, {"mode": "keyword", "diversity": None})
    assert plan == Retrieval(mode="keyword", top_k=60, candidates=60)
    assert plan_query(defaults, None, {"topK": 3}) == Retrieval(top_k=3, diversity=Diversity())
    assert defaults.top_k == 8


@pytest.mark.parametrize(
    ("k", "overrides", "message"),
    [
        pytest.param(None, {"beam": 2}, "unknown option 'beam'; known are alpha, candidates", id="an unknown option"),
        pytest.param(None, {"alpha": 2}, "option alpha: Input should be less than or equal to 1", id="out of range"),
        pytest.param(0, {}, "option top_k: Input should be greater than or equal to 1", id="no passages asked for"),
        pytest.param(9, {"candidates": 3}, "candidates must be at least topK", id="fewer candidates than passages"),
    ],
)
def test_a_wrong_option_is_refused(k: int | None, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(QueryError) as caught:
        plan_query(Retrieval(), k, overrides)
    assert message in str(caught.value)


def test_more_candidates_are_fetched_only_where_a_stage_chooses_among_them() -> None:
    plain = Retrieval(top_k=5, candidates=40)
    assert fetch_limit(plain, parents=False) == 5
    assert fetch_limit(plain, parents=True) == 40
    assert fetch_limit(plain.model_copy(update={"diversity": Diversity()}), parents=False) == 40


def test_an_empty_or_endless_question_is_refused() -> None:
    assert check_question("  why?\n") == "why?"
    with pytest.raises(QueryError, match="empty"):
        check_question(" \n")
    with pytest.raises(QueryError, match="shorten it"):
        check_question("a" * 40_000)


def test_a_citation_reads_as_a_place() -> None:
    assert str(Citation("docs", "a/b.pdf", 10, 20, page=3)) == "docs/a/b.pdf page 3 [10:20]"
    assert str(Citation("docs", "t.csv", 0, 5, row=7)) == "docs/t.csv row 7 [0:5]"
    assert str(Citation("docs", "n.md", 0, 5)) == "docs/n.md [0:5]"
