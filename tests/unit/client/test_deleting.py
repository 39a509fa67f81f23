"""Deleting the object of a manifest: where it lies, what is said when it is not there, and how long one waits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from gradatim.client.deleting import delete, delete_manifest
from gradatim.client.effects import Clock, Effect, Op, Request, Response, Sleep
from gradatim.client.errors import NotFoundError, UnknownKindError, WaitTimeoutError
from gradatim.client.manifests import Manifest
from gradatim.client.operations import target

HANDBOOK = "/apis/gradatim.dev/v1alpha1/namespaces/{}/ragindices/handbook"
V1 = {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]}
RBAC = {"resources": [{"name": "clusterroles", "kind": "ClusterRole", "namespaced": False}]}
NAMES = {"items": [{"metadata": {"name": "handbook2"}}]}


@dataclass
class Server:
    """Objects by path, each with how many more looks it survives its deletion; the clock goes on by a second at every pause."""

    there: dict[str, int]
    known: dict[str, dict[str, Any]] = field(default_factory=lambda: {"/api/v1": V1, "/apis/rbac/v1": RBAC})
    deleted: list[str] = field(default_factory=list)
    now: float = 0.0

    def run(self, op: Op[None]) -> None:
        answer: Any = None
        try:
            while True:
                answer = self._answer(op.send(answer))
        except StopIteration:
            return

    def _answer(self, effect: Effect) -> Any:
        match effect:
            case Clock():
                return self.now
            case Sleep():
                self.now += 1
                return None
            case Request("DELETE", path) if path in self.there:
                self.deleted.append(path)
                return Response(200, {}, b"{}")
            case Request("GET", path) if path in self.known:
                return Response(200, {}, json.dumps(self.known[path]).encode())
            case Request("GET", path) if self.there.get(path, 0) > 0:
                self.there[path] -= 1
                return Response(200, {}, b'{"metadata": {"finalizers": ["gradatim.dev/cleanup"]}}')
            case Request("GET", path) if path.endswith("/ragindices"):
                return Response(200, {}, json.dumps(NAMES).encode())
            case Request():
                return Response(404, {}, b'{"reason": "NotFound", "message": "not found"}')
        raise AssertionError(effect)


def manifest(version: str, kind: str, name: str, namespace: str | None = None) -> Manifest:
    """Return a manifest that says no more than which object it is."""
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return Manifest({"apiVersion": version, "kind": kind, "metadata": meta}, "test")


OURS = "gradatim.dev/v1alpha1"
PLACES: dict[str, tuple[Manifest, str]] = {
    "ours, in the namespace that was asked for": (manifest(OURS, "RAGIndex", "handbook"), HANDBOOK.format("hr")),
    "ours, in the manifest's own namespace": (manifest(OURS, "RAGIndex", "handbook", "it"), HANDBOOK.format("it")),
    "ours, in none": (
        manifest(OURS, "ComputeProfile", "p", "it"), "/apis/gradatim.dev/v1alpha1/computeprofiles/p",
    ),
    "of another API": (manifest("v1", "ConfigMap", "suite"), "/api/v1/namespaces/hr/configmaps/suite"),
    "of another API, in no namespace": (manifest("rbac/v1", "ClusterRole", "r", "it"), "/apis/rbac/v1/clusterroles/r"),
}  # fmt: skip


@pytest.mark.parametrize(("thing", "path"), PLACES.values(), ids=PLACES.keys())
def test_the_object_of_a_manifest_is_found(thing: Manifest, path: str) -> None:
    server = Server({path: 2})
    server.run(delete_manifest(thing, "hr", wait_seconds=9))
    assert (server.deleted, server.there, server.now) == ([path], {path: 0}, 2.0)


def test_without_waiting_nobody_looks() -> None:
    server = Server({HANDBOOK.format("hr"): 2})
    server.run(delete_manifest(manifest(OURS, "RAGIndex", "handbook"), "hr", wait_seconds=None))
    assert server.there == {HANDBOOK.format("hr"): 2}


def test_what_stays_is_told_with_what_holds_it() -> None:
    expected = r"^ragindex hr/handbook is still there after 3 s; held by: gradatim\.dev/cleanup$"
    with pytest.raises(WaitTimeoutError, match=expected):
        Server({HANDBOOK.format("hr"): 99}).run(delete(target("ragindex", "handbook", "hr"), wait_seconds=3))


ABSENT: dict[str, tuple[Manifest, str, str]] = {
    "ours": (manifest(OURS, "RAGIndex", "handbook"), "there is no ragindex hr/handbook", "did you mean handbook2?"),
    "of another API": (manifest("v1", "ConfigMap", "suite"), "there is no configmap hr/suite", ""),
    "of another API, in no namespace": (manifest("rbac/v1", "ClusterRole", "r"), "there is no clusterrole r", ""),
}


@pytest.mark.parametrize(("thing", "message", "hint"), ABSENT.values(), ids=ABSENT.keys())
def test_what_is_not_there(thing: Manifest, message: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as error:
        Server({}).run(delete_manifest(thing, "hr", wait_seconds=9))
    assert (str(error.value), error.value.hint) == (message, hint)


def test_a_kind_that_the_cluster_does_not_know_is_no_object_that_is_not_there() -> None:
    with pytest.raises(UnknownKindError, match=r"the cluster does not know other\.dev/v1 Thing"):
        Server({}).run(delete_manifest(manifest("other.dev/v1", "Thing", "x"), "hr", wait_seconds=9))
