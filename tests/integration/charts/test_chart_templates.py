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


def alerts(helm: Helm, **operator: Any) -> dict[str, str]:
    """Return the expressions of the alerts with these values of `operator`."""
    values, arguments = SETS["observed"]
    made = helm.template({**values, "operator": operator}, *arguments)
    [rule] = [item for item in made if item["kind"] == "PrometheusRule"]
    return {r["alert"]: r["expr"] for group in rule["spec"]["groups"] for r in group["rules"]}


@pytest.mark.parametrize(
    ("seconds", "window"),
    [
        pytest.param(10, "30m", id="often"),
        pytest.param(450, "30m", id="as often as half an hour bears"),
        pytest.param(451, "31m", id="a little less"),
        pytest.param(3600, "240m", id="hourly"),
    ],
)
def test_the_alert_about_resyncs_looks_back_far_enough(helm: Helm, seconds: int, window: str) -> None:
    found = alerts(helm, resyncSeconds=seconds)
    assert found["GradatimResyncStopped"] == f"increase(gradatim_resync_total[{window}]) == 0"


@pytest.mark.parametrize(
    ("limit", "size"),
    [
        pytest.param("512Mi", 536870912, id="the default"),
        pytest.param("2Gi", 2147483648, id="gibibytes"),
        pytest.param("1.5G", 1500000000, id="a fraction of gigabytes"),
        pytest.param("750000Ki", 768000000, id="kibibytes"),
        pytest.param("1e9", 1000000000, id="an exponent"),
        pytest.param(805306368, 805306368, id="a number of bytes"),
        pytest.param("805306368000m", 805306368, id="thousandths, as some tools write them"),
    ],
)
def test_the_alert_about_memory_follows_the_limit(helm: Helm, limit: str | int, size: int) -> None:
    found = alerts(helm, resources={"limits": {"memory": limit}})["GradatimMemoryHigh"]
    assert found == f'process_resident_memory_bytes{{job=~".*gradatim-operator.*"}} > 0.8 * {size}'


@pytest.mark.parametrize("limits", [None, {"memory": None}], ids=["no limits", "no limit of memory"])
def test_without_a_limit_there_is_no_alert_about_memory(helm: Helm, limits: Body | None) -> None:
    missing = alerts(helm).keys() - alerts(helm, resources={"limits": limits}).keys()
    assert missing == {"GradatimMemoryHigh"}


def test_a_limit_that_is_no_quantity_is_refused(helm: Helm) -> None:
    values = {**SETS["observed"][0], "operator": {"resources": {"limits": {"memory": "much"}}}}
    said = helm.refused("template", "a", str(CHART), *MONITORING, values=values)
    assert "operator.resources.limits.memory is much, which is no quantity of memory" in said


@pytest.mark.parametrize(
    ("dns", "blocks"),
    [
        pytest.param({}, ["169.254.20.10/32", "169.254.169.254/32"], id="the resolvers of GKE's nodes"),
        pytest.param({"cidrs": ["10.0.0.10/32"]}, ["10.0.0.10/32"], id="another one"),
        pytest.param({"cidrs": []}, [], id="none"),
    ],
)
def test_resolvers_on_the_nodes_are_reached_on_the_port_of_dns_only(helm: Helm, dns: Body, blocks: list[str]) -> None:
    values = {
        "networkPolicy": {
            "dns": dns,
            "apiServer": {"cidrs": ["10.0.0.1/32"]},
            "dependencies": {"cidrs": ["10.0.0.0/8"]},
        },
        "weaviate": {"enabled": True},
        "workloadNamespaces": ["team-a"],
    }
    rules = [r for i in helm.template(values) if i["kind"] == "NetworkPolicy" for r in i["spec"].get("egress", [])]
    [names] = [rule for rule in rules if 53 in {port["port"] for port in rule["ports"]}]
    assert names == {
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
        "to": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
            *({"ipBlock": {"cidr": block}} for block in blocks),
        ],
    }
    assert "169.254" not in json.dumps([rule for rule in rules if rule is not names])


def test_alerts_reach_prometheus_as_they_are_written(helm: Helm) -> None:
    values, arguments = SETS["observed"]
    [rule] = [item for item in helm.template(values, *arguments) if item["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    boards = [i for i in helm.template(values, *arguments) if i["metadata"]["name"].startswith("gradatim-dashboard-")]
    assert len(boards) == 2
    assert all(json.loads(text)["uid"] for item in boards for text in item["data"].values())
