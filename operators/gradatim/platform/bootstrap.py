"""Install into a fresh API server what the platform needs, as its administrator.

Called by `up` once the API server is ready, every time: applying is idempotent and an upgrade brings new definitions. Server-side
apply with one field manager, so that what a user adds to these objects survives.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from gradatim.platform import health, pki
from gradatim.platform.dirs import Layout
from gradatim.platform.errors import BootstrapError
from gradatim.platform.state import PlatformState

_MANAGER = "gradatim-platform"
_SECONDS = 60.0
# Only what the platform applies; discovery would be one more thing that can be late.
_PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ComputeProfile": "/apis/gradatim.dev/v1alpha1/computeprofiles",
}


class Admin:
    """The administrator's connection to the platform's API server."""

    def __init__(self, api_server: str, context: ssl.SSLContext) -> None:
        self._client = httpx.Client(base_url=api_server, verify=context, trust_env=False, timeout=30.0)

    @classmethod
    def of(cls, state: PlatformState) -> Self:
        """Return the connection to a local platform's API server."""
        return cls(state.api_server, health.tls_context(Layout(state.state_dir), pki.CLUSTER_CA, "admin"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Apply objects in order. Raises BootstrapError with the server's message."""
        for item in objects:
            self._apply(item)

    def get(self, path: str) -> dict[str, Any]:
        """Return an object, or nothing when there is none."""
        answer = self._send("GET", path)
        if answer.status_code == 404:
            return {}
        if not answer.is_success:
            raise BootstrapError(f"reading {path}: {_message(answer)}")
        found: dict[str, Any] = answer.json()
        return found

    def install_crds(self, crds: Iterable[Mapping[str, Any]]) -> None:
        """Apply definitions and wait until the server serves them."""
        pending = [dict(item) for item in crds]
        self.apply(pending)
        deadline = time.monotonic() + _SECONDS
        for item in pending:
            while not self._established(item):
                if time.monotonic() > deadline:
                    raise BootstrapError(f"{item['metadata']['name']} is not served after {_SECONDS:.0f} s")
                time.sleep(0.05)

    def _established(self, crd: Mapping[str, Any]) -> bool:
        answer = self._send("GET", _path(crd))
        conditions = (answer.json().get("status", {}).get("conditions") or []) if answer.is_success else []
        if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return False
        # Established comes a moment before the handler is in place.
        version = next(v["name"] for v in crd["spec"]["versions"] if v["storage"])
        listing = f"/apis/{crd['spec']['group']}/{version}/{crd['spec']['names']['plural']}"
        return self._send("GET", listing, params={"limit": 1}).is_success

    def _apply(self, item: Mapping[str, Any]) -> None:
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._send(
                "PATCH",
                _path(item),
                params={"fieldManager": _MANAGER, "force": "true"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                content=json.dumps(item),
            )
            if answer.is_success:
                return
            # A fresh server answers 404 for namespaces still being made and 429 or 5xx while it warms up.
            late = answer.status_code in {404, 429} or answer.status_code >= 500
            if not late or time.monotonic() > deadline:
                raise BootstrapError(f"applying {item['kind']} {item['metadata']['name']}: {_message(answer)}")
            time.sleep(0.1)

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request; one without an answer is repeated once, for each may be done twice and a busy machine is only slow."""
        try:
            return self._client.request(method, path, **more)
        except httpx.TransportError:
            try:
                return self._client.request(method, path, **more)
            except httpx.TransportError as error:
                text = f"the API server does not answer {method} {path} ({error or type(error).__name__})"
                raise BootstrapError(
                    f"{text}: see `gradatim status`; on a busy machine `gradatim up` again goes on from here"
                ) from error


def _path(item: Mapping[str, Any]) -> str:
    metadata = item["metadata"]
    return f"{_PATHS[item['kind']].format(namespace=metadata.get('namespace', ''))}/{metadata['name']}"


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"the API server answers {answer.status_code}"
