"""Who is who in the node cluster: one certificate per component, one kubeconfig per client.

Called by `up`. Only the administrator is in `system:masters`; everybody else has the rights that Kubernetes or an own role gives the
name. Three authorities: a certificate that opens the API server must open neither etcd nor pass for its aggregation proxy.
"""

from __future__ import annotations

import datetime as dt

from gradatim.platform import pki
from gradatim.platform.files import write_atomic
from gradatim.platform.node.layout import API_SERVER, NODE_ADDRESS, NODE_NAME, NodeLayout
from gradatim.platform.pki import CLUSTER_CA, ETCD_CA, OPERATOR_USER, Leaf

FRONT_CA = "front-proxy-ca"
KUBELET_CLIENT_USER = "kube-apiserver-kubelet-client"
DNS_USER = "coredns"
KUBERAY_USER = "kuberay-operator"

LEAVES = (
    Leaf("apiserver", CLUSTER_CA, "kube-apiserver", server=True, client=False, addresses=(NODE_ADDRESS,)),
    Leaf("kubelet-client", CLUSTER_CA, KUBELET_CLIENT_USER),
    Leaf("controller-manager", CLUSTER_CA, "system:kube-controller-manager", server=True),
    Leaf("scheduler", CLUSTER_CA, "system:kube-scheduler", server=True),
    Leaf("kubelet", CLUSTER_CA, f"system:node:{NODE_NAME}", organization="system:nodes"),
    Leaf("kubelet-server", CLUSTER_CA, NODE_NAME, server=True, client=False, names=(NODE_NAME,), addresses=(NODE_ADDRESS,)),
    Leaf("kube-proxy", CLUSTER_CA, "system:kube-proxy"),
    Leaf("coredns", CLUSTER_CA, DNS_USER),
    Leaf("kuberay", CLUSTER_CA, KUBERAY_USER),
    Leaf("operator", CLUSTER_CA, OPERATOR_USER),
    Leaf("admin", CLUSTER_CA, "gradatim-admin", organization="system:masters"),
    Leaf("etcd", ETCD_CA, "etcd", server=True),
    Leaf("etcd-client", ETCD_CA, "kube-apiserver"),
    Leaf("front-proxy-client", FRONT_CA, "front-proxy-client"),
)  # fmt: skip
# Identities that talk to the API server through a kubeconfig.
CLIENTS = ("controller-manager", "scheduler", "kubelet", "kube-proxy", "coredns", "kuberay", "operator")


def ensure(layout: NodeLayout) -> None:
    """Make certificates at the first call, and write one kubeconfig per identity."""
    pki.ensure(layout.pki, dt.datetime.now(dt.UTC), LEAVES)
    write_atomic(layout.kubeconfig, pki.kubeconfig(layout.pki, "admin", API_SERVER))
    for user in CLIENTS:
        write_atomic(layout.kubeconfig_of(user), pki.kubeconfig(layout.pki, user, API_SERVER))
