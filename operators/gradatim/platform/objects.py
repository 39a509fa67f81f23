"""The objects every local platform starts with: namespaces, the operator's rights and secrets, the default profile.

Pure but for reading `rbac.yaml` from the installed package. `bootstrap` applies what is built here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml

from gradatim.platform.launches import OPERATOR_NAMESPACE
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
