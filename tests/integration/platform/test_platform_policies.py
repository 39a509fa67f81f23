"""The local platform applies the same rights and policies to the operator and to users as the chart does; its owner stands above them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest
from tests.support.charts import GROUP, MERGE, RBAC, Api, Body, eventually
from tests.support.spec_cases import BASES

from gradatim.platform import PlatformState, health, pki
from gradatim.platform.dirs import Layout
from gradatim.platform.pki import OPERATOR_USER


@pytest.fixture(scope="module")
def api(apiserver: PlatformState) -> Iterator[Api]:
    context = health.tls_context(Layout(apiserver.state_dir), pki.CLUSTER_CA, "admin")
    with httpx.Client(base_url=apiserver.api_server, verify=context, trust_env=False, timeout=30.0) as client:
        yield Api(client)


@pytest.fixture
def team(api: Api) -> Iterator[str]:
    """A namespace with one Dataset, and a guest who may do everything to our kinds in it by RBAC."""
    name = f"policies-{uuid.uuid4().hex[:6]}"
    api.namespace(name)
    rules = [{"apiGroups": ["gradatim.dev"], "resources": ["datasets", "datasets/status"], "verbs": ["*"]}]
    api.create(f"{RBAC}/namespaces/{name}/roles", {"metadata": {"name": "guest"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "guest"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "guest"}]
    binding = {"metadata": {"name": "guest"}, "roleRef": reference, "subjects": subjects}
    api.create(f"{RBAC}/namespaces/{name}/rolebindings", binding)
    api.create(
        f"{GROUP}/namespaces/{name}/datasets", BASES["Dataset"] | {"metadata": {"name": "one", "namespace": name}}
    )
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}").raise_for_status()


def test_the_owner_may_and_a_guest_may_not(api: Api, team: str) -> None:
    path = f"{GROUP}/namespaces/{team}/datasets"
    another = BASES["Dataset"] | {"metadata": {"name": "two", "namespace": team}}
    status = api.get(f"{path}/one") | {"status": {"observedGeneration": 1, "state": "Ready"}}

    def put(user: str) -> int:
        return api.call("PUT", f"{path}/one/status", status, user=user, dry=True).status_code

    eventually(lambda: put("guest") == 403)
    assert (put(""), put(OPERATOR_USER)) == (200, 200)
    assert api.call("POST", path, another, dry=True).status_code == 201
    refused = api.call("POST", path, another, user="guest", dry=True)
    assert (refused.status_code, "may not use the ComputeProfile default" in refused.text) == (403, True)


def test_the_operators_user_keeps_to_its_own(api: Api, team: str) -> None:
    path = f"{GROUP}/namespaces/{team}/datasets/one"
    maps = f"/api/v1/namespaces/{team}/configmaps"

    def patch(body: Body) -> int:
        return api.call("PATCH", path, body, user=OPERATOR_USER, dry=True, content=MERGE).status_code

    eventually(lambda: patch({"spec": {"suspend": True}}) == 403)
    assert patch({"metadata": {"finalizers": ["gradatim.dev/cleanup"]}}) == 200
    answer = api.call("POST", maps, {"metadata": {"name": "mine"}}, user=OPERATOR_USER, dry=True)
    assert (answer.status_code, "carries its label" in answer.text) == (403, True)
