"""The log of an attempt in a pod: found by way of RayJob and RayCluster, with the cluster's own credentials and no token of Ray's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gradatim.api import Dataset
from gradatim.client.effects import Op, Request, Response
from gradatim.client.errors import ForbiddenError, GradatimError, NotFoundError
from gradatim.client.logs import LogPiece, LogReader
from gradatim.client.operations import target

JOB = "/apis/ray.io/v1/namespaces/n/rayjobs/r-a1"
CLUSTER = "/apis/ray.io/v1/namespaces/n/rayclusters/r-a1-x"
LOG = "/api/v1/namespaces/n/pods/head/log"
Answers = Mapping[str, tuple[int, Any]]
ALL: Answers = {
    JOB: (200, {"status": {"rayClusterName": "r-a1-x"}}),
    CLUSTER: (200, {"status": {"head": {"podName": "head"}}}),
    LOG: (200, "one\ntwo\n"),
}


def thing(*, done: bool = False) -> dict[str, Any]:
    """Return a Dataset whose Run executes in pods."""
    store = {"profile": "p", "profileUid": "u", "artifactRoot": "s3://s/", "runtimeType": "kuberay"}
    run = {"name": "r", "trigger": "generation", "done": done, "attempts": [{"number": 1}]}
    status = {"run": run, "store": store}
    return {"metadata": {"name": "d", "namespace": "n"}, "spec": {"source": {"path": "file:///d"}}, "status": status}


def answered(op: Op[LogPiece], answers: Answers, body: dict[str, Any]) -> LogPiece:
    """Run an operation against the answers."""
    try:
        effect = next(op)
        while True:
            assert isinstance(effect, Request)
            assert effect.base is None
            given = {**answers, "/apis/gradatim.dev/v1alpha1/namespaces/n/datasets/d": (200, body)}
            status, found = given.get(effect.path, (404, {"reason": "NotFound"}))
            text = found if isinstance(found, str) else json.dumps(found)
            effect = op.send(Response(status, {}, text.encode()))
    except StopIteration as ended:
        piece: LogPiece = ended.value
        return piece


def test_the_log_of_the_heads_pod_comes_piece_by_piece() -> None:
    reader = LogReader(target(Dataset, "d", "n"))
    assert answered(reader.next(), ALL, thing()) == LogPiece("r-a1", "one\ntwo\n", last=False)
    more = {**ALL, LOG: (200, "one\ntwo\nthree\n")}
    assert answered(reader.next(), more, thing(done=True)) == LogPiece("r-a1", "three\n", last=True)


MISSING: list[tuple[str, Answers]] = [
    ("nothing", {}),
    ("a RayJob that waits in a queue", {JOB: (200, {"status": {}})}),
    ("a cluster that is not made yet", {JOB: ALL[JOB]}),
    ("a cluster without a pod", {JOB: ALL[JOB], CLUSTER: (200, {"status": {"head": None}})}),
    ("a pod that is starting", {**ALL, LOG: (400, {"message": "ContainerCreating"})}),
]


@pytest.mark.parametrize("answers", [a for _, a in MISSING], ids=[name for name, _ in MISSING])
def test_what_is_not_there_yet_is_an_empty_piece_and_afterwards_an_error(answers: Answers) -> None:
    reader = LogReader(target(Dataset, "d", "n"))
    assert answered(reader.next(), answers, thing()).text == ""
    with pytest.raises(NotFoundError):
        answered(reader.next(), answers, thing(done=True))


def test_a_refusal_is_told() -> None:
    with pytest.raises(GradatimError) as caught:
        answered(LogReader(target(Dataset, "d", "n")).next(), {**ALL, LOG: (403, {"message": "no"})}, thing())
    assert isinstance(caught.value, ForbiddenError)
