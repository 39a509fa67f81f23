"""Metrics of versions come oldest first, as rows and as a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure  # loaded here: the limit of two seconds is for tests

from gradatim.api import ComputeProfile, Dataset, RAGIndex
from gradatim.client.errors import NotFoundError, UnsupportedError
from gradatim.client.history import metric_history
from gradatim.client.versions import find_version, index_versions

SPEC = {"sources": [{"name": "a", "source": {"path": "file:///d"}}], "embedding": {"model": {"uri": "package://m"}}}


def version(letter: str, number: int, value: float, **more: object) -> dict[str, object]:
    metric = {"name": "ndcg@10", "value": value, "low": value - 0.1, "high": value + 0.1, "samples": 60}
    return {
        "digest": f"sha256:{letter * 64}",
        "label": f"v{number}",
        "collection": "G1",
        "uri": "file:///s/",
        "created": f"2026-01-0{number}T00:00:00Z",
        "passed": True,
        "metrics": [metric],
    } | more


def index() -> RAGIndex:
    first, second, third = version("a", 1, 0.5), version("b", 2, 0.6), version("c", 3, 0.4, passed=False)
    old = version("d", 4, 0.7, collectionDropped=True)
    status = {"active": second, "history": [old, third, second, first]}
    return RAGIndex.model_validate({"metadata": {"name": "i"}, "spec": SPEC, "status": status})


def test_rows_have_one_entry_per_version_and_metric_oldest_first() -> None:
    history = metric_history(index())
    assert [(r["version"], r["active"], r["metric"], r["value"], r["samples"]) for r in history.rows()] == [
        ("v1", False, "ndcg@10", 0.5, 60),
        ("v2", True, "ndcg@10", 0.6, 60),
        ("v3", False, "ndcg@10", 0.4, 60),
        ("v4", False, "ndcg@10", 0.7, 60),
    ]


def test_a_dataset_shows_its_counts() -> None:
    snapshot = {"digest": "sha256:" + "a" * 64, "uri": "file:///s/", "rows": 7, "rejected": 2}
    thing = Dataset.model_validate(
        {"metadata": {"name": "d"}, "spec": {"source": {"path": "file:///d"}}, "status": {"active": snapshot}}
    )
    assert [(r["version"], r["metric"], r["value"]) for r in metric_history(thing).rows()] == [
        ("a" * 10, "rows", 7.0),
        ("a" * 10, "rejected", 2.0),
        ("a" * 10, "duplicates", 0.0),
        ("a" * 10, "contaminated", 0.0),
    ]


def test_the_picture_has_one_line_per_metric_with_its_interval(tmp_path: Path) -> None:
    history = metric_history(index())
    figure = history.plot(path=tmp_path / "m.png")
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["v1", "v2", "v3", "v4"]
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.6, 0.4, 0.7]
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(NotFoundError, match="no metric mrr; it has: ndcg@10"):
        history.plot(["mrr"])
    with pytest.raises(UnsupportedError, match="cannot be written"):
        history.plot(path=tmp_path / "absent" / "m.png")


def test_a_kind_without_metrics_says_so() -> None:
    profile = ComputeProfile.model_validate(
        {
            "metadata": {"name": "p"},
            "spec": {
                "runtime": {"rayCluster": {"address": "http://r"}},
                "artifactStore": {"root": "file:///s/{namespace}/"},
            },
        }
    )
    with pytest.raises(UnsupportedError, match="a ComputeProfile has no metrics"):
        metric_history(profile)


def test_versions_are_found_by_label_or_digest_if_they_can_serve() -> None:
    found = index()
    assert [v.label for v in index_versions(found)] == ["v4", "v3", "v2", "v1"]
    assert [find_version(found, w).label for w in ("v1", "sha256:" + "b" * 64, "aaaaaaaa")] == ["v1", "v2", "v1"]


@pytest.mark.parametrize(
    ("wanted", "cls", "message"),
    [
        ("v9", NotFoundError, r"no version called v9; versions: v4 \(dddddddddd\)"),
        ("aaa", NotFoundError, "no version called aaa"),
        ("v3", UnsupportedError, "did not pass its gates"),
        ("v4", UnsupportedError, "was dropped"),
    ],
    ids=["an unknown label", "too short a digest", "a refused version", "a dropped version"],
)
def test_a_version_that_cannot_serve_is_refused(wanted: str, cls: type[Exception], message: str) -> None:
    with pytest.raises(cls, match=message):
        find_version(index(), wanted)


def test_a_version_whose_removal_may_have_begun_is_refused() -> None:
    spec = index().model_dump(mode="json", by_alias=True, exclude_none=True)
    spec["status"]["history"][3]["dropping"] = True
    with pytest.raises(UnsupportedError, match="was dropped"):
        find_version(RAGIndex.model_validate(spec), "v1")


def test_an_interval_that_misses_its_value_is_drawn_all_the_same() -> None:
    thing = index()
    assert thing.status is not None
    odd = thing.status.history[0].metrics[0].model_copy(update={"low": 0.9, "high": 0.2})
    crooked = thing.status.history[0].model_copy(update={"metrics": [odd]})
    status = thing.status.model_copy(update={"history": [crooked], "active": None})
    figure = metric_history(thing.model_copy(update={"status": status})).plot()
    assert list(figure.axes[0].lines[0].get_ydata()) == [odd.value]
