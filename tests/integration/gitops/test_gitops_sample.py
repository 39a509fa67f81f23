"""The sample repository: kustomize builds every folder of it, Flux and the API server accept what it builds."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import yaml
from tests.support.gitops_tool import GITOPS, Body, GitOpsTool

from gradatim.api import GROUP, VERSION

SAMPLE = GITOPS / "sample"
ENVIRONMENTS = ("dev", "staging", "prod")
FOLDERS = sorted(path.parent for path in SAMPLE.rglob("kustomization.yaml"))
PATHS = {
    "ComputeProfile": f"/apis/{GROUP}/{VERSION}/computeprofiles",
    "Dataset": f"/apis/{GROUP}/{VERSION}/namespaces/support/datasets",
    "RAGIndex": f"/apis/{GROUP}/{VERSION}/namespaces/support/ragindices",
    "ConfigMap": "/api/v1/namespaces/support/configmaps",
    "Namespace": "/api/v1/namespaces",
    "ResourceQuota": "/api/v1/namespaces/support/resourcequotas",
    "ServiceAccount": "/api/v1/namespaces/support/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/support/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/support/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
}
DEPLOYER = {
    "Impersonate-User": "system:serviceaccount:support:deployer",
    "Impersonate-Group": "system:serviceaccounts:support",
}


@pytest.fixture(scope="module")
def built(gitops: GitOpsTool) -> dict[str, list[Body]]:
    return {path.removeprefix("sample/"): objects for path, objects in gitops.built(FOLDERS).items()}


def of_kind(objects: list[Body], *kinds: str) -> list[Body]:
    """Return the objects of these kinds."""
    return [body for body in objects if body["kind"] in kinds]


@pytest.fixture(scope="module")
def tenant(admin: httpx.Client, built: dict[str, list[Body]]) -> Iterator[None]:
    """The namespace of the sample with its rights, as `tenants` and `profiles` of an environment make them."""
    wanted = [*built["overlays/dev/tenants"], *built["overlays/dev/profiles"]]
    # The controller takes its time to count custom resources, and until then nothing is admitted: the quota is only tried out.
    wanted = [body for body in wanted if body["kind"] != "ResourceQuota"]
    wanted.sort(key=lambda body: body["kind"] != "Namespace")
    made: list[str] = []
    try:
        for body in wanted:
            answer = admin.post(PATHS[body["kind"]], params={"fieldValidation": "Strict"}, json=body)
            assert answer.status_code == 201, answer.text
            made.append(f"{PATHS[body['kind']]}/{body['metadata']['name']}")
        yield
    finally:
        for path in reversed(made):
            admin.delete(path)


def test_every_folder_builds(built: dict[str, list[Body]]) -> None:
    kinds = {path: sorted({body["kind"] for body in objects}) for path, objects in built.items()}
    platform = ["ClusterRole", "ComputeProfile"]
    tenants = ["Namespace", "ResourceQuota", "Role", "RoleBinding", "ServiceAccount"]
    for environment in ENVIRONMENTS:
        assert kinds[f"overlays/{environment}/profiles"] == platform
        assert kinds[f"overlays/{environment}/tenants"] == tenants
        assert kinds[f"overlays/{environment}/indexes"] == ["ConfigMap", "Dataset", "RAGIndex"]
        assert kinds[f"clusters/{environment}/argocd"] == ["AppProject", "Application"]
        assert kinds[f"clusters/{environment}/flux"] == ["GitRepository", "Kustomization"]
        assert kinds[f"clusters/{environment}/flux-tenants"] == sorted([*tenants, "GitRepository", "Kustomization"])
    assert len(kinds) == 27


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_api_server_accepts(admin: httpx.Client, built: dict[str, list[Body]], tenant: None, environment: str) -> None:
    objects = [body for part in ("profiles", "tenants", "indexes") for body in built[f"overlays/{environment}/{part}"]]
    options = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": "gitops", "force": "true"}
    for body in objects:
        url = f"{PATHS[body['kind']]}/{body['metadata']['name']}"
        if body["kind"] == "ComputeProfile":  # its store is immutable, so that each environment makes one of its own
            url, body["metadata"]["name"] = f"{url}-{environment}", f"{body['metadata']['name']}-{environment}"
        answer = admin.patch(url, params=options, json=body, headers={"Content-Type": "application/apply-patch+yaml"})
        assert answer.is_success, answer.text
        assert "warning" not in answer.headers
    assert len(of_kind(objects, "ComputeProfile", "Dataset", "RAGIndex")) == 3


def test_deployer_may_apply_the_indexes_and_nothing_else(
    admin: httpx.Client, built: dict[str, list[Body]], tenant: None
) -> None:
    codes: dict[str, int] = {}
    for body in built["overlays/dev/indexes"]:
        answer = admin.post(PATHS[body["kind"]], params={"dryRun": "All"}, json=body, headers=DEPLOYER)
        codes[body["kind"]] = answer.status_code
    dataset = of_kind(built["overlays/dev/indexes"], "Dataset")[0]
    foreign = dataset | {"metadata": {"name": "articles", "namespace": "default"}}
    codes["elsewhere"] = admin.post(
        PATHS["Dataset"].replace("support", "default"), params={"dryRun": "All"}, json=foreign, headers=DEPLOYER
    ).status_code
    codes["secrets"] = admin.get("/api/v1/namespaces/support/secrets", headers=DEPLOYER).status_code
    profile = of_kind(built["overlays/dev/profiles"], "ComputeProfile")[0] | {"metadata": {"name": "own"}}
    codes["profile"] = admin.post(
        PATHS["ComputeProfile"], params={"dryRun": "All"}, json=profile, headers=DEPLOYER
    ).status_code
    assert codes == {
        "ConfigMap": 201, "Dataset": 201, "RAGIndex": 201, "elsewhere": 403, "secrets": 403, "profile": 403,
    }  # fmt: skip


def test_generated_name_of_the_suite_reaches_the_dataset(built: dict[str, list[Body]]) -> None:
    objects = built["overlays/prod/indexes"]
    suite, dataset = of_kind(objects, "ConfigMap")[0], of_kind(objects, "Dataset")[0]
    assert dataset["spec"]["validation"]["suiteRef"]["name"] == suite["metadata"]["name"]
    assert suite["metadata"]["name"].startswith("article-suite-")


def test_production_is_not_pruned(built: dict[str, list[Body]]) -> None:
    data = of_kind(built["overlays/prod/indexes"], "Dataset", "RAGIndex")
    notes = [body["metadata"]["annotations"] for body in data]
    assert len(notes) == 2
    assert all(n["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false" for n in notes)
    assert all(n["kustomize.toolkit.fluxcd.io/prune"] == "disabled" for n in notes)


def flux_objects(built: dict[str, list[Body]], environment: str) -> list[Body]:
    """Return Flux's own objects of an environment."""
    parts = (f"clusters/{environment}/flux", f"clusters/{environment}/flux-tenants", "clusters/base/flux-platform")
    return of_kind([b for part in parts for b in built[part]], "Kustomization", "HelmRelease", "GitRepository")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_flux_knows_every_field_of(gitops: GitOpsTool, built: dict[str, list[Body]], environment: str) -> None:
    objects = flux_objects(built, environment)
    gitops.judge_flux(objects)
    assert len(objects) == 9
    wrong = objects[0] | {"spec": objects[0]["spec"] | {"noSuchField": True}}
    with pytest.raises(RuntimeError, match="noSuchField"):
        gitops.judge_flux([wrong])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_flux_goes_in_order_and_asks_for_health_as_documented(built: dict[str, list[Body]], environment: str) -> None:
    expressions = yaml.safe_load((GITOPS / "flux/health-checks.yaml").read_text())["healthCheckExprs"]
    found = {b["metadata"]["name"]: b["spec"] for b in flux_objects(built, environment) if b["kind"] != "GitRepository"}
    order = {name: [d["name"] for d in spec.get("dependsOn", [])] for name, spec in found.items()}
    assert order == {
        "gradatim-crds": [],
        "gradatim": ["gradatim-crds"],
        "gradatim-platform": [],
        "gradatim-profiles": ["gradatim-platform"],
        "gradatim-tenants": ["gradatim-profiles"],
        "support-indexes": [],  # made by gradatim-tenants
    }
    asked = [e for spec in found.values() for e in spec.get("healthCheckExprs", [])]
    assert sorted(e["kind"] for e in asked) == ["ComputeProfile", "Dataset", "RAGIndex"]
    assert all(e in expressions for e in asked)
    paths = [spec["path"] for spec in found.values() if "path" in spec]
    assert all((SAMPLE / path / "kustomization.yaml").is_file() for path in paths)
    assert [p for p in paths if environment in p] == [p for p in paths if "base" not in p]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_argo_cd_goes_in_order(built: dict[str, list[Body]], environment: str) -> None:
    objects = built[f"clusters/{environment}/argocd"]
    projects = {b["metadata"]["name"]: b["spec"] for b in of_kind(objects, "AppProject")}
    applications = of_kind(objects, "Application")
    applications.sort(key=lambda b: int(b["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]))
    assert [b["metadata"]["name"] for b in applications] == [
        "gradatim-crds", "gradatim", "gradatim-profiles", "gradatim-tenants", "support-indexes",
    ]  # fmt: skip
    for body in applications:
        spec = body["spec"]
        assert spec["source"]["repoURL"] in projects[spec["project"]]["sourceRepos"]
        assert "ServerSideApply=true" in spec["syncPolicy"]["syncOptions"]
        root = SAMPLE if "fleet" in spec["source"]["repoURL"] else GITOPS.parents[1]
        assert (root / spec["source"]["path"]).is_dir()
    assert [e["managedFieldsManagers"] for e in applications[-1]["spec"]["ignoreDifferences"]] == [
        ["gradatim-operator"]
    ] * 2
    allowed = {e["kind"] for e in projects["support"]["namespaceResourceWhitelist"]}
    assert {b["kind"] for b in built[f"overlays/{environment}/indexes"]} == allowed
