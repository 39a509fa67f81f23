"""What Helm makes of the chart without a cluster: lint, golden manifests of four sets of values, wrong values."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.charts import CHART, DEFINITIONS, NAMESPACE, Body, Helm
from tests.support.spec_cases import PROFILE

GOLDEN = Path(__file__).parent / "golden"
MONITORING = ("--api-versions", "monitoring.coreos.com/v1")
DIGEST = "sha256:" + "1" * 64
SETS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "defaults": ({}, ()),
    "namespaced": (
        {
            "watchNamespaces": ["team-a", "team-b"],
            "workloadNamespaces": ["team-a"],
            "image": {"digest": DIGEST},
            "policies": {"profileUse": False, "trustedUsers": ["velero"], "trustedGroups": ["break-glass"]},
            "networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1/32"]}, "dependencies": {"cidrs": ["10.0.0.0/8"]}},
            "operator": {"settings": {"GRADATIM_STORE_READS_PER_SECOND": 20}},
        },
        (),
    ),
    "observed": (
        {
            "metrics": {
                "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
                "alerts": {"enabled": True},
                "dashboards": {"enabled": True},
            },
            "computeProfile": {
                "create": True,
                "spec": PROFILE["spec"],
                "users": [
                    {"kind": "Group", "name": "data-science"},
                    {"kind": "ServiceAccount", "name": "argocd", "namespace": "argocd"},
                ],
            },
        },
        MONITORING,
    ),
    "weaviate": (
        {
            "rbac": {"create": False, "userRoles": False},
            "serviceAccount": {"create": False, "name": "mine"},
            "policies": {"enabled": False},
            "podDisruptionBudget": {"enabled": False},
            "workloadNamespaces": ["team-a"],
            "weaviate": {
                "enabled": True,
                "existingSecrets": {"operator": "keys-operator", "workload": "keys-workload"},
                "storage": {"storageClassName": "fast"},
            },
        },
        (),
    ),
}


def shortened(value: object) -> object:
    """Return the value with long texts, such as dashboards, replaced by their digest."""
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shortened(inner) for inner in value]
    if isinstance(value, str) and len(value) > 2000:
        return "sha256:" + hashlib.sha256(value.encode()).hexdigest()
    return value


@pytest.mark.parametrize("name", SETS)
def test_the_manifests_are_the_golden_ones(helm: Helm, name: str) -> None:
    values, arguments = SETS[name]
    found = yaml.safe_dump_all(map(shortened, helm.template(values, *arguments)), sort_keys=True, width=120)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("GRADATIM_UPDATE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text(), "set GRADATIM_UPDATE_GOLDEN=1 to accept, and read the difference"


@pytest.mark.parametrize("name", SETS)
def test_every_object_is_labelled_and_lies_where_it_should(helm: Helm, name: str) -> None:
    values, arguments = SETS[name]
    cluster_wide = {
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ComputeProfile",
    }
    seen = set()
    for item in helm.template(values, *arguments):
        key = (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        assert key not in seen
        seen.add(key)
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "gradatim", key
        assert ("namespace" in item["metadata"]) != (item["kind"] in cluster_wide), key
        assert item["metadata"].get("namespace", NAMESPACE) in {
            NAMESPACE,
            *values.get("watchNamespaces", []),
            "team-a",
            "default",
        }


@pytest.mark.parametrize("chart", [CHART, DEFINITIONS], ids=lambda path: path.name)
def test_lint_finds_nothing(helm: Helm, chart: Path) -> None:
    assert "0 chart(s) failed" in helm.ok("lint", "--strict", str(chart))


@pytest.mark.parametrize("command", ["lint", "template"])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"watchNamespace": ["a"]}, "watchNamespace", id="a typo at the top"),
        pytest.param({"image": {"tga": "1"}}, "tga", id="a typo in a group"),
        pytest.param({"operator": {"workers": "many"}}, "workers", id="a text for a number"),
        pytest.param({"computeProfile": {"create": True}}, "computeProfile/spec", id="a profile without a spec"),
    ],
)
def test_a_wrong_value_is_refused_and_named(helm: Helm, command: str, values: Body, said: str) -> None:
    words = ["template", "gradatim", str(CHART)] if command == "template" else ["lint", str(CHART)]
    done = helm.run(*words, values=values)
    assert done.returncode != 0
    assert said in done.stderr + done.stdout


def test_workloads_where_no_run_can_start_are_refused(helm: Helm) -> None:
    """Lint passes over what a template refuses, so this one is for rendering alone."""
    said = helm.refused("template", "a", str(CHART), values={"watchNamespaces": ["a"], "workloadNamespaces": ["b"]})
    assert "workloadNamespaces has b, which is not in watchNamespaces" in said


def test_without_the_prometheus_operator_its_kinds_are_left_out(helm: Helm) -> None:
    values, _ = SETS["observed"]
    kinds = {item["kind"] for item in helm.template(values)}
    assert kinds & {"ServiceMonitor", "PrometheusRule"} == set()


def test_a_release_watching_namespaces_has_no_right_on_them_from_a_cluster_role(helm: Helm) -> None:
    values, _ = SETS["namespaced"]
    made = helm.template(values)
    cluster = [
        r
        for item in made
        if item["kind"] == "ClusterRole" and item["metadata"]["name"] == "gradatim-operator"
        for r in item["rules"]
    ]
    assert {name for rule in cluster for name in rule["resources"]} == {"computeprofiles", "computeprofiles/status"}
    roles = {(i["metadata"]["namespace"], i["metadata"]["name"]) for i in made if i["kind"] == "Role"}
    assert roles == {
        (NAMESPACE, "gradatim-operator-own"),
        ("default", "gradatim-operator-events"),
        ("team-a", "gradatim-operator"),
        ("team-b", "gradatim-operator"),
    }


def test_what_holds_data_or_keys_is_kept_on_uninstall(helm: Helm) -> None:
    made = helm.template({**SETS["observed"][0], "weaviate": {"enabled": True}}, *MONITORING)
    kept = {
        (item["kind"], item["metadata"]["name"])
        for item in made
        if item["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == {
        ("ComputeProfile", "default"),
        ("Secret", "gradatim-weaviate-operator"),
        ("Secret", "gradatim-weaviate-workload"),
    }
    definitions = [d for d in yaml.safe_load_all(helm.ok("template", "crds", str(DEFINITIONS))) if d]
    assert {d["metadata"]["annotations"]["helm.sh/resource-policy"] for d in definitions} == {"keep"}
    [stateful] = [item for item in made if item["kind"] == "StatefulSet"]
    assert stateful["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"


def test_alerts_reach_prometheus_as_they_are_written(helm: Helm) -> None:
    values, arguments = SETS["observed"]
    [rule] = [item for item in helm.template(values, *arguments) if item["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    boards = [i for i in helm.template(values, *arguments) if i["metadata"]["name"].startswith("gradatim-dashboard-")]
    assert len(boards) == 2
    assert all(json.loads(text)["uid"] for item in boards for text in item["data"].values())
