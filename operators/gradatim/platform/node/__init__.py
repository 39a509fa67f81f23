"""A real single-node Kubernetes cluster without Docker: kubelet, containerd and pods in namespaces of their own. Linux, root.

Used by `gradatim up --node` and by the end-to-end tests. It never touches a containerd, kubelet or network of the system, and what it
starts ends with its first process.
"""

from gradatim.platform.node.cluster import NodeCluster
from gradatim.platform.node.images import OneLayer, write_image
from gradatim.platform.node.layout import NodeLayout, Part, default_node_state_dir
from gradatim.platform.node.lifecycle import NodeOptions, down, load, status, up
from gradatim.platform.node.prerequisites import PrerequisiteError, install_prerequisites, missing_packages

__all__ = [
    "NodeCluster",
    "NodeLayout",
    "NodeOptions",
    "OneLayer",
    "Part",
    "PrerequisiteError",
    "default_node_state_dir",
    "down",
    "install_prerequisites",
    "load",
    "missing_packages",
    "status",
    "up",
    "write_image",
]
