"""Names, addresses and paths of the node cluster.

Pure. A path is spelled twice on purpose: where the file lies on this machine, and where the cluster's own mount namespace shows it. The
second is always the same and short, so that configurations do not depend on the state folder and sockets fit into 107 characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gradatim.platform.dirs import Layout, default_state_dir

NODE_NAME = "node-1"
NODE_ADDRESS = "10.210.0.1"
NODE_NETWORK = f"{NODE_ADDRESS}/24"
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
CLUSTER_DOMAIN = "cluster.local"
API_SERVER = f"https://{NODE_ADDRESS}:6443"
# The state folder as the cluster's own mount namespace shows it.
INSIDE = Path("/run/gradatim")


class Part(StrEnum):
    """One process of the cluster. The value names its log and its row in `gradatim status --node`."""

    NODE = "node"
    ETCD = "etcd"
    APISERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    CONTAINERD = "containerd"
    KUBELET = "kubelet"
    PROXY = "kube-proxy"
    DNS = "coredns"
    KUBERAY = "kuberay"
    OPERATOR = "operator"
    WEAVIATE = "weaviate"
    MINIO = "minio"


# What may run as a process of the cluster but does not have to.
ADDONS = frozenset({Part.KUBERAY, Part.OPERATOR, Part.WEAVIATE, Part.MINIO})

PORTS: Mapping[str, int] = {
    "apiserver": 6443,
    "etcd-client": 2379,
    "etcd-peer": 2380,
    "controller-manager": 10257,
    "scheduler": 10259,
    "kubelet-health": 10248,
    "proxy-health": 10256,
    "dns-ready": 8181,
    "kuberay-metrics": 18080,
    "kuberay-health": 18082,
    "operator-health": 18084,
    "operator-metrics": 18085,
    "weaviate-http": 8080,
    "weaviate-grpc": 50051,
    "weaviate-gossip": 7100,
    "weaviate-data": 7101,
    "weaviate-raft": 7102,
    "weaviate-raft-rpc": 7103,
    "minio": 9000,
}


def default_node_state_dir(env: Mapping[str, str]) -> Path:
    """Return the node cluster's folder: beside the local platform's, with `-node` at its end."""
    folder = default_state_dir(env)
    return folder.with_name(f"{folder.name}-node")


@dataclass(frozen=True)
class NodeLayout(Layout):
    """Every path of one node cluster below its state folder, as this machine sees it."""

    @property
    def state(self) -> Path:
        return self.root / "node.json"

    @property
    def other_state(self) -> Path:
        return self.root / "state.json"

    @property
    def config(self) -> Path:
        """Configuration files, the pod network's among them."""
        return self.root / "config"

    @property
    def bin(self) -> Path:
        """Links to the cluster's programs; first on the PATH of `gradatim node exec`."""
        return self.root / "bin"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def ready(self) -> Path:
        """A folder whose file `ready` appears when mounts and network are in place."""
        return self.root / "inside"

    @property
    def hidden(self) -> Path:
        """What the cluster's mount namespace shows in place of folders of this machine."""
        return self.root / "hidden"

    @property
    def cgroup(self) -> str:
        """The name of the control group that holds all pods of this cluster."""
        return f"gradatim-{self.identity}"

    @property
    def client_files(self) -> tuple[Path, ...]:
        """None: clients find no node cluster by its folder, so a `client.json` there is somebody else's."""
        return ()

    def owned(self) -> tuple[Path, ...]:
        folders = (self.config, self.bin, self.images, self.ready, self.hidden, self.root / "containerd")
        return (*super().owned(), *folders, self.root / "run", self.root / "lib")

    def kubeconfig_of(self, user: str) -> Path:
        return self.private / f"{user}.kubeconfig"


def inside(layout: NodeLayout, path: Path) -> Path:
    """Return a path of the state folder as the cluster's processes see it."""
    return INSIDE / path.relative_to(layout.root)
