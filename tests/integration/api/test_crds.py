"""The definitions on a real API server: they are served, they judge as the table says, they fill in, prune and print."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.support.spec_cases import BASES, FULL, SHA, WRITTEN, Case, Manifest, boundaries
from tests.unit.api.test_spec_rules import refusal

from gradatim.api import GROUP, KINDS, VERSION, kind_of
from gradatim.api.kinds import Kind
from gradatim.platform import PlatformState, health, pki
from gradatim.platform.dirs import Layout

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").rglob("*.yaml"))
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Server:
    """The API server as an administrator sees it."""

    http: httpx.Client

    def url(self, kind: str, name: str = "", namespace: str = "default") -> str:
        """Return the path of a collection or of an object."""
        found = kind_of(kind)
        scope = f"namespaces/{namespace}/" if found.namespaced else ""
        return f"/apis/{GROUP}/{VERSION}/{scope}{found.plural}" + (f"/{name}" if name else "")

    def create(self, manifest: Manifest, **params: str) -> httpx.Response:
        """POST the manifest; unknown fields are errors unless the parameters say otherwise."""
        namespace = manifest["metadata"].get("namespace", "default")
        options = {"fieldValidation": "Strict"} | params
        return self.http.post(self.url(manifest["kind"], namespace=namespace), params=options, json=manifest)

    def judge(self, manifest: Manifest) -> str:
        """Return what the server says against a manifest, or an empty text; nothing is stored."""
        return message(self.create(manifest, dryRun="All"))


def message(answer: httpx.Response) -> str:
    """Return the refusal in an answer, or an empty text."""
    assert answer.status_code in {200, 201, 400, 422}, answer.text
    return "" if answer.is_success else str(answer.json()["message"])


@pytest.fixture(scope="module")
def server(apiserver: PlatformState) -> Iterator[Server]:
    context = health.tls_context(Layout(apiserver.state_dir), pki.CLUSTER_CA, "admin")
    with httpx.Client(base_url=apiserver.api_server, verify=context, trust_env=False, timeout=30.0) as client:
        yield Server(client)


@pytest.fixture
def stored(server: Server) -> Iterator[Any]:
    """Return a function that creates an object under a name of its own; all are removed afterwards."""
    made: list[str] = []

    def create(manifest: Manifest) -> Manifest:
        own = manifest | {"metadata": manifest["metadata"] | {"name": f"case-{uuid.uuid4().hex[:8]}"}}
        answer = server.create(own)
        assert answer.status_code == 201, answer.text
        made.append(server.url(own["kind"], own["metadata"]["name"]))
        body: Manifest = answer.json()
        return body

    yield create
    for path in made:
        server.http.delete(path).raise_for_status()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_definition_is_served_without_complaint(server: Server, kind: Kind) -> None:
    crd = server.http.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.{GROUP}").json()
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert crd["status"]["acceptedNames"]["shortNames"] == list(kind.short_names)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_generated_chart_holds_the_definition_as_the_server_accepts_it(server: Server, kind: Kind) -> None:
    path = Path(__file__).parents[3] / "charts" / "gradatim-crds" / "templates" / f"{kind.plural}.yaml"
    definition = yaml.safe_load(path.read_text())
    answer = server.http.patch(
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.{GROUP}",
        params={"dryRun": "All", "fieldManager": "chart", "force": "true", "fieldValidation": "Strict"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(definition),
    )
    assert answer.status_code == 200, answer.text
    assert "warning" not in answer.headers


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.id)
def test_server_judges_the_manifest(server: Server, stored: Any, case: Case) -> None:
    if case.before is None:
        said = server.judge(case.manifest())
    else:
        first = stored(case.first())
        body = case.manifest() | {"metadata": first["metadata"]}
        url = server.url(case.kind, first["metadata"]["name"])
        said = message(server.http.put(url, params={"dryRun": "All", "fieldValidation": "Strict"}, json=body))
    assert (case.message in said) if case.message else not said, said


def test_server_and_models_agree_at_every_bound(server: Server) -> None:
    wrong: list[str] = []
    for told, manifest, accepted in boundaries():
        by_server, by_model = server.judge(manifest), refusal(manifest)
        if bool(by_server) != bool(by_model) or (accepted is not None and accepted == bool(by_server)):
            wrong.append(f"{told}: server {by_server[:200]!r}, model {by_model[:200]!r}")
    assert wrong == []


def test_defaults_are_filled_in_below_blocks_that_were_left_out(stored: Any) -> None:
    spec = stored(BASES["RAGIndex"])["spec"]
    assert spec["tenancy"] == {"enabled": False}
    assert spec["chunking"] == {
        "strategy": "recursive",
        "maxTokens": 256,
        "overlapTokens": 32,
        "parent": {"enabled": False, "maxTokens": 1024},
    }
    assert spec["embedding"]["prefix"] == {"query": "", "document": ""}
    assert spec["compute"] == {"profileRef": {"name": "default"}, "workers": 1}
    assert spec["versions"] == {"keep": 2, "dropAfterSeconds": 600}
    assert "evaluation" not in spec
    assert "refresh" not in spec


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_server_and_model_fill_in_the_same_defaults(stored: Any, kind: Kind) -> None:
    served = kind.model.model_validate(stored(BASES[kind.name]))
    local = kind.model.model_validate(BASES[kind.name])
    assert served.to_manifest()["spec"] == local.to_manifest()["spec"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_status_starts_unobserved(stored: Any, kind: Kind) -> None:
    status = stored(BASES[kind.name])["status"]
    assert (status.pop("observedGeneration"), status.pop("state")) == (-1, "Pending")
    assert set(status.values()) <= {0}


def test_status_is_written_through_its_subresource_only(server: Server, stored: Any) -> None:
    made = stored(BASES["Dataset"])
    url = server.url("Dataset", made["metadata"]["name"])
    wished = made | {"status": {"observedGeneration": 1, "state": "Ready"}}
    through_object = server.http.put(url, json=wished).json()
    through_status = server.http.put(
        f"{url}/status", json=through_object | {"status": wished["status"], "spec": made["spec"] | {"suspend": True}}
    ).json()
    assert through_object["status"]["state"] == "Pending"
    assert (through_status["status"]["state"], through_status["spec"]["suspend"]) == ("Ready", False)
    assert through_status["metadata"]["generation"] == 1


def test_unknown_fields_are_pruned_with_a_warning(server: Server) -> None:
    manifest = BASES["RAGIndex"] | {"spec": BASES["RAGIndex"]["spec"] | {"chunkking": {"maxTokens": 64}}}
    warned = server.create(manifest, dryRun="All", fieldValidation="Warn")
    assert warned.status_code == 201
    assert warned.headers["warning"] == '299 - "unknown field \\"spec.chunkking\\""'
    assert "chunkking" not in warned.json()["spec"]
    assert 'unknown field "spec.chunkking"' in server.judge(manifest)


def test_arguments_of_expectations_are_kept_whole(stored: Any) -> None:
    made = stored(FULL["Dataset"])
    assert made["spec"]["validation"]["expectations"][0]["kwargs"] == {"column": "text"}


def test_every_field_survives_the_server(stored: Any) -> None:
    for kind, manifest in FULL.items():
        made = kind_of(kind).model.model_validate(stored(manifest))
        assert made.to_manifest()["spec"] == kind_of(kind).model.model_validate(manifest).to_manifest()["spec"]


def test_printer_columns_show_the_main_figures(server: Server, stored: Any) -> None:
    pinned = BASES["RAGIndex"]["spec"] | {"versions": {"pin": {"digest": SHA}}}
    made = stored(BASES["RAGIndex"] | {"spec": pinned})
    url = server.url("RAGIndex", made["metadata"]["name"])
    version = {"digest": SHA, "label": "v1", "collection": "G0_0", "uri": "file:///a", "chunks": 7}
    when = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "True", "reason": "Promoted", "message": "", "lastTransitionTime": when}
    status = {"observedGeneration": 1, "state": "Ready", "active": version, "conditions": [ready]}
    status |= {"qualityText": "ndcg@10 0.801", "progressText": "done", "reasonText": "GateFailed"}
    server.http.put(f"{url}/status", json=made | {"status": status}).raise_for_status()
    table = server.http.get(url, headers={"Accept": TABLE}).json()
    shown = dict(zip([c["name"] for c in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
    assert shown.pop("Age")
    assert shown == {
        "Name": made["metadata"]["name"],
        "State": "Ready",
        "Progress": "done",
        "Quality": "ndcg@10 0.801",
        "Version": "v1",
        "Pin": SHA,
        "Chunks": 7,
        "Reason": "GateFailed",
    }


def test_kinds_are_found_by_category_and_short_name(server: Server) -> None:
    found = server.http.get(f"/apis/{GROUP}/{VERSION}").json()["resources"]
    main = {r["name"]: (r["shortNames"], r["categories"]) for r in found if "/" not in r["name"]}
    assert main == {k.plural: (list(k.short_names), ["gradatim"]) for k in KINDS}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_accepted(server: Server, path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        if manifest["apiVersion"].startswith(GROUP):
            assert server.judge(manifest) == ""
