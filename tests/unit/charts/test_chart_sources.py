"""The chart without Helm: its values and their schema, its rights and policies, its dashboards and alerts, the pages about them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prometheus_client import Counter, Histogram

from gradatim.api.kinds import KINDS
from gradatim.api.meta import LABEL_MANAGED_BY, MANAGER
from gradatim.operator.metrics import Metrics
from gradatim.operator.settings import load
from gradatim.platform import objects
from gradatim.platform.chart import documents, operator_rules

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "gradatim"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
ALERTS = [
    rule for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
METRICS_PAGE = (ROOT / "docs" / "operations" / "metrics.md").read_text()
PROCESS = {
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
}
UP = {"up"}


def metric_names() -> dict[str, set[str]]:
    """Return every series name the operator serves, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(Metrics()).values():
        if not hasattr(metric, "_labelnames"):
            continue
        labels = set(metric._labelnames)
        if isinstance(metric, Counter):
            found[f"{metric._name}_total"] = labels
        elif isinstance(metric, Histogram):
            found |= {
                f"{metric._name}_bucket": {*labels, "le"},
                f"{metric._name}_sum": labels,
                f"{metric._name}_count": labels,
            }
        else:
            found[metric._name] = labels
    return found


def base(name: str) -> str:
    """Return the name under which the page lists a series."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every query of a dashboard or an alert, with where it stands."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.name}: {panel['title']}", target["expr"]
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


def used(expression: str) -> Mapping[str, set[str]]:
    """Return the series of a query and the labels that select or group them."""
    names = set(re.findall(r"\b(?:gradatim|process)_[a-z_]+|\bup\b", re.sub(r'"[^"]*"', '""', expression)))
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", labels)}
    return {
        name: grouped | set(re.findall(r"(\w+)\s*[=!]~?\s*\"", "".join(re.findall(rf"{name}{{([^}}]*)}}", expression))))
        for name in names
    }


def leaves(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, known in schema.get("properties", {}).items():
        yield f"{path}{name}", known
        yield from leaves(known, f"{path}{name}.")


def test_the_defaults_satisfy_the_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


def test_every_value_of_the_schema_is_in_the_values_and_has_a_meaning() -> None:
    missing = []
    for path, known in leaves(SCHEMA):
        assert known.get("description") or "resources." in path or ".items" in path, path
        if path == "global" or "resources." in path:
            continue
        place: Any = VALUES
        for part in path.split("."):
            place = place.get(part, KeyError) if isinstance(place, dict) else KeyError
        if place is KeyError:
            missing.append(path)
    assert missing == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("watchNamespace", ["a"], id="a value without its plural"),
        pytest.param("image.tga", "1", id="a typo in a group"),
        pytest.param("image.digest", "latest", id="a digest that is none"),
        pytest.param("watchNamespaces", ["Not_A_Namespace"], id="a name that no namespace has"),
        pytest.param("operator.settings", {"LD_PRELOAD": "x"}, id="a setting that is not the operator's"),
        pytest.param("operator.settings", {"GRADATIM_TEST_RUNTIME": "instant"}, id="the runtime of the tests"),
        pytest.param("operator.settings", {"GRADATIM_LISTEN": "::"}, id="a setting that has a value of its own"),
        pytest.param("policies.validationActions", [], id="policies that do nothing"),
        pytest.param(
            "computeProfile.users", [{"kind": "ServiceAccount", "name": "a"}], id="an account without a namespace"
        ),
        pytest.param("computeProfile.create", True, id="a profile without a spec"),
        pytest.param("operator.workers", "16", id="a number as text"),
        pytest.param("networkPolicy.dns.cidrs", ["169.254.20.10"], id="an address without its size"),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: object) -> None:
    values = json.loads(json.dumps(VALUES))
    place = values
    *groups, name = path.split(".")
    for group in groups:
        place = place[group]
    place[name] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_every_object_in_the_schema_is_closed() -> None:
    open_ones = [
        path
        for path, known in leaves(SCHEMA)
        if known.get("properties") and known.get("additionalProperties") is not False
    ]
    assert open_ones == []
    assert SCHEMA["additionalProperties"] is False


def test_the_settings_the_schema_reserves_are_the_operators_own() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text()
    set_by_chart = set(re.findall(r"name: (GRADATIM_[A-Z_]+)", template))
    reserved = set(SCHEMA["properties"]["operator"]["properties"]["settings"]["propertyNames"]["not"]["enum"])
    source = (ROOT / "operators/gradatim/operator/settings.py").read_text()
    assert reserved == set_by_chart | {"GRADATIM_TEST_RUNTIME"}
    assert reserved <= set(re.findall(r"GRADATIM_[A-Z_]+", source))
    load({"GRADATIM_WATCH_NAMESPACES": "", "GRADATIM_WORKERS": "16", "GRADATIM_RESYNC_SECONDS": "300"})


def test_generated_files_are_current() -> None:
    stale = [str(path) for path, text in documents(ROOT).items() if (ROOT / path).read_text() != text]
    assert stale == [], "run `make generate` and commit the result"


def test_the_rights_of_the_chart_are_those_of_the_local_platform() -> None:
    def flat(rules: list[Any]) -> set[tuple[str, str, str]]:
        return {
            (g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]
        }

    chart = yaml.safe_load((CHART / "files" / "rbac.yaml").read_text())
    local = objects.rbac()
    cluster = [rule for d in local if d["kind"] == "ClusterRole" for rule in d["rules"]]
    own = [rule for d in local if d["kind"] == "Role" for rule in d["rules"]]
    assert flat(chart["cluster"]) | flat(chart["watched"]) == flat(cluster)
    assert flat(chart["cluster"]) & flat(chart["watched"]) == set()
    assert flat(chart["own"]) == flat(own)
    assert {r for _, r, _ in flat(chart["cluster"])} == {"computeprofiles", "computeprofiles/status"}


def test_a_rule_over_both_scopes_is_split() -> None:
    rule = {"apiGroups": ["gradatim.dev"], "resources": ["computeprofiles", "datasets"], "verbs": ["get"]}
    found = operator_rules([{"kind": "ClusterRole", "rules": [rule]}, {"kind": "Role", "rules": [rule]}])
    assert found == {
        "cluster": [{**rule, "resources": ["computeprofiles"]}],
        "watched": [{**rule, "resources": ["datasets"]}],
        "own": [rule],
    }


def test_no_rule_of_the_operator_has_a_wildcard_or_an_escalation() -> None:
    rules = [rule for document in objects.rbac() for rule in document.get("rules", [])]
    words = {word for rule in rules for key in ("apiGroups", "resources", "verbs") for word in rule[key]}
    assert words & {"*", "escalate", "bind", "impersonate"} == set()
    secrets = [d for d in objects.rbac() if any("secrets" in r["resources"] for r in d.get("rules", []))]
    assert [d["kind"] for d in secrets] == ["Role"]


def test_policies_know_every_kind_and_the_operators_label() -> None:
    found = {p["metadata"]["name"]: p["spec"] for p in objects.policies() if p["kind"] == "ValidatingAdmissionPolicy"}
    assert {p["metadata"]["name"] for p in objects.policies() if p["kind"].endswith("Binding")} == set(found)
    assert all(spec["failurePolicy"] == "Fail" for spec in found.values())
    with_profile = {k.plural for k in KINDS if "compute" in k.model.model_fields["spec"].annotation.model_fields}  # type: ignore[union-attr]
    rules = found["gradatim-profile-use"]["matchConstraints"]["resourceRules"]
    assert {r for rule in rules for r in rule["resources"]} == with_profile
    inputs = found["gradatim-run-inputs"]["matchConstraints"]["objectSelector"]
    assert inputs == {"matchLabels": {LABEL_MANAGED_BY: MANAGER}}
    assert "__" not in json.dumps(objects.policies())


@pytest.mark.parametrize("source", ["chart", "definitions"])
def test_the_charts_have_the_version_of_the_package(source: str) -> None:
    folder = CHART if source == "chart" else ROOT / "charts" / "gradatim-crds"
    chart = yaml.safe_load((folder / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_weaviate_is_the_version_the_project_is_tested_with() -> None:
    module = (ROOT / "operators/gradatim/platform/binaries/weaviate/go.mod").read_text()
    pinned = re.search(r"github.com/weaviate/weaviate v(\S+)", module)
    assert pinned is not None
    assert VALUES["weaviate"]["image"]["tag"] == pinned[1]


def test_user_roles_know_every_namespaced_kind_and_no_status() -> None:
    text = (CHART / "templates" / "userroles.yaml").read_text()
    lists = [set(names.split(", ")) for names in re.findall(r"resources: \[(.*)\]", text)]
    namespaced = {k.plural for k in KINDS if k.namespaced}
    assert lists == [namespaced, namespaced, namespaced, {k.plural for k in KINDS if not k.namespaced}]


@pytest.mark.parametrize(("where", "expression"), [*expressions()], ids=[where for where, _ in expressions()])
def test_every_query_asks_for_what_the_operator_serves(where: str, expression: str) -> None:
    known = metric_names() | {name: {"job", "instance"} for name in PROCESS | UP}
    for name, labels in used(expression).items():
        assert name in known, f"{where} asks for {name}"
        assert labels <= known[name] | {"job", "instance"}, f"{where}: {name} has no labels {labels - known[name]}"
    assert used(expression), where


def test_the_page_lists_every_metric_and_every_alert() -> None:
    listed = set(re.findall(r"^\| `((?:gradatim|process)_[a-z_]+)`", METRICS_PAGE, re.MULTILINE))
    assert listed == {base(name) for name in metric_names()} | PROCESS
    alerts = re.findall(r"^### (Gradatim\w+)", METRICS_PAGE, re.MULTILINE)
    assert alerts == [rule["alert"] for rule in ALERTS]


def test_the_alerts_as_they_are_written_have_the_thresholds_of_the_default_values() -> None:
    written = {rule["alert"]: rule["expr"] for rule in ALERTS}
    limit, resync = VALUES["operator"]["resources"]["limits"]["memory"], VALUES["operator"]["resyncSeconds"]
    assert limit.endswith("Mi")
    assert written["GradatimMemoryHigh"].endswith(f" > 0.8 * {int(limit.removesuffix('Mi')) << 20}")
    assert f"[{max(30, -(-4 * resync // 60))}m]" in written["GradatimResyncStopped"]


def test_the_page_shows_every_alert_as_it_is_written() -> None:
    for rule in ALERTS:
        part = METRICS_PAGE.split(f"### {rule['alert']}\n")[1].split("\n#")[0]
        assert f"`{' '.join(rule['expr'].split())}`" in part, rule["alert"]
        assert rule["labels"]["severity"] in part


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_dashboards_find_their_data_source_and_have_ids_of_their_own() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) >= 2
    for board in boards:
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        assert all(p["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for p in board["panels"])
        assert [v["name"] for v in board["templating"]["list"]] == ["datasource"]
