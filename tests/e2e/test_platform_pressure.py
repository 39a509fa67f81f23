"""A node that runs out of memory: the kubelet itself evicts the pod of a Run that takes more than it asked for.

Only with GRADATIM_TEST_FULL: it takes two to three minutes. All pods together are held to a part of this machine's memory, so that
the pressure is theirs alone. Runs on the platform of `test_platform_on_pods`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.support.node import apply, until
from tests.support.onpods import OnPods, is_ready
from tests.support.onpods_inputs import tickets, upload

from gradatim.platform.node import NodeCluster, NodeOptions, Part, status, up

GIB, MIB = 1 << 30, 1 << 20
LIMIT = 5 * GIB
# Takes most at once and the rest slowly: the kubelet looks every ten seconds, and the kernel must not be first.
HOG = """
import sys, time
held = [b"1" * (int(sys.argv[1]) << 20)]
while sum(map(len, held)) < 3800 << 20:
    held.append(b"1" * (16 << 20))
    time.sleep(0.4)
time.sleep(600)
"""
Body = dict[str, Any]
pytestmark = pytest.mark.skipif(not os.environ.get("GRADATIM_TEST_FULL"), reason="takes minutes; GRADATIM_TEST_FULL=1")


def restarted(cluster: NodeCluster, options: NodeOptions) -> None:
    """Start the kubelet anew, with these options."""
    cluster.kill(Part.KUBELET)
    until(lambda: {part.component: part.state for part in status(options.state_dir)}[Part.KUBELET] == "dead")
    up(options)


@pytest.fixture
def tight(platform: OnPods, node_options: NodeOptions) -> Iterator[OnPods]:
    """The platform while all pods together may take so much memory and no more."""
    try:
        restarted(platform.cluster, replace(node_options, pod_memory=LIMIT))
        until(lambda: allocatable(platform) < LIMIT)
        yield platform
    finally:
        restarted(platform.cluster, node_options)
        until(lambda: allocatable(platform) > LIMIT)


def allocatable(platform: OnPods) -> int:
    """Return the memory that the node offers to pods."""
    text = platform.cluster.kubectl("get", "node", "node-1", "-o", "jsonpath={.status.allocatable.memory}")
    found = re.fullmatch(r"(\d+)(Ki|Mi|Gi|)", text)
    assert found, text
    return int(found[1]) << {"": 0, "Ki": 10, "Mi": 20, "Gi": 30}[found[2]]


def working_set(platform: OnPods) -> int:
    """Return the memory that all pods together use, as the kubelet counts it."""
    summary = json.loads(platform.cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/stats/summary"))
    (pods,) = (c for c in summary["node"]["systemContainers"] if c["name"] == "pods")
    return int(pods["memory"]["workingSetBytes"])


def bursting(platform: OnPods) -> Body:
    """Return a profile whose pods ask for little and may take much."""
    spec = platform.profile()
    may = {"spec": {"containers": [{"name": "ray", "resources": {"limits": {"cpu": "2", "memory": "4Gi"}}}]}}
    spec["runtime"]["kubeRay"]["worker"] = {"resources": {"cpu": "400m", "memory": "256Mi"}, "podTemplate": may}
    kind = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "ComputeProfile", "metadata": {"name": "bursting"}}
    return kind | {"spec": spec}


def hog(platform: OnPods, at_once: int) -> Body:
    """Return a pod that uses what it has asked for, which nobody may hold against it."""
    amounts = {"cpu": "100m", "memory": "4Gi"}
    container = {
        "name": "main",
        "image": platform.images["index"].pinned,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", HOG, str(at_once // MIB)],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hog", "namespace": "team-a"}, "spec": spec}


def evicted(platform: OnPods, pod: str) -> bool:
    """Return whether the kubelet says that it has evicted this pod."""
    chosen = f"reason=Evicted,involvedObject.name={pod}"
    events = json.loads(
        platform.cluster.kubectl("get", "events", "-n", "team-a", "--field-selector", chosen, "-o", "json")
    )
    return any("low on resource: memory" in e["message"] for e in events["items"])


def test_a_pod_that_the_kubelet_evicts_for_memory_costs_time_and_no_result(tight: OnPods) -> None:
    upload(tight)
    body = tickets(tight)
    body["metadata"]["name"] = "squeezed"
    body["spec"]["compute"] = {"profileRef": {"name": "bursting"}}
    apply(tight.cluster, bursting(tight), body)
    owner = tight.get("dataset", "squeezed")
    head = until(lambda: tight.head(owner=owner), 240)["metadata"]["name"]
    apply(tight.cluster, hog(tight, max(0, LIMIT - LIMIT // 10 - working_set(tight) - 600 * MIB)))
    try:
        until(lambda: evicted(tight, head), 180)
        assert tight.get("pod", "hog")["status"]["phase"] == "Running", "it takes no more than it asked for"
    finally:
        tight.cluster.kubectl("delete", "pod", "hog", "-n", "team-a", "--force", "--grace-period=0")
    ready = tight.wait("dataset", "squeezed", is_ready, 420)
    assert (ready["status"]["active"]["rows"], ready["status"]["active"]["rejected"]) == (65, 5)
    assert ready["status"]["run"]["succeeded"]
