"""Helm from the catalog, and an API server on which nothing of ours is installed yet.

Used by `tests/integration/charts`. What the local platform installs is removed first: the charts have to bring everything themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.support.platform import private_platform

from gradatim.platform import PlatformState, health, objects, pki
from gradatim.platform.binaries import Settings, resolve
from gradatim.platform.binaries.addons import HELM
from gradatim.platform.dirs import Layout

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "gradatim"
DEFINITIONS = ROOT / "charts" / "gradatim-crds"
NAMESPACE = "gradatim-system"
GROUP = "/apis/gradatim.dev/v1alpha1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MERGE = "application/merge-patch+json"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:gradatim-operator"
ROLES = {"viewer": "view", "editor": "edit", "admin": "admin"}
Body = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """The program with a home of its own, for one cluster or for none."""

    argv: tuple[str, ...]
    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command; `values` go through a file, so that types survive."""
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        env |= {"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}
        extra: list[str] = []
        if values is not None:
            file = self.home / "values.json"
            file.write_text(json.dumps(values))
            extra = ["--values", str(file)]
        return subprocess.run(
            [*self.argv, *arguments, *extra], env=env, capture_output=True, text=True, timeout=120, check=False
        )

    def ok(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run one command that must succeed, and return what it prints."""
        done = self.run(*arguments, values=values)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def refused(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run one command that must fail, and return why."""
        done = self.run(*arguments, values=values)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def template(self, values: Mapping[str, Any] | None = None, *arguments: str) -> list[Body]:
        """Return the rendered objects of the chart."""
        text = self.ok("template", "gradatim", str(CHART), "-n", NAMESPACE, *arguments, values=values or {})
        return [document for document in yaml.safe_load_all(text) if document]


def helm_of(home: Path, kubeconfig: Path | None = None) -> Helm:
    """Return Helm, compiled on first use."""
    tools = resolve(HELM, Settings.from_environment(os.environ), lambda _component, _message: None)
    home.mkdir(parents=True, exist_ok=True)
    return Helm(tuple(tools.argv("helm")), home, kubeconfig)


@dataclass(frozen=True)
class Api:
    """The API server as its administrator or, impersonated, as anybody."""

    http: httpx.Client

    def call(
        self, method: str, path: str, body: Body | None = None, *, user: str = "", dry: bool = False, content: str = ""
    ) -> httpx.Response:
        """Return the answer. A service account as user brings the groups it has."""
        headers = [("Content-Type", content or "application/json")]
        if user:
            parts = user.split(":")
            groups = ["system:authenticated"]
            if parts[:2] == ["system", "serviceaccount"]:
                groups += ["system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"]
            headers += [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
        params = {"dryRun": "All"} if dry else {}
        return self.http.request(
            method, path, params=params, headers=headers, content=None if body is None else json.dumps(body)
        )

    def get(self, path: str) -> Body:
        """Return an object. Fails on anything but 200."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        found: Body = answer.json()
        return found

    def create(self, path: str, body: Body) -> Body:
        """Create an object as the administrator."""
        answer = self.call("POST", path, body)
        assert answer.status_code == 201, answer.text
        found: Body = answer.json()
        return found

    def namespace(self, name: str, **labels: str) -> None:
        """Create a namespace with its default service account."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        eventually(lambda: self.call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").is_success)

    def exists(self, path: str) -> bool:
        return self.call("GET", path).is_success


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)


@dataclass(frozen=True)
class Installed:
    """A cluster with both charts, two teams and their members."""

    state: PlatformState
    api: Api
    helm: Helm


def bind(api: Api, namespace: str, role: str, user: str) -> None:
    """Bind a ClusterRole to a user, in one namespace or everywhere."""
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    where = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    body: Body = {"kind": kind, "metadata": {"name": f"{user}-{role}"}, "roleRef": reference, "subjects": subjects}
    api.create(where, body)


@contextmanager
def bare_cluster(folder: Path) -> Iterator[tuple[PlatformState, Api, Helm]]:
    """Run an API server with its controllers, on which nothing of ours is installed."""
    with private_platform(folder / "state") as state:
        context = health.tls_context(Layout(state.state_dir), pki.CLUSTER_CA, "admin")
        with httpx.Client(base_url=state.api_server, verify=context, trust_env=False, timeout=30.0) as client:
            api = Api(client)
            _strip(api)
            yield state, api, helm_of(folder / "helm", state.kubeconfig)


def _strip(api: Api) -> None:
    collections = {
        "ClusterRole": f"{RBAC}/clusterroles",
        "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
        "ValidatingAdmissionPolicy": f"{ADMISSION}/validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding": f"{ADMISSION}/validatingadmissionpolicybindings",
    }
    gone = [f"{CRDS}/{item['metadata']['name']}" for item in api.get(CRDS)["items"]]
    for item in [*objects.policies(), *objects.rbac()]:
        if item["kind"] in collections:
            gone.append(f"{collections[item['kind']]}/{item['metadata']['name']}")
    gone.append(f"/api/v1/namespaces/{NAMESPACE}")
    for path in gone:
        assert api.call("DELETE", path).status_code in {200, 202, 404}
    eventually(lambda: not any(api.exists(path) for path in gone))
