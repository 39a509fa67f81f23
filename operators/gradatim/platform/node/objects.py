"""What a fresh node cluster is given: the rights of identities that Kubernetes itself does not know.

Pure but for reading KubeRay's role from its module and ours from the package. `lifecycle` applies what is built here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradatim.platform.binaries import manifests
from gradatim.platform.node.identities import DNS_USER, KUBELET_CLIENT_USER, KUBERAY_USER

_LABELS = {"app.kubernetes.io/part-of": "gradatim", "app.kubernetes.io/managed-by": "gradatim-platform"}
_API = "rbac.authorization.k8s.io"


def binding(name: str, role: str, user: str) -> dict[str, Any]:
    """Return the binding of a cluster role to a user of the whole cluster."""
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": dict(_LABELS)},
        "roleRef": {"apiGroup": _API, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _API, "kind": "User", "name": user}],
    }


def role(name: str, *rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cluster role."""
    metadata = {"name": name, "labels": dict(_LABELS)}
    return {"apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [dict(r) for r in rules]}


def base() -> list[dict[str, Any]]:
    """Return what every cluster needs: the API server may speak to the kubelet, the name server may read names."""
    reading = ["list", "watch"]
    return [
        binding("gradatim:kubelet-api-admin", "system:kubelet-api-admin", KUBELET_CLIENT_USER),
        role(
            "gradatim:coredns",
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": reading},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": reading},
        ),
        binding("gradatim:coredns", "gradatim:coredns", DNS_USER),
    ]


def kuberay(env: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the role that KubeRay ships for its operator, bound to the identity of the process."""
    shipped = manifests.documents(manifests.kuberay_roles(env), ("role.yaml",))
    roles = [item for item in shipped if item["kind"] == "ClusterRole"]
    return [*roles, *(binding(item["metadata"]["name"], item["metadata"]["name"], KUBERAY_USER) for item in roles)]
