"""Install, upgrade, roll back, remove and install again, with objects that live through all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.charts import (
    ADMISSION,
    CHART,
    CRDS,
    DEFINITIONS,
    GROUP,
    NAMESPACE,
    OPERATOR,
    RBAC,
    Api,
    Body,
    Installed,
    bare_cluster,
    eventually,
)
from tests.support.spec_cases import BASES, PROFILE

from gradatim.api import kind_of

OBJECTS = {
    "computeprofiles": f"{GROUP}/computeprofiles/default",
    "datasets": f"{GROUP}/namespaces/team-a/datasets/rows",
    "ragindices": f"{GROUP}/namespaces/team-a/ragindices/handbook",
}
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/gradatim-operator"
VALUES = {"computeProfile": {"create": True, "spec": PROFILE["spec"]}, "weaviate": {"enabled": True}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A cluster with the two namespaces and nothing else."""
    with bare_cluster(tmp_path_factory.mktemp("lifecycle")) as (state, api, helm):
        for name in (NAMESPACE, "team-a", "elsewhere"):
            api.namespace(name)
        yield Installed(state, api, helm)


def identities(api: Api) -> dict[str, tuple[str, ...]]:
    """Return what a change would change; of the users' objects every write at all. Helm applies its own profile anew each time."""
    found = {plural: api.get(path) for plural, path in OBJECTS.items()}
    return {
        plural: (body["metadata"]["uid"], str(body["metadata"]["generation"]))
        + (() if plural == "computeprofiles" else (body["metadata"]["resourceVersion"],))
        for plural, body in found.items()
    }


def environment(api: Api) -> dict[str, Any]:
    container = api.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]
    return {"image": container["image"]} | {e["name"]: e.get("value") for e in container["env"]}


def test_the_life_of_a_release(cluster: Installed) -> None:
    """One sequence on purpose: each step starts from what the one before left."""
    api, helm = cluster.api, cluster.helm

    said = helm.refused("install", "gradatim", str(CHART), "-n", NAMESPACE)
    assert "install the chart gradatim-crds of the same version first" in said

    helm.ok("install", "gradatim-crds", str(DEFINITIONS), "-n", NAMESPACE)
    eventually(lambda: api.exists(f"{GROUP}/ragindices"))
    notes = helm.ok("install", "gradatim", str(CHART), "-n", NAMESPACE, values=VALUES)
    assert "works in all namespaces" in notes
    assert "To remove data as well, delete the objects first" in notes
    first = environment(api)
    keys = api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/gradatim-weaviate-operator")["data"]
    for kind, name in (("Dataset", "rows"), ("RAGIndex", "handbook")):
        metadata = {"name": name, "namespace": "team-a", "finalizers": ["gradatim.dev/cleanup"]}
        api.create(OBJECTS[kind_of(kind).plural].rsplit("/", 1)[0], BASES[kind] | {"metadata": metadata})
    before = identities(api)

    said = helm.refused("install", "second", str(CHART), "-n", "elsewhere")
    assert "gradatim" in said
    assert "invalid ownership metadata" in said or "conflict" in said or "exists" in said

    changed = VALUES | {"image": {"tag": "0.2.0"}, "operator": {"workers": 4}, "policies": {"profileUse": False}}
    helm.ok("upgrade", "gradatim-crds", str(DEFINITIONS), "-n", NAMESPACE)
    helm.ok("upgrade", "gradatim", str(CHART), "-n", NAMESPACE, values=changed)
    assert identities(api) == before
    assert environment(api) == first | {"image": "gradatim/operator:0.2.0", "GRADATIM_WORKERS": "4"}
    assert not api.exists(f"{ADMISSION}/validatingadmissionpolicies/gradatim-profile-use")

    helm.ok("rollback", "gradatim", "1", "-n", NAMESPACE)
    assert identities(api) == before
    assert environment(api) == first
    assert api.exists(f"{ADMISSION}/validatingadmissionpolicies/gradatim-profile-use")

    said = helm.ok("uninstall", "gradatim", "-n", NAMESPACE)
    assert "ComputeProfile" in said
    said += helm.ok("uninstall", "gradatim-crds", "-n", NAMESPACE)
    assert "CustomResourceDefinition" in said
    assert identities(api) == before
    assert len(ours(api.get(CRDS))) == 3
    left = [f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings", f"{ADMISSION}/validatingadmissionpolicies"]
    assert [item["metadata"]["name"] for path in left for item in ours(api.get(path))] == []
    assert not api.exists(DEPLOYMENT)

    helm.ok("install", "gradatim-crds", str(DEFINITIONS), "-n", NAMESPACE)
    helm.ok("install", "gradatim", str(CHART), "-n", NAMESPACE, values=VALUES)
    assert identities(api) == before
    assert api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/gradatim-weaviate-operator")["data"] == keys
    eventually(lambda: status_refused(api))


def ours(listing: Body) -> list[Body]:
    """Return the objects of a list that bear the name of the project."""
    return [item for item in listing["items"] if "gradatim" in item["metadata"]["name"]]


def status_refused(api: Api) -> bool:
    """Return whether the policies of the new installation are in force, and let the operator through."""
    body = api.get(OBJECTS["datasets"]) | {"status": {"observedGeneration": 1, "state": "Ready"}}
    path = f"{OBJECTS['datasets']}/status"
    assert api.call("PUT", path, body, user=OPERATOR, dry=True).status_code == 200
    return api.call("PUT", path, body, dry=True).status_code == 403
