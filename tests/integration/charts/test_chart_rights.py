"""Who may do what under the shipped roles: every answer of the API server's authorizer as a golden file, and an operator living on its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.support.charts import (
    CHART,
    CRDS,
    DEFINITIONS,
    GROUP,
    NAMESPACE,
    OPERATOR,
    ROLES,
    Api,
    Installed,
    bare_cluster,
    eventually,
)
from tests.support.kuberay_cases import PINNED
from tests.support.platform import _free_port
from tests.support.spec_cases import BASES, PROFILE

from gradatim.platform.binaries import manifests

GOLDEN = Path(__file__).parent / "golden" / "can-i.txt"
NOWHERE = "anywhere-else"
PLACES = (NOWHERE, NAMESPACE, "default", "team-a", "team-b")
# Of people only what concerns us; of the operator and of Weaviate everything.
OF_INTEREST = (
    "gradatim.dev",
    "configmaps",
    "secrets",
    "ray.io",
    "admissionregistration",
    "rbac.authorization",
    "impersonate",
)
HEAD = "# identity | namespace (* = every one and cluster-wide) | resource: verbs. Written by the test; read every difference.\n"
Rights = dict[str, set[str]]


def rights(api: Api, user: str, namespace: str) -> Rights:
    """Return what the authorizer lets a user do in a namespace, cluster-wide rights included: `kubectl auth can-i --list`."""
    review = {
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {"namespace": namespace},
    }
    answer = api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review, user=user)
    assert answer.status_code == 201, answer.text
    status = answer.json()["status"]
    assert not status["incomplete"]
    found: Rights = {}
    for rule in status["resourceRules"]:
        names = rule.get("resourceNames", [""])
        for group, resource, name in itertools.product(rule["apiGroups"], rule["resources"], names):
            key = f"{resource}.{group}".rstrip(".") + (f" {name!r}" if name else "")
            found.setdefault(key, set()).update(rule["verbs"])
    return found


def less(rights: Rights, known: Rights) -> Rights:
    """Return the rights without the known ones."""
    rest = {key: verbs - known.get(key, set()) for key, verbs in rights.items()}
    return {key: verbs for key, verbs in rest.items() if verbs}


def matrix(api: Api, label: str, user: str, *, all_of_it: bool) -> Iterator[str]:
    """Yield one line per place and resource; what every user has, or holds everywhere, is not repeated."""
    everywhere = less(rights(api, user, NOWHERE), rights(api, "anybody", NOWHERE))
    for place in PLACES:
        known = rights(api, "anybody", place) if place == NOWHERE else rights(api, user, NOWHERE)
        shown = everywhere if place == NOWHERE else less(rights(api, user, place), known)
        for resource, verbs in sorted(shown.items()):
            line = f"{label} | {'*' if place == NOWHERE else place} | {resource}: {' '.join(sorted(verbs))}"
            if all_of_it or any(word in line for word in OF_INTEREST):
                yield line


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart with `watchNamespaces: [team-a]`."""
    with bare_cluster(tmp_path_factory.mktemp("narrow")) as (state, api, helm):
        for name in (NAMESPACE, "team-a", "team-b"):
            api.namespace(name)
        helm.ok("install", "gradatim-crds", str(DEFINITIONS), "-n", NAMESPACE)
        eventually(lambda: api.exists(f"{GROUP}/ragindices"))
        values = {"watchNamespaces": ["team-a"], "computeProfile": {"create": True, "spec": PROFILE["spec"]}}
        helm.ok("install", "gradatim", str(CHART), "-n", NAMESPACE, values=values)
        yield Installed(state, api, helm)


