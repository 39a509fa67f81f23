"""Objects show themselves as kubectl would, and as HTML that nothing can break out of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import gradatim.client as client_package
from gradatim.api import Dataset, kind_of
from gradatim.client.display import Listing, age, cells_of, columns_of, plain_table, why

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BODY = {
    "metadata": {"name": "docs", "namespace": "team", "creationTimestamp": "2026-01-01T21:00:00Z"},
    "spec": {"source": {"path": "file:///d"}},
    "status": {
        "state": "Ready",
        "progressText": "100 %",
        "reasonText": "GateFailed",
        "active": {"digest": "sha256:" + "a" * 64, "uri": "file:///s/", "rows": 7},
        "conditions": [
            {"type": "Stalled", "status": "False", "reason": "No", "lastTransitionTime": "2026-01-01T21:00:00Z"},
            {
                "type": "Ready",
                "status": "True",
                "reason": "Promoted",
                "message": "<script>",
                "lastTransitionTime": "2026-01-01T21:00:00Z",
            },
        ],
    },
}


def test_cells_follow_the_printer_columns_with_conditions_by_type() -> None:
    kind = kind_of("dataset")
    assert columns_of(kind, wide=True, namespaced=True) == [
        "Namespace", "Name", "State", "Progress", "Rows", "Rejected", "Reason", "Age",
    ]  # fmt: skip
    assert cells_of(kind, BODY, now=NOW, wide=True, namespaced=True) == [
        "team", "docs", "Ready", "100 %", "7", "", "GateFailed", "3h",
    ]  # fmt: skip


A, B = ("sha256:" + letter * 64 for letter in "ab")
VERSIONS: dict[str, tuple[str | None, str | None, list[str]]] = {
    "no version yet": (None, None, ["", ""]),
    "pinned before there is one": (A, None, ["", "a" * 10]),
    "not pinned": (None, A, ["v3", ""]),
    "the version that serves is pinned": (A, A, ["v3 (pinned)", "a" * 10]),
    "another one is pinned than serves": (B, A, ["v3", "b" * 10]),
}


@pytest.mark.parametrize(("pin", "active", "cells"), VERSIONS.values(), ids=VERSIONS.keys())
def test_a_pin_shows_behind_the_version_that_serves_for_it(
    pin: str | None, active: str | None, cells: list[str]
) -> None:
    kind = kind_of("ragindex")
    body = {
        "metadata": {"name": "docs"},
        "spec": {"versions": {"pin": {"digest": pin}} if pin else {}},
        "status": {"active": {"label": "v3", "digest": active}} if active else {},
    }
    shown = dict(zip(columns_of(kind, wide=True), cells_of(kind, body, now=NOW, wide=True), strict=True))
    assert [shown["Version"], shown["Pin"]] == cells


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        ("2026-01-01T23:59:15Z", "45s"),
        ("2026-01-01T23:30:00Z", "30m"),
        ("2026-01-01T19:00:00+00:00", "5h"),
        ("2025-12-20T00:00:00Z", "13d"),
        ("2026-01-03T00:00:00Z", "0s"),
        ("soon", "soon"),
    ],
    ids=["seconds", "minutes", "hours", "days", "a clock that is ahead", "no time at all"],
)
def test_ages_are_short(timestamp: str, text: str) -> None:
    assert age(timestamp, NOW) == text


def test_notebooks_get_escaped_tables() -> None:
    assert client_package.Client.__name__ == "Client"
    thing = Dataset.model_validate(BODY)
    html = thing._repr_html_()  # type: ignore[attr-defined]
    assert "<td>docs</td><td>Ready</td>" in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    listing = Listing(kind_of("dataset"), [thing])
    assert listing[0] is thing
    assert list(listing.rows()[0])[:2] == ["Namespace", "Name"]
    assert repr(Listing(kind_of("dataset"), [])) == "no datasets"


def test_a_plain_table_is_aligned_without_trailing_space() -> None:
    assert (
        plain_table(["Name", "State"], [["a", "Ready"], ["long-name", ""]])
        == "NAME        STATE\na           Ready\nlong-name"
    )


TOLD = [
    ("a condition tells it", {"reasonText": "GateFailed"}, "GateFailed: ndcg@10 is 0.4, misses min 0.5 by 0.1"),
    ("no condition tells it", {"reasonText": "Stale"}, "Stale"),
    ("all is well", {}, ""),
]


@pytest.mark.parametrize(("status", "text"), [t[1:] for t in TOLD], ids=[t[0] for t in TOLD])
def test_a_sentence_says_why_an_object_is_not_well(status: dict[str, str], text: str) -> None:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "v1 serves"},
        {"type": "Stalled", "status": "False", "reason": "GateFailed", "message": ""},
        {
            "type": "Current",
            "status": "False",
            "reason": "GateFailed",
            "message": "ndcg@10 is 0.4, misses min 0.5 by 0.1",
        },
    ]
    assert why({"status": {"conditions": conditions} | status}) == text
