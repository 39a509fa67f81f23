"""When waiting ends: not before the current generation was seen and its Run is over, at once when it stalls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gradatim.api import Dataset
from gradatim.api.ragindex import RAGIndex
from gradatim.client.effects import Op, Request, Response
from gradatim.client.errors import GradatimError, StalledError, UnsupportedError
from gradatim.client.operations import rerun, target
from gradatim.client.waiting import Halt, WaitVerdict, glance, judge_wait, wait


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
    "it was suspended during a refresh, whose run waits to be resumed": dataset(
        conditions=READY | {"Suspended": "True"},
        run=run(done=False),
        progress={"stage": "embed", "percent": 40, "message": "3 of 9 chunks"},
    ),
    "the requested run was taken up before the suspension": dataset(
        conditions=READY | {"Suspended": "True"}, requested="T2", lastRequested="T2", run=run(done=False)
    ),
}


@pytest.mark.parametrize("thing", DONE.values(), ids=DONE.keys())
def test_waiting_is_over(thing: Dataset) -> None:
    assert judge_wait(glance(thing), "Ready") == WaitVerdict(done=True)


def pinned(thing: Dataset) -> RAGIndex:
    """Return an index with the same metadata and status, and a pin."""
    spec = {
        "sources": [{"name": "a", "source": {"path": "file:///d"}}],
        "embedding": {"model": {"uri": "package://m"}},
        "versions": {"pin": {"digest": "sha256:" + "a" * 64}},
    }
    known = thing.to_manifest()
    return RAGIndex.model_validate({"metadata": known["metadata"], "spec": spec, "status": known["status"]})


REQUESTED: dict[str, Any] = {"requested": "T2", "lastRequested": "T1", "run": run(done=True)}
STALLED: dict[str, tuple[Dataset | RAGIndex, Halt]] = {
    "it stalls although an old version serves": (
        dataset(conditions={"Ready": "True", "Stalled": "True"}),
        Halt("Because", "so"),
    ),
    "it is suspended before it was ever ready": (
        dataset(conditions={"Ready": "False", "Suspended": "True"}),
        Halt("Because", "so"),
    ),
    "a run was requested of a suspended object": (
        dataset(conditions=READY | {"Suspended": "True"}, **REQUESTED),
        Halt("Because", "the requested run does not start: so"),
    ),
    "a run was requested of an object whose own run is suspended": (
        dataset(conditions=READY | {"Suspended": "True"}, **REQUESTED | {"run": run(done=False)}),
        Halt("Because", "the requested run does not start: so"),
    ),
    "a run was requested of a pinned index": (
        pinned(dataset(conditions=READY, **REQUESTED)),
        Halt("Pinned", "the requested run does not start: spec.versions.pin is set"),
    ),
    "a pinned index names a version that is gone, and is suspended": (
        pinned(dataset(conditions={"Ready": "True", "Stalled": "True", "Suspended": "True"})),
        Halt("Because", "so"),
    ),
}


@pytest.mark.parametrize(("thing", "halt"), STALLED.values(), ids=STALLED.keys())
def test_waiting_is_in_vain(thing: Dataset | RAGIndex, halt: Halt) -> None:
    assert judge_wait(glance(thing), "Ready") == WaitVerdict(stalled=halt)


def test_a_pin_that_the_operator_has_not_seen_is_waited_for() -> None:
    unseen = pinned(dataset(generation=3, conditions=READY, **REQUESTED))
    assert judge_wait(glance(unseen), "Ready").text == "waiting for the operator to see the change"


def test_a_pinned_index_is_waited_for_like_any_other() -> None:
    assert judge_wait(glance(pinned(dataset(conditions=READY, run=run(done=True)))), "Ready") == WaitVerdict(done=True)


def carried_out(op: Op[Any], body: dict[str, Any]) -> list[Request]:
    """Run an operation on a server that has one object; return the requests, or raise what it raises."""
    asked: list[Request] = []
    answer: Any = None
    try:
        while True:
            effect = op.send(answer)
            answer = 0.0
            if isinstance(effect, Request):
                asked.append(effect)
                listed = "fieldSelector" in effect.params
                found = {"items": [body], "metadata": {"resourceVersion": "1"}} if listed else body
                answer = Response(200, {}, json.dumps(found).encode())
    except StopIteration:
        return asked


RERUN: dict[str, tuple[dict[str, Any], str | None]] = {
    "an object like any other": ({}, None),
    "one that was resumed": ({"suspend": False}, None),
    "one that keeps versions": ({"versions": {"keep": 3}}, None),
    "a suspended one": ({"suspend": True}, "`gradatim resume ragindex i` lets it run"),
    "a pinned one": (
        {"versions": {"pin": {"digest": "sha256:" + "a" * 64}}},
        "`gradatim index rollback i --unpin` takes spec.versions.pin away and lets it run",
    ),
}


@pytest.mark.parametrize(("spec", "hint"), RERUN.values(), ids=RERUN.keys())
def test_a_rerun_that_could_not_start_is_refused(spec: dict[str, Any], hint: str | None) -> None:
    op = rerun(target(RAGIndex, "i", "n"))
    if hint is None:
        assert [request.method for request in carried_out(op, {"spec": spec})] == ["GET", "PATCH"]
        return
    with pytest.raises(UnsupportedError, match="starts no run") as refused:
        carried_out(op, {"spec": spec})
    assert refused.value.hint == hint


WAITED: dict[str, tuple[str, type[GradatimError], str]] = {
    "a request that is not taken up": (
        "Ready",
        StalledError,
        "n/i is stalled: Pinned: the requested run does not start",
    ),
    "a condition of another kind": ("Succeeded", UnsupportedError, "a ragindex has no condition Succeeded to wait for"),
}


@pytest.mark.parametrize(("goal", "error", "message"), WAITED.values(), ids=WAITED.keys())
def test_a_wait_that_cannot_end_well_ends(goal: Any, error: type[GradatimError], message: str) -> None:
    body = pinned(dataset(conditions=READY, **REQUESTED)).to_manifest()
    body["metadata"] |= {"namespace": "n", "resourceVersion": "1"}
    with pytest.raises(error, match=message):
        carried_out(wait(target(RAGIndex, "i", "n"), goal, 60.0, None), body)


def test_an_object_without_status_is_waited_for() -> None:
    bare = Dataset.model_validate(
        {"metadata": {"name": "d", "generation": 1}, "spec": {"source": {"path": "file:///d"}}}
    )
    assert judge_wait(glance(bare), "Ready").text == "waiting for the operator to see the change"
