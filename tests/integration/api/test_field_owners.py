"""Who owns what of a spec on a real API server: what is one value changes hands whole, everything else field by field."""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.spec_cases import BASES, FULL, Manifest

from gradatim.api import GROUP, VERSION, kind_of
from gradatim.api.crd import crd
from gradatim.platform import PlatformState, health, pki
from gradatim.platform.dirs import Layout

ATOMIC = "x-kubernetes-map-type"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def http(apiserver: PlatformState) -> Iterator[httpx.Client]:
    context = health.tls_context(Layout(apiserver.state_dir), pki.CLUSTER_CA, "admin")
    with httpx.Client(base_url=apiserver.api_server, verify=context, trust_env=False, timeout=30.0) as client:
        yield client


def manifest(spec: dict[str, Any], group: str = GROUP, name: str = "owned") -> Manifest:
    return {"apiVersion": f"{group}/{VERSION}", "kind": "RAGIndex", "metadata": {"name": name}, "spec": spec}


def url(group: str, name: str) -> str:
    return f"/apis/{group}/{VERSION}/namespaces/default/{kind_of('RAGIndex').plural}/{name}"


def applied(http: httpx.Client, what: Manifest, owner: str, *, force: bool = False) -> httpx.Response:
    group = what["apiVersion"].partition("/")[0]
    params = {"fieldManager": owner, "force": str(force).lower(), "fieldValidation": "Strict"}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    return http.patch(url(group, what["metadata"]["name"]), params=params, headers=headers, content=json.dumps(what))


@pytest.fixture
def name(http: httpx.Client) -> Iterator[str]:
    """A name of an index that is removed afterwards."""
    made = f"owned-{uuid.uuid4().hex[:8]}"
    yield made
    http.delete(url(GROUP, made)).raise_for_status()


def spec(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(dict(BASES["RAGIndex"]["spec"])) | changes


def embedding(**model: Any) -> dict[str, Any]:
    return {"model": model}


BUCKET = {"uri": "s3://models/minilm", "endpoint": "https://store.example", "secretRef": {"name": "store"}}


def test_another_model_takes_nothing_over_that_was_meant_for_the_first(http: httpx.Client, name: str) -> None:
    mine = manifest(spec(embedding=embedding(**BUCKET)), name=name)
    assert applied(http, mine, "gitops").status_code == 201
    theirs = manifest({"embedding": embedding(uri="s3://other/model")}, name=name)
    refused = applied(http, theirs, "person")
    assert refused.status_code == 409
    assert ".spec.embedding.model" in refused.json()["message"]
    taken = applied(http, theirs, "person", force=True)
    assert taken.json()["spec"]["embedding"]["model"] == {"uri": "s3://other/model"}


@pytest.mark.parametrize(
    "what", [*BASES.values(), *FULL.values()], ids=[*BASES, *(f"{kind}, every field" for kind in FULL)]
)
def test_what_another_tool_created_is_applied_without_a_conflict(http: httpx.Client, what: Manifest) -> None:
    own = what | {"metadata": what["metadata"] | {"name": f"owned-{uuid.uuid4().hex[:8]}"}}
    kind = kind_of(what["kind"])
    folder = f"/apis/{GROUP}/{VERSION}/" + ("namespaces/default/" if kind.namespaced else "") + kind.plural
    http.post(folder, json=own, params={"fieldManager": "kubectl-create"}).raise_for_status()
    path = f"{folder}/{own['metadata']['name']}"
    try:
        params = {"fieldManager": "gradatim", "fieldValidation": "Strict"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        answer = http.patch(path, params=params, headers=headers, content=json.dumps(own))
        assert (answer.status_code, answer.json()["metadata"].get("generation")) == (200, 1), answer.text
    finally:
        http.delete(path).raise_for_status()


def test_what_is_tuned_by_itself_is_owned_by_itself(http: httpx.Client, name: str) -> None:
    assert applied(http, manifest(spec(), name=name), "gitops").status_code == 201
    tuned = manifest({"retrieval": {"alpha": 0.3}, "versions": {"keep": 3}, "suspend": True}, name=name)
    assert applied(http, tuned, "tuner").status_code == 200
    again = applied(http, manifest(spec(), name=name), "gitops").json()
    assert (again["spec"]["retrieval"]["alpha"], again["spec"]["versions"]["keep"], again["spec"]["suspend"]) == (
        0.3,
        3,
        True,
    )


def test_applying_the_same_again_writes_nothing(http: httpx.Client, name: str) -> None:
    partial = manifest(spec(chunking={"strategy": "markdown"}, vectorIndex={"shards": 2}), name=name)
    first, second, third = (applied(http, partial, "gitops").json() for _ in range(3))
    assert first["spec"]["chunking"]["maxTokens"] == 256
    assert [body["metadata"]["generation"] for body in (first, second, third)] == [1, 1, 1]
    # The server writes the second apply of any object that the first one made, with nothing changed in it.
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


def granular(node: Any) -> Any:
    """Return a schema as it was before blocks were one value."""
    if isinstance(node, dict):
        return {k: granular(v) for k, v in node.items() if k != ATOMIC}
    return [granular(v) for v in node] if isinstance(node, list) else node


@pytest.fixture
def upgraded(http: httpx.Client) -> Iterator[tuple[str, Any]]:
    """A group whose definition owns specs field by field, and a function that gives it today's."""
    group = f"x{uuid.uuid4().hex[:8]}.example"
    today = crd(kind_of("RAGIndex"))
    today["metadata"] = {"name": f"{today['spec']['names']['plural']}.{group}"}
    today["spec"]["group"] = group
    before = copy.deepcopy(today)
    properties = before["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    properties["spec"] = granular(properties["spec"])
    http.post(CRDS, json=before).raise_for_status()
    path = f"{CRDS}/{today['metadata']['name']}"

    def upgrade() -> None:
        found = http.get(path).json()
        http.put(path, json=found | {"spec": today["spec"]}).raise_for_status()

    yield group, upgrade
    http.delete(path).raise_for_status()


def until_applied(http: httpx.Client, what: Manifest, status: int) -> dict[str, Any]:
    end = time.monotonic() + 30
    while (answer := applied(http, what, "gitops")).status_code != status:
        assert time.monotonic() < end, answer.text
        time.sleep(0.2)
    body: dict[str, Any] = answer.json()
    return body


def owned(body: dict[str, Any]) -> dict[str, Any]:
    [entry] = [m for m in body["metadata"]["managedFields"] if m["manager"] == "gitops"]
    found: dict[str, Any] = entry["fieldsV1"]["f:spec"]["f:embedding"]["f:model"]
    return found


def test_objects_of_the_definition_before_keep_their_owner_and_can_be_changed(
    http: httpx.Client, upgraded: tuple[str, Any]
) -> None:
    group, upgrade = upgraded
    before = until_applied(http, manifest(spec(embedding=embedding(**BUCKET)), group), 201)
    assert owned(before)["f:uri"] == {}
    upgrade()
    changed = manifest(spec(embedding=embedding(**(BUCKET | {"uri": "s3://models/next"}))), group)
    end = time.monotonic() + 30
    while owned(after := until_applied(http, changed, 200)) != {}:
        assert time.monotonic() < end, "the new definition is not used"
        changed["spec"]["activeDeadlineSeconds"] = 60 + int(end - time.monotonic())
        time.sleep(0.5)
    assert after["spec"]["embedding"]["model"]["uri"] == "s3://models/next"
    moved = until_applied(http, manifest(spec(), group), 200)
    assert moved["spec"]["embedding"]["model"] == BASES["RAGIndex"]["spec"]["embedding"]["model"]
