"""The objects every local platform starts with: namespaces, the operator's rights, limits and secrets, the default profile.

Pure but for reading `rbac.yaml` and `policies.yaml` from the installed package. `bootstrap` applies what is built here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml

from gradatim.platform.launches import OPERATOR_NAMESPACE
from gradatim.platform.pki import OPERATOR_USER
from gradatim.platform.state import PlatformState

_LABELS = {"app.kubernetes.io/part-of": "gradatim", "app.kubernetes.io/managed-by": "gradatim-platform"}
DEFAULT_PROFILE = "default"
RAY_SECRET = "ray-token"  # noqa: S105 - the name of a Secret
WEAVIATE_SECRET = "weaviate-operator"  # noqa: S105
WEAVIATE_WORKLOAD_SECRET = "weaviate-workload"  # noqa: S105


def namespaces() -> list[dict[str, Any]]:
    """Return the namespaces; `default` is made by the API server, a little after it is ready."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(_LABELS)}}
        for name in ("default", OPERATOR_NAMESPACE)
    ]


def rbac() -> list[dict[str, Any]]:
    """Return the operator's roles and bindings."""
    return list(yaml.safe_load_all((files("gradatim.platform") / "rbac.yaml").read_text()))


def policies() -> list[dict[str, Any]]:
    """Return the admission policies and their bindings. The machine's owner, who made the platform, may write what the operator may."""
    text = (files("gradatim.platform") / "policies.yaml").read_text()
    for word, value in (
        ("__OPERATOR__", OPERATOR_USER),
        ("__TRUSTED_USERS__", "[]"),
        ("__TRUSTED_GROUPS__", "['system:masters']"),
    ):
        text = text.replace(word, value)
    found = list(yaml.safe_load_all(text))
    return found + [_binding(policy) for policy in found]


def _binding(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": policy["apiVersion"],
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": dict(policy["metadata"]),
        "spec": {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]},
    }


def secret(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Return a Secret of the operator's namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE, "labels": dict(_LABELS)},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def default_profile(state: PlatformState, artifacts: str, source_roots: Sequence[str]) -> dict[str, Any]:
    """Return the profile that points at this platform's Ray, Weaviate and artifact folder."""
    return {
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "ComputeProfile",
        "metadata": {"name": DEFAULT_PROFILE, "labels": dict(_LABELS)},
        "spec": {
            "runtime": {
                "type": "rayCluster",
                "rayCluster": {
                    "address": state.ray_dashboard,
                    "operatorSecretName": RAY_SECRET,
                    "secretsPath": str(state.secrets_dir),
                    # One user's machine is one trust domain already.
                    "sharedTrust": True,
                },
            },
            "artifactStore": {"root": f"file://{artifacts}/{{namespace}}/"},
            "vectorStore": {
                "endpoint": state.weaviate,
                "grpcEndpoint": state.weaviate_grpc,
                "operatorSecretName": WEAVIATE_SECRET,
                "workloadSecretName": WEAVIATE_WORKLOAD_SECRET,
            },
            "limits": {"allowedSourceRoots": list(source_roots)},
        },
    }