def test_rights_are_the_golden_ones(installed: Installed, narrow: Installed) -> None:
    weaviate = f"system:serviceaccount:{NAMESPACE}:gradatim-weaviate"
    people = [(f"{user} ({role} in team-a)", user) for user, role in ROLES.items()]
    people += [("lead (edit in team-b, named in computeProfile.users)", "lead"), ("platform-team", "platform-team")]
    lines = [
        *matrix(installed.api, "operator, all namespaces", OPERATOR, all_of_it=True),
        *matrix(narrow.api, "operator, watchNamespaces: [team-a]", OPERATOR, all_of_it=True),
        *matrix(installed.api, "weaviate", weaviate, all_of_it=True),
        *(line for label, user in people for line in matrix(installed.api, label, user, all_of_it=False)),
    ]
    found = HEAD + "\n".join(lines) + "\n"
    if os.environ.get("GRADATIM_UPDATE_GOLDEN"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text(), "set GRADATIM_UPDATE_GOLDEN=1 to accept, and read the difference"


def test_the_golden_rights_hold_no_surprise() -> None:
    lines = [line.split(" | ") for line in GOLDEN.read_text().splitlines()[1:]]
    held = [(who, place, *right.rsplit(": ", 1)) for who, place, right in lines]
    operator = [row for row in held if row[0].startswith("operator")]
    assert {place for _, place, resource, _ in operator if resource.startswith("secrets")} == {NAMESPACE}
    assert [row for row in operator if {"*", "bind", "escalate", "impersonate", "use"} & set(row[3].split())] == []
    assert [row for row in operator if row[0].endswith("[team-a]") and row[1] == "team-b"] == []
    assert [row for row in held if row[0] == "weaviate"] == []
    people = [row for row in held if row[0] not in {"platform-team", *(row[0] for row in operator)}]
    assert [row for row in people if "gradatim.dev" in row[2] and "/" in row[2].split(" ")[0]] == []
    profiles = {(who.split(" ")[0], place, verbs) for who, place, name, verbs in people if "computeprofiles" in name}
    assert profiles == {("editor", "team-a", "use"), ("admin", "team-a", "use"), ("lead", "*", "use")}


@pytest.mark.parametrize(
    ("user", "place", "question", "yes"),
    [
        pytest.param(
            OPERATOR, "team-a", ("", "secrets", "", "get"), False, id="the operator reads no secret of a team"
        ),
        pytest.param(OPERATOR, NAMESPACE, ("", "secrets", "", "get"), True, id="and those of its own namespace"),
        pytest.param(OPERATOR, "team-a", ("", "pods", "", "create"), False, id="it makes no pod"),
        pytest.param(OPERATOR, "", ("gradatim.dev", "ragindices", "", "list"), True, id="it lists all namespaces"),
        pytest.param(
            "editor", "team-a", ("gradatim.dev", "ragindices", "", "create"), True, id="an editor makes an index"
        ),
        pytest.param("editor", "team-a", ("gradatim.dev", "ragindices", "status", "update"), False, id="and no status"),
        pytest.param("viewer", "team-a", ("gradatim.dev", "ragindices", "", "create"), False, id="a viewer makes none"),
        pytest.param(
            "editor", "team-b", ("gradatim.dev", "ragindices", "", "get"), False, id="nor sees another team's"
        ),
    ],
)
def test_the_authorizer_answers(
    installed: Installed, user: str, place: str, question: tuple[str, str, str, str], yes: bool
) -> None:
    group, resource, subresource, verb = question
    asked = {"namespace": place, "group": group, "resource": resource, "subresource": subresource, "verb": verb}
    review = {"spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": asked}}
    answer = installed.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert answer.json()["status"]["allowed"] is yes


def test_an_operator_lives_in_its_namespaces_with_the_rights_of_the_chart(narrow: Installed, tmp_path: Path) -> None:
    api = narrow.api
    for team in ("team-a", "team-b"):
        api.create(
            f"{GROUP}/namespaces/{team}/datasets", BASES["Dataset"] | {"metadata": {"name": "seen", "namespace": team}}
        )
    pods = profile_with_pods(api, tmp_path / "store")
    port = _free_port()
    health, metrics = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    env = operator_env(narrow, tmp_path) | {
        "GRADATIM_WATCH_NAMESPACES": "team-a",
        "GRADATIM_HEALTH_PORT": str(port),
        "GRADATIM_METRICS_PORT": str(port + 1),
    }
    with (tmp_path / "log").open("wb") as log, httpx.Client(trust_env=False) as client:
        process = subprocess.Popen([sys.executable, "-m", "gradatim.operator"], env=env, stdout=log, stderr=log)
        try:
            eventually(lambda: process.poll() is not None or answers(client, f"{health}/readyz"), 60)
            assert process.poll() is None, (tmp_path / "log").read_text()
            seen = f"{GROUP}/namespaces/team-a/datasets/seen"
            eventually(lambda: api.get(seen)["status"]["observedGeneration"] == 1)
            eventually(lambda: "Ready" in conditions_met(api, pods))
            served = client.get(f"{metrics}/metrics").text
        finally:
            process.terminate()
            process.wait(60)
    assert 'code="403"' not in served, (tmp_path / "log").read_text()
    assert api.get(f"{GROUP}/computeprofiles/default")["status"]["observedGeneration"] == 1
    assert api.get(f"{GROUP}/namespaces/team-b/datasets/seen")["status"]["observedGeneration"] == -1
    assert process.returncode == 0


def profile_with_pods(api: Api, store: Path) -> str:
    """Create a ComputeProfile for KubeRay, whose definition is installed, and return its path."""
    store.mkdir()
    text = (manifests.kuberay_crds(os.environ) / "ray.io_rayjobs.yaml").read_text()
    api.create(CRDS, yaml.load(text, yaml.CSafeLoader))
    eventually(lambda: api.exists("/apis/ray.io/v1/namespaces/team-a/rayjobs"))
    pods = {"image": PINNED, "rayVersion": "2.60.0", "artifactVolume": {"claimName": "artifacts"}}
    spec = {
        "runtime": {"type": "kuberay", "kubeRay": pods},
        "artifactStore": {"root": f"file://{store}/{{namespace}}/"},
    }
    api.create(f"{GROUP}/computeprofiles", PROFILE | {"metadata": {"name": "pods"}, "spec": spec})
    return f"{GROUP}/computeprofiles/pods"


def conditions_met(api: Api, path: str) -> set[str]:
    """Return the conditions of an object that are True."""
    return {c["type"] for c in api.get(path)["status"].get("conditions", []) if c["status"] == "True"}


def answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx.HTTPError:
        return False


def operator_env(cluster: Installed, folder: Path) -> dict[str, str]:
    """Return the environment of an operator that has the token of the chart's service account."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/gradatim-operator/token"
    token = cluster.api.create(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    config: dict[str, Any] = yaml.safe_load(cluster.state.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"KUBECONFIG": str(file), "GRADATIM_OPERATOR_NAMESPACE": NAMESPACE}
