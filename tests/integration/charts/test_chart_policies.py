"""The admission policies on a real API server, both ways: who is refused, and who goes through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.charts import CHART, GROUP, MERGE, NAMESPACE, OPERATOR, Body, Installed, eventually
from tests.support.spec_cases import BASES

LABELS = {"app.kubernetes.io/managed-by": "gradatim-operator"}
TEAM = f"{GROUP}/namespaces/team-a"
MAPS = "/api/v1/namespaces/team-a/configmaps"


@pytest.fixture(scope="module")
def index(installed: Installed) -> Iterator[Body]:
    """A RAGIndex of team-a, made by its editor."""
    body = BASES["RAGIndex"] | {"metadata": {"name": "policies", "namespace": "team-a", "labels": {"a": "b"}}}
    answer = installed.api.call("POST", f"{TEAM}/ragindices", body, user="editor")
    assert answer.status_code == 201, answer.text
    # Policies count within a second or two after their creation.
    eventually(lambda: write_status(installed, answer.json(), "admin").status_code == 403)
    yield answer.json()
    installed.api.call("DELETE", f"{TEAM}/ragindices/policies")


def write_status(installed: Installed, index: Body, user: str) -> Any:
    """Try to write the status of the index. The administrator's own rights are beyond every role's."""
    found = installed.api.get(f"{TEAM}/ragindices/{index['metadata']['name']}")
    body = found | {"status": {"observedGeneration": 1, "state": "Ready"}}
    if user != OPERATOR:
        user = ""  # system:masters: RBAC lets it pass, so that only the policy can refuse
    return installed.api.call("PUT", f"{TEAM}/ragindices/{index['metadata']['name']}/status", body, user=user, dry=True)


def frozen(owner: Body, **changes: Any) -> Body:
    """Return a ConfigMap as the operator makes it."""
    reference = {
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "RAGIndex",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"name": "frozen", "namespace": "team-a", "labels": LABELS, "ownerReferences": [reference]}
    return {"metadata": metadata | changes, "immutable": True, "data": {"config.json": "{}"}}


def test_nobody_but_the_operator_writes_status(installed: Installed, index: Body) -> None:
    refused = write_status(installed, index, "admin")
    assert (refused.status_code, "only the operator of Gradatim writes the status" in refused.text) == (403, True)
    assert write_status(installed, index, OPERATOR).status_code == 200


def test_the_operator_changes_its_finalizer_and_nothing_else(installed: Installed, index: Body) -> None:
    path = f"{TEAM}/ragindices/policies"
    ours, others = "gradatim.dev/cleanup", "example.com/keep"
    installed.api.call("PATCH", path, {"metadata": {"finalizers": [others]}}, content=MERGE).raise_for_status()

    def patch(body: Body) -> tuple[int, bool]:
        answer = installed.api.call("PATCH", path, body, user=OPERATOR, dry=True, content=MERGE)
        return answer.status_code, "changes its finalizer only" in answer.text

    assert patch({"metadata": {"finalizers": [others, ours]}}) == (200, False)
    assert patch({"metadata": {"finalizers": [ours]}}) == (403, True)
    assert patch({"metadata": {"finalizers": [others, "example.com/more"]}}) == (403, True)
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "gone", "uid": "gone"}
    assert patch({"metadata": {"ownerReferences": [owner]}}) == (403, True)
    assert patch({"spec": {"suspend": True}}) == (403, True)
    assert patch({"metadata": {"labels": {"a": "c"}}}) == (403, True)
    assert patch({"metadata": {"annotations": {"gradatim.dev/requested-at": "now"}}}) == (403, True)
    both = {"metadata": {"finalizers": [ours, others]}}
    installed.api.call("PATCH", path, both, content=MERGE).raise_for_status()
    assert patch({"metadata": {"finalizers": [others]}}) == (200, False)
    assert patch({"metadata": {"finalizers": None}}) == (403, True)
    installed.api.call("PATCH", path, {"metadata": {"finalizers": None}}, content=MERGE).raise_for_status()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({}, 201, id="labelled and owned"),
        pytest.param({"labels": {}}, 403, id="without its label"),
        pytest.param({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, 403, id="under another's label"),
        pytest.param({"ownerReferences": []}, 403, id="without an owner"),
        pytest.param(
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": True}]},
            403,
            id="owned by something else",
        ),
    ],
)
def test_the_operator_makes_config_maps_of_its_runs_only(
    installed: Installed, index: Body, changes: Body, code: int
) -> None:
    answer = installed.api.call("POST", MAPS, frozen(index, **changes), user=OPERATOR, dry=True)
    assert answer.status_code == code, answer.text
    if code == 403:
        assert "carries its label and belongs to an object of its kinds" in answer.text


def test_the_operator_cannot_remove_a_users_config_map(installed: Installed, index: Body) -> None:
    installed.api.create(MAPS, {"metadata": {"name": "users"}})
    answer = installed.api.call("DELETE", f"{MAPS}/users", user=OPERATOR, dry=True)
    assert (answer.status_code, "carries its label" in answer.text) == (403, True)
    assert installed.api.call("DELETE", f"{MAPS}/users", user="editor").status_code == 200


def test_nobody_forges_or_changes_the_inputs_of_a_run(installed: Installed, index: Body) -> None:
    api, said = installed.api, "are written by the operator only"
    forged = api.call("POST", MAPS, frozen(index), user="editor", dry=True)
    assert (forged.status_code, said in forged.text) == (403, True)
    api.create(MAPS, {"metadata": {"name": "own", "labels": {"team": "a"}}})
    labelled = api.call(
        "PATCH", f"{MAPS}/own", {"metadata": {"labels": LABELS}}, user="editor", dry=True, content=MERGE
    )
    assert (labelled.status_code, said in labelled.text) == (403, True)
    plain = api.call("PATCH", f"{MAPS}/own", {"data": {"a": "b"}}, user="editor", dry=True, content=MERGE)
    assert plain.status_code == 200
    assert api.call("POST", MAPS, frozen(index, name="kept"), user=OPERATOR).status_code == 201
    unlabelled = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}
    stripped = api.call("PATCH", f"{MAPS}/kept", unlabelled, user="editor", dry=True, content=MERGE)
    assert (stripped.status_code, said in stripped.text) == (403, True)
    assert api.call("DELETE", f"{MAPS}/kept", user="editor").status_code == 200


def test_the_inputs_of_a_run_may_be_written_back_unchanged(installed: Installed, index: Body) -> None:
    api, path = installed.api, f"{MAPS}/written-back"
    body = frozen(index, name="written-back", annotations={"a": "b"}) | {
        "immutable": False,
        "binaryData": {"x": "eA=="},
    }
    assert api.call("POST", MAPS, body, user=OPERATOR).status_code == 201
    found = api.get(path)

    def put(metadata: Body | None = None, **members: Any) -> int:
        changed = found | members | {"metadata": found["metadata"] | (metadata or {})}
        return api.call("PUT", path, changed, user="editor", dry=True).status_code

    assert put() == 200
    assert put(data={"config.json": "{} "}) == 403
    assert put(binaryData={"x": "eQ=="}) == 403
    assert put(immutable=True) == 403
    assert put({"labels": LABELS | {"a": "b"}}) == 403
    assert put({"annotations": {}}) == 403
    assert put({"ownerReferences": []}) == 403
    assert put({"finalizers": ["example.com/keep"]}) == 403
    assert api.call("DELETE", path, user="editor").status_code == 200


@pytest.mark.parametrize("policy", ["Background", "Orphan"])
def test_the_garbage_collector_still_does_its_work(installed: Installed, policy: str) -> None:
    api, name = installed.api, f"collected-{policy.lower()}"
    body = BASES["Dataset"] | {"metadata": {"name": name, "namespace": "team-a"}}
    owner = api.call("POST", f"{TEAM}/datasets", body, user="editor").json()
    owned = frozen(owner, name=name)
    owned["metadata"]["ownerReferences"][0]["kind"] = "Dataset"
    assert api.call("POST", MAPS, owned, user=OPERATOR).status_code == 201
    api.call("DELETE", f"{TEAM}/datasets/{name}", {"propagationPolicy": policy}, user="editor").raise_for_status()
    if policy == "Background":
        eventually(lambda: not api.exists(f"{MAPS}/{name}"))
    else:
        eventually(lambda: not api.exists(f"{TEAM}/datasets/{name}"))
        assert "ownerReferences" not in api.get(f"{MAPS}/{name}")["metadata"]


@pytest.mark.parametrize(
    ("user", "namespace", "code"),
    [
        pytest.param("editor", "team-a", 201, id="one whom a RoleBinding of the namespace lets use it"),
        pytest.param("lead", "team-b", 201, id="one whom the chart's value lets use it everywhere"),
        pytest.param("stranger", "team-a", 403, id="one who may edit and not use"),
    ],
)
def test_a_profile_is_used_by_those_who_may(installed: Installed, user: str, namespace: str, code: int) -> None:
    for kind, plural in (("RAGIndex", "ragindices"), ("Dataset", "datasets")):
        body = BASES[kind] | {"metadata": {"name": "use", "namespace": namespace}}
        answer = installed.api.call("POST", f"{GROUP}/namespaces/{namespace}/{plural}", body, user=user, dry=True)
        assert answer.status_code == code, answer.text
        if code == 403:
            assert f"{user} may not use the ComputeProfile default in namespace {namespace}" in answer.text


def test_another_profile_is_a_question_of_its_own(installed: Installed, index: Body) -> None:
    path = f"{TEAM}/ragindices/policies"

    def patch(spec: Body) -> int:
        return installed.api.call("PATCH", path, {"spec": spec}, user="editor", dry=True, content=MERGE).status_code

    assert patch({"compute": {"profileRef": {"name": "gpu"}}}) == 403
    assert patch({"compute": {"workers": 2}}) == 200
    assert patch({"suspend": True}) == 200


def test_who_may_no_longer_use_a_profile_may_still_edit_what_uses_it(installed: Installed, index: Body) -> None:
    answer = installed.api.call(
        "PATCH", f"{TEAM}/ragindices/policies", {"spec": {"suspend": True}}, user="later", dry=True, content=MERGE
    )
    assert answer.status_code == 200, answer.text


def test_the_pods_of_the_chart_pass_the_restricted_standard(installed: Installed) -> None:
    api = installed.api
    for path in ("deployments/gradatim-operator", "statefulsets/gradatim-weaviate"):
        template = api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/{path}")["spec"]["template"]
        volumes = list(template["spec"].get("volumes", []))
        mounts = template["spec"]["containers"][0]["volumeMounts"]
        if "statefulsets" in path:
            volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": "data"}})
        assert {m["name"] for m in mounts} == {v["name"] for v in volumes}
        pod = {"metadata": {"name": "try"}, "spec": template["spec"] | {"volumes": volumes}}
        answer = api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod, dry=True)
        assert answer.status_code == 201, answer.text
        assert "warning" not in answer.headers


def test_weaviates_workload_secret_lies_in_the_workload_namespace_and_survives_upgrades(installed: Installed) -> None:
    own, copy = (
        installed.api.get(f"/api/v1/namespaces/{namespace}/secrets/gradatim-weaviate-workload")
        for namespace in (NAMESPACE, "team-a")
    )
    assert own["data"] == copy["data"]
    # Without a key `hosts` no source can send it anywhere: it is the platform's own.
    assert set(copy["data"]) == {"api-key"}
    installed.helm.ok("upgrade", "gradatim", str(CHART), "-n", NAMESPACE, "--reuse-values")
    again = installed.api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/gradatim-weaviate-workload")
    assert again["data"] == own["data"]
