"""What status says after a run without a cluster: how old what serves is, and what was rejected in it."""

from __future__ import annotations

from typing import Any

import pytest

from gradatim.api.dataset import Dataset, DatasetStatus
from gradatim.api.ragindex import RAGIndex, RAGIndexStatus
from gradatim.api.run import IndexOutput, RunResult, Stamp
from gradatim.api.runstatus import NamedMetric, ReasonCount, ValidationSummary
from gradatim.client.localstatus import dataset_status, index_status

FIRST, LATER = "2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"
REJECTED = [ReasonCount(name="Unreadable", count=3)]
SPEC: dict[str, Any] = {
    "sources": [{"name": "d", "source": {"path": "file:///d"}}],
    "embedding": {"model": {"uri": "file:///m"}},
    "evaluation": {
        "questions": {"path": "file:///q"},
        "gates": [{"name": "g", "metric": "ndcg@10", "threshold": {"min": 0.5}}],
    },
}


def result(outcome: Any, number: int = 1, quality: float = 0.8, **more: Any) -> RunResult:
    """Return the result of a run that ended later."""
    digest = f"sha256:{number:064d}"
    output = IndexOutput(
        digest=digest,
        resolved_digest=digest,
        uri=f"file:///s/versions/{number}",
        collection=f"G0123456789_{number:010d}",
        encoder_digest=digest,
        documents=1,
        chunks=1,
        metrics=[NamedMetric(name="ndcg@10", value=quality, samples=50)],
    )
    stamp = Stamp(uid="u", run="r", attempt=1, config_digest="")
    good = outcome in {"Succeeded", "Unchanged"}
    base: dict[str, Any] = {"finished": LATER, "failure": None if good else "Data"}
    return RunResult(stamp=stamp, outcome=outcome, index=output if good else None, **(base | more))


def index(status: RAGIndexStatus | None = None) -> RAGIndex:
    """Return an index."""
    found = RAGIndex.model_validate({"metadata": {"name": "one", "namespace": "a", "uid": "u"}, "spec": SPEC})
    return found.model_copy(update={"status": status})


def serving() -> RAGIndex:
    """Return an index whose first version serves."""
    first, _ = index_status(index(), result("Succeeded", finished=FIRST, rejections=REJECTED), "r-1")
    return index(first)


@pytest.mark.parametrize(
    ("end", "checked", "rejected"),
    [
        pytest.param(result("Succeeded", 2), LATER, [], id="a version that serves"),
        pytest.param(result("Succeeded", 2, 0.1), FIRST, [], id="one that its gate refuses: the sources are newer than what serves"),
        pytest.param(result("Succeeded", 1, 0.1), LATER, [], id="what serves, measured again and found worse"),
        pytest.param(result("Unchanged"), LATER, REJECTED, id="sources that are unchanged"),
        pytest.param(result("Failed"), FIRST, [], id="a failure"),
    ],
)  # fmt: skip
def test_of_an_index(end: RunResult, checked: str, rejected: list[ReasonCount]) -> None:
    found, _ = index_status(serving(), end, "r-2")
    assert (found.last_checked, found.rejections) == (checked, rejected)


@pytest.mark.parametrize(
    ("validation", "expected"), [(None, REJECTED), (ValidationSummary(), [])], ids=["not read", "read anew"]
)
def test_of_a_dataset_that_did_not_change(validation: ValidationSummary | None, expected: list[ReasonCount]) -> None:
    body = {"metadata": {"name": "one", "namespace": "a", "uid": "u"}, "spec": {"source": {"path": "file:///d"}}}
    dataset = Dataset.model_validate(body).model_copy(update={"status": DatasetStatus(rejections=REJECTED)})
    stamp = Stamp(uid="u", run="r", attempt=1, config_digest="")
    end = RunResult(stamp=stamp, outcome="Unchanged", finished=LATER, validation=validation)
    assert dataset_status(dataset, end, "r")[0].rejections == expected
