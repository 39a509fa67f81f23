"""A passage is shown with its place in words, its score, and its lines as they were written."""

from __future__ import annotations

import dataclasses

import pytest

from gradatim.cli.passages import body, heading, none_found
from gradatim.client.filters import parse_filters
from gradatim.client.search import Passage

PASSAGE = Passage(
    citation="docs/a.md [10:90]",
    text="# Rollback\n\n```\ngradatim index rollback handbook v3\n```\n\n"
    + "pins the version and switches the alias " * 4,
    score=0.8312,
    source="docs",
    file="guides/a.md",
    start=10,
    end=90,
)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "[1] docs/guides/a.md, characters 10 to 90, score 0.831"),
        ({"page": 3}, "[1] docs/guides/a.md, page 3, characters 10 to 90, score 0.831"),
        ({"row": 7}, "[1] docs/guides/a.md, row 7, characters 10 to 90, score 0.831"),
    ],
    ids=["a text", "a page", "a row"],
)
def test_the_heading_says_where(change: dict[str, int], text: str) -> None:
    assert heading(1, dataclasses.replace(PASSAGE, **change)) == text


def test_lines_stay_lines_and_long_ones_are_wrapped() -> None:
    shown = list(body(PASSAGE, 60))
    assert shown[:4] == ["    # Rollback", "    ```", "    gradatim index rollback handbook v3", "    ```"]
    assert len(shown) > 5
    assert all(line.startswith("    ") and len(line) <= 60 for line in shown)
    assert " ".join(" ".join(shown).split()) == " ".join(PASSAGE.text.split())


def test_code_and_tables_are_whole_however_long() -> None:
    command = "gradatim index query handbook 'how long is the notice period?' --filter department=hr"
    row = "| kind | what it is, in a cell that is longer than the line |"
    text = f"# Ask\n\n```\n{command}\n\n{command}\n```\n\n{row}\n" + "and prose that is wrapped " * 3
    shown = list(body(dataclasses.replace(PASSAGE, text=text), 40))
    assert shown[:7] == ["    # Ask", "    ```", f"    {command}", "", f"    {command}", "    ```", f"    {row}"]
    assert all(len(line) <= 40 for line in shown[7:])


def test_the_scores_of_the_stages_come_last() -> None:
    explained = dataclasses.replace(PASSAGE, scores={"keyword": 0.5, "vector": 0.25})
    assert list(body(explained))[-1] == "    scores: keyword 0.5000, vector 0.2500"


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ([], []),
        (["source=docs", "page>3"], []),
        (["uri=docs/a.md"], ["uri is the path within its source"]),
        (["uri=a", "document=a.md"], ["document is an id of 64", "uri is the path within its source"]),
    ],
    ids=["no filter", "others", "a uri", "both"],
)
def test_a_filter_on_a_place_that_finds_nothing_says_what_its_values_are(filters: list[str], said: list[str]) -> None:
    first, *hints = none_found(parse_filters(filters))
    assert first == "no passage found"
    assert len(hints) == (len(said) + 1 if said else 0)
    for hint, text in zip(hints, [*said, "-o json shows"] if said else [], strict=True):
        assert hint.startswith("hint: ")
        assert text in hint
