"""The components of the local platform: their names, order, dependencies and port names.

Pure. Imported by everything else here; the order of `START_ORDER` reversed is the order in which `down` stops them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Component(StrEnum):
    """One thing the platform runs. The value names its log, its data folder and its row in `gradatim status`."""

    ETCD = "etcd"
    APISERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    WEAVIATE = "weaviate"
    RAY = "ray"
    OPERATOR = "operator"


START_ORDER = tuple(Component)
ALL = frozenset(Component)
CONTROL_PLANE = frozenset({Component.ETCD, Component.APISERVER, Component.CONTROLLER_MANAGER})

_NEEDS = {
    Component.APISERVER: (Component.ETCD,),
    Component.CONTROLLER_MANAGER: (Component.APISERVER,),
    Component.OPERATOR: (Component.APISERVER, Component.CONTROLLER_MANAGER),
}

PORTS = {
    Component.ETCD: ("etcd-client", "etcd-peer"),
    Component.APISERVER: ("apiserver",),
    Component.CONTROLLER_MANAGER: ("controller-manager",),
    Component.WEAVIATE: (
        "weaviate-http",
        "weaviate-grpc",
        "weaviate-gossip",
        "weaviate-data",
        "weaviate-raft",
        "weaviate-raft-rpc",
    ),
    Component.RAY: (
        "ray-gcs",
        "ray-dashboard",
        "ray-agent-http",
        "ray-agent-grpc",
        "ray-client",
        "ray-metrics",
        "ray-runtime-env",
        "ray-node-manager",
        "ray-object-manager",
        "ray-autoscaler-metrics",
        "ray-dashboard-metrics",
    ),
    Component.OPERATOR: ("operator-health", "operator-metrics"),
}
PORT_NAMES = tuple(name for component in START_ORDER for name in PORTS[component])


def closure(wanted: Iterable[Component]) -> frozenset[Component]:
    """Return the wanted components and everything they need to run."""
    result: set[Component] = set()
    queue = list(wanted)
    while queue:
        component = queue.pop()
        if component not in result:
            result.add(component)
            queue.extend(_NEEDS.get(component, ()))
    return frozenset(result)
