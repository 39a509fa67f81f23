"""When waiting ends: not before the current generation was seen and its Run is over, at once when it stalls."""

from __future__ import annotations

from typing import Any

import pytest

from gradatim.api import Dataset
from gradatim.client.waiting import WaitVerdict, glance, judge_wait


def dataset(
    *,
    generation: int = 2,
    requested: str | None = None,
    conditions: dict[str, str] | None = None,
    seen: int = 2,
    **status: Any,
) -> Dataset:
    annotations = {"gradatim.dev/requested-at": requested} if requested else {}
    return Dataset.model_validate(
        {
            "metadata": {"name": "d", "generation": generation, "annotations": annotations},
            "spec": {"source": {"path": "file:///d"}},
            "status": {
                "observedGeneration": seen,
                "conditions": [
                    {
                        "type": kind,
                        "status": text.split("@")[0],
                        "observedGeneration": int(text.split("@")[1]) if "@" in text else 2,
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                        "reason": "Because",
                        "message": "so",
                    }
                    for kind, text in (conditions or {}).items()
                ],
            }
            | status,
        }
    )


def run(*, done: bool) -> dict[str, Any]:
    return {"name": "r", "trigger": "generation", "attempts": [], "done": done}


READY = {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
PENDING: dict[str, tuple[Dataset, str]] = {
    "the operator has not seen the change": (
        dataset(seen=1, conditions={"Ready": "True"}),
        "waiting for the operator to see the change",
    ),
    "a requested run was not taken up": (
        dataset(conditions=READY, requested="T2", lastRequested="T1", run=run(done=True)),
        "waiting for the requested run to start",
    ),
    "the condition speaks of an older generation": (dataset(conditions={"Ready": "True@1"}), "waiting for Ready"),
    "an old version serves while the new one is built": (
        dataset(conditions={"Ready": "True", "Reconciling": "True"}),
        "Because: so",
    ),
    "a run is under way": (
        dataset(
            conditions=READY,
            run=run(done=False),
            progress={"stage": "parse", "percent": 40, "etaSeconds": 7, "message": "3 of 9 files"},
        ),
        "parse 40 %, about 7 s left: 3 of 9 files",
    ),
    "the condition says why not": (dataset(conditions={"Ready": "False"}), "Because: so"),
    "a stall of an older generation is history": (
        dataset(conditions={"Stalled": "True@1", "Ready": "False"}),
        "Because: so",
    ),
}


@pytest.mark.parametrize(("thing", "text"), PENDING.values(), ids=PENDING.keys())
def test_waiting_goes_on(thing: Dataset, text: str) -> None:
    assert judge_wait(glance(thing), "Ready") == WaitVerdict(text=text)


DONE: dict[str, Dataset] = {
    "the condition holds and nothing runs": dataset(conditions=READY, run=run(done=True)),
    "the requested run was taken up and is over": dataset(
        conditions=READY, requested="T2", lastRequested="T2", run=run(done=True)
    ),
    "it is suspended but ready": dataset(conditions=READY | {"Suspended": "True"}),
}


@pytest.mark.parametrize("thing", DONE.values(), ids=DONE.keys())
def test_waiting_is_over(thing: Dataset) -> None:
    assert judge_wait(glance(thing), "Ready") == WaitVerdict(done=True)


STALLED: dict[str, tuple[Dataset, str]] = {
    "it stalls although an old version serves": (dataset(conditions={"Ready": "True", "Stalled": "True"}), "Stalled"),
    "it is suspended before it was ever ready": (
        dataset(conditions={"Ready": "False", "Suspended": "True"}),
        "Suspended",
    ),
}


@pytest.mark.parametrize(("thing", "condition"), STALLED.values(), ids=STALLED.keys())
def test_waiting_is_in_vain(thing: Dataset, condition: str) -> None:
    verdict = judge_wait(glance(thing), "Ready")
    assert verdict.stalled is not None
    assert verdict.stalled.type == condition


def test_an_object_without_status_is_waited_for() -> None:
    bare = Dataset.model_validate(
        {"metadata": {"name": "d", "generation": 1}, "spec": {"source": {"path": "file:///d"}}}
    )
    assert judge_wait(glance(bare), "Ready").text == "waiting for the operator to see the change"
