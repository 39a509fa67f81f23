"""Who owns what of a spec on a real API server: blocks that are one value change hands whole, everything else field by field."""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.spec_cases import BASES, Manifest

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


def sources(**source: Any) -> list[dict[str, Any]]:
    return [{"name": "docs", "source": source}]


GIT = {"url": "https://git.example/a.git", "revision": "main"}


def test_another_kind_of_source_takes_the_place_of_the_first_instead_of_joining_it(
    http: httpx.Client, name: str
) -> None:
    mine = manifest(spec(sources=sources(git=GIT)), name=name)
    assert applied(http, mine, "gitops").status_code == 201
    theirs = manifest({"sources": sources(path="file:///data/docs")}, name=name)
    refused = applied(http, theirs, "person")
    assert refused.status_code == 409
    assert '.spec.sources[name="docs"].source' in refused.json()["message"]
    taken = applied(http, theirs, "person", force=True)
    assert taken.json()["spec"]["sources"][0]["source"] == {"path": "file:///data/docs"}


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
    found: dict[str, Any] = entry["fieldsV1"]["f:spec"]["f:sources"]['k:{"name":"docs"}']["f:source"]
    return found


def test_objects_of_the_definition_before_keep_their_owner_and_can_be_changed(
    http: httpx.Client, upgraded: tuple[str, Any]
) -> None:
    group, upgrade = upgraded
    before = until_applied(http, manifest(spec(sources=sources(git=GIT)), group), 201)
    assert owned(before)["f:git"]
    upgrade()
    changed = manifest(spec(sources=sources(git=GIT | {"revision": "next"})), group)
    end = time.monotonic() + 30
    while owned(after := until_applied(http, changed, 200)) != {}:
        assert time.monotonic() < end, "the new definition is not used"
        changed["spec"]["activeDeadlineSeconds"] = 60 + int(end - time.monotonic())
        time.sleep(0.5)
    assert after["spec"]["sources"][0]["source"]["git"]["revision"] == "next"
    moved = until_applied(http, manifest(spec(sources=sources(path="file:///data")), group), 200)
    assert moved["spec"]["sources"][0]["source"] == {"path": "file:///data"}
