"""Kueue before our Runs: admission, eviction by a person and by a more important workload, changed quotas, places in the queue.

Kueue decides; what is asked here is what our objects make of it. No eviction is a failure or an attempt of ours. Runs on the platform of
`test_platform_on_pods`, on objects of its own.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from tests.support.node import apply, until
from tests.support.onpods import OnPods, condition, documents, is_ready
from tests.support.onpods_inputs import tickets, upload
from tests.support.onpods_store import BUCKET

Body = dict[str, Any]
# Room for one attempt at a time: a pod of 4Gi.
QUEUES = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: node}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: teams}
spec:
  namespaceSelector: {}
  stopPolicy: Hold
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
    - coveredResources: [cpu, memory]
      flavors:
        - name: node
          resources:
            - {name: cpu, nominalQuota: 2}
            - {name: memory, nominalQuota: 4Gi}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: batch, namespace: team-a}
spec: {clusterQueue: teams}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: low}
value: 10
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: high}
value: 1000
"""


@pytest.fixture(scope="module")
def queued(platform: OnPods) -> OnPods:
    """The platform with a queue, which is held, and a profile that uses it."""
    upload(platform)
    profile = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "ComputeProfile", "metadata": {"name": "queued"}}
    apply(platform.cluster, profile | {"spec": platform.profile(queue="batch")}, *documents(QUEUES))
    return platform


def dataset(platform: OnPods, name: str, priority: str | None = None) -> Body:
    """Return the quickstart's Dataset under another name, through the queue."""
    body = tickets(platform)
    body["metadata"]["name"] = name
    body["spec"]["compute"] = {"profileRef": {"name": "queued"}} | ({"priority": priority} if priority else {})
    return body


def message(body: Body, kind: str) -> str:
    """Return the message of a condition."""
    return next((str(c["message"]) for c in body["status"].get("conditions", []) if c["type"] == kind), "")


def memory_quota(platform: OnPods, amount: str) -> None:
    """Set how much memory the queue gives away."""
    path = "/spec/resourceGroups/0/flavors/0/resources/1/nominalQuota"
    patch = json.dumps([{"op": "replace", "path": path, "value": amount}])
    platform.cluster.kubectl("patch", "clusterqueue", "teams", "--type=json", "-p", patch)


def stop_policy(platform: OnPods, policy: str) -> None:
    """Hold, drain or open the queue."""
    patch = json.dumps({"spec": {"stopPolicy": policy}})
    platform.cluster.kubectl("patch", "clusterqueue", "teams", "--type=merge", "-p", patch)


def test_kueue_decides_when_an_attempt_runs_and_an_eviction_is_no_failure(queued: OnPods) -> None:
    platform = queued
    body = dataset(platform, "queued-tickets")
    apply(platform.cluster, body)
    waiting = platform.wait("dataset", "queued-tickets", lambda b: condition(b, "Queued")[0] == "True", 120)
    assert waiting["status"]["state"] == "Queued"
    forge_result(platform, waiting)
    stop_policy(platform, "None")
    until(platform.head, 240)
    stop_policy(platform, "HoldAndDrain")
    platform.wait("dataset", "queued-tickets", lambda b: condition(b, "Evicted")[0] == "True", 120)
    stop_policy(platform, "None")
    ready = platform.wait("dataset", "queued-tickets", is_ready, 420)
    assert [a["number"] for a in ready["status"]["run"]["attempts"]] == [1], "an eviction is no attempt"


def forge_result(platform: OnPods, body: Body) -> None:
    """Write, with the team's own credentials, a result of another object in the place of this attempt's."""
    metadata, run = body["metadata"], body["status"]["run"]["name"]
    stamp = {
        "uid": "00000000-0000-0000-0000-000000000000",
        "run": run,
        "attempt": 1,
        "configDigest": "sha256:" + "0" * 64,
    }
    result = {"stamp": stamp, "outcome": "Succeeded", "finished": "2026-01-01T00:00:00Z"}
    name = f"team-a/dataset/{metadata['name']}/{metadata['uid']}/{run}/a1/result.json"
    with platform.cluster.entered():
        data = json.dumps(result).encode()
        platform.store.client(platform.keys["team-a"]).put_object(BUCKET, name, BytesIO(data), len(data))


def test_a_more_important_run_takes_the_place_and_the_other_one_goes_on_later(queued: OnPods) -> None:
    stop_policy(queued, "None")
    low, waiter, high = (dataset(queued, *pair) for pair in (("minor", "low"), ("minor-too", "low"), ("major", "high")))
    apply(queued.cluster, low)
    low = queued.wait("dataset", "minor", lambda b: condition(b, "Admitted")[0] == "True", 120)
    until(lambda: queued.head(owner=low), 240)
    apply(queued.cluster, waiter)
    queued.wait("dataset", "minor-too", lambda b: message(b, "Queued").startswith("place 1"), 120)

    apply(queued.cluster, high)
    low = queued.wait(
        "dataset",
        "minor",
        lambda b: condition(b, "Evicted") == ("True", "Preempted") and b["status"]["state"] == "Queued",
        180,
    )
    assert condition(low, "Stalled")[0] == "False"
    # First come, first served among equals, in Kueue's own count.
    queued.wait("dataset", "minor", lambda b: message(b, "Queued").startswith("place 1"), 120)
    queued.wait("dataset", "minor-too", lambda b: message(b, "Queued").startswith("place 2"), 120)
    queued.cluster.kubectl("delete", "dataset", "minor-too", "-n", "team-a", "--timeout=120s", timeout=150)

    # Less quota than is in use ends nothing that runs, and starts nothing that waits.
    memory_quota(queued, "1Gi")
    high = queued.wait("dataset", "major", is_ready, 420)
    low = queued.wait("dataset", "minor", lambda b: "maximum capacity" in message(b, "Queued"), 120)
    assert not queued.head(owner=low)
    memory_quota(queued, "4Gi")
    low = queued.wait("dataset", "minor", is_ready, 420)
    for body in (low, high):
        assert (body["status"]["active"]["rows"], body["status"]["active"]["rejected"]) == (65, 5)
        assert [(a["number"], a["outcome"]) for a in body["status"]["run"]["attempts"]] == [(1, "Succeeded")]
    assert low["status"]["run"]["attempts"][0]["waitedSeconds"] > 0
