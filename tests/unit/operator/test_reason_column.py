"""The columns Reason and Progress of `kubectl get`, and that a condition which is not well always has something to say."""

from __future__ import annotations

import pytest
from tests.support.gitops_rows import ROWS, Row

from gradatim.api.kinds import KINDS

WORDS = {
    "first Run failed": "DataInvalid",
    "first Run failed, refresh failed": "DataInvalid",
    "new generation failed, old one serving": "DataInvalid",
    "new generation failed, refresh failed": "DataInvalid",
    "scheduled refresh failed": "DataInvalid",
    "stale past maxStaleness": "DataInvalid",
    "gate failed for this generation, old one serving": "GateFailed",
    "gate failed again in a refresh": "GateFailed",
    "gate failed in a scheduled refresh": "GateFailed",
    "a pin holds back a newer spec": "Pinned",
    "suspended before the first Run": "Suspended",
    "waiting for a slot": "ConcurrencyLimit",
    "waiting in a queue": "Queued",
    "waiting for a profile": "ProfileNotFound",
    "waiting for a person": "ProfileNotAllowed",
    "spec cannot be used": "InvalidSpec",
    "spec cannot be used, old one serving": "InvalidSpec",
}
DOWN = {"Dataset": "StoreUnreachable", "RAGIndex": "StoreUnreachable", "ComputeProfile": "RuntimeUnreachable"}
PROGRESS = {
    "waiting for a slot": "Not started",
    "waiting for a profile": "Not started",
    "waiting in a queue": "Queued",
    "first Run recorded": "Recorded",
    "serving": "Succeeded",
}
# What says that nothing is the matter needs no words.
GOOD = {("Stalled", "False"), ("Reconciling", "False"), ("Suspended", "False"), ("Degraded", "False")}


def word(row: Row) -> str | None:
    if row.name in {"dependency unreachable", "dependency unreachable past its deadline"}:
        return DOWN[row.kind]
    return WORDS.get(row.name)


@pytest.mark.parametrize("row", ROWS, ids=[r.id for r in ROWS])
def test_one_word_says_why_an_object_is_not_well(row: Row) -> None:
    status = row.life().body["status"]
    assert status.get("reasonText") == word(row)


@pytest.mark.parametrize("row", ROWS, ids=[r.id for r in ROWS])
def test_no_condition_is_bad_without_words(row: Row) -> None:
    conditions = row.life().body["status"].get("conditions", [])
    silent = [c["type"] for c in conditions if not c["message"] and c["status"] != "True"]
    assert [t for t in silent if (t, "False") not in GOOD and t not in {"Admitted", "Evicted"}] == []


@pytest.mark.parametrize("row", [r for r in ROWS if r.name in PROGRESS], ids=[r.id for r in ROWS if r.name in PROGRESS])
def test_progress_says_something_before_the_first_figure(row: Row) -> None:
    assert row.life().body["status"]["progressText"] == PROGRESS[row.name]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_the_reason_is_shown_without_being_asked_for(kind: object) -> None:
    columns = {c.name: c for c in kind.columns}  # type: ignore[attr-defined]
    assert (columns["Reason"].path, columns["Reason"].priority) == (".status.reasonText", 0)
    assert {"State", "Age"} <= set(columns)
