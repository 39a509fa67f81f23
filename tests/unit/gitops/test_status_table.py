"""Every row of the table "one meaning of status for GitOps tools", on a status that the operator's own functions made."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.support.gitops_life import RunLife
from tests.support.gitops_rows import ROWS, Row

LETTERS = {"True": "T", "False": "F", "Unknown": "U"}


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_conditions_of(row: Row) -> None:
    found = {c["type"]: LETTERS[c["status"]] for c in row.life().body["status"].get("conditions", [])}
    assert "".join(found.get(c, "-") for c in ("Ready", "Reconciling", "Stalled")) == row.conditions


def test_every_kind_has_its_rows_and_no_row_comes_twice() -> None:
    assert Counter(row.kind for row in ROWS) == {"Dataset": 27, "RAGIndex": 32, "ComputeProfile": 7}
    assert max(Counter(row.id for row in ROWS).values()) == 1


@pytest.mark.parametrize("kind", ["Dataset", "RAGIndex"])
def test_an_object_is_called_resumed_only_after_it_was_suspended(kind: str) -> None:
    life, found = RunLife(kind).serving(), []
    for suspend in (False, True, False, False):
        life.changed(suspend=suspend).passed()
        found += [c["reason"] for c in life.body["status"]["conditions"] if c["type"] == "Suspended"]
    assert found == ["NotSuspended", "Suspended", "Resumed", "Resumed"]


def test_the_refresh_of_what_never_succeeded_is_told_as_the_generation() -> None:
    by_id = {row.id: row for row in ROWS}
    triggers = {
        name: by_id[f"Dataset: {name}"].life().body["status"]["run"]["trigger"]
        for name in ("scheduled refresh running", "new generation failed, refresh running")
    }
    assert triggers == {
        "scheduled refresh running": "schedule",
        "new generation failed, refresh running": "generation",
    }
