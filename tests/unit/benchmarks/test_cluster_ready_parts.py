"""The pure parts of the benchmark on the node cluster: phases that add up, what a pod has reached, the standing cluster's shape."""

from __future__ import annotations

from typing import Any

import pytest
from tests.benchmarks.cluster_ready import COLD, PHASES, WARM, phases, pod_moments, standing_cluster, summary

MOMENTS = {
    "rayjob": 1.0,
    "scheduled": 2.5,
    "container": 4.0,
    "cluster": 20.0,
    # Known to the second only: it may lie before what came before it.
    "started": 19.6,
    "working": 24.0,
    "result": 40.0,
    "ready": 41.0,
}


@pytest.mark.parametrize("side", [COLD, WARM])
def test_phases_are_never_negative_and_add_up_to_the_whole_time(side: str) -> None:
    found = phases(side, MOMENTS)
    assert list(found) == list(PHASES[side])
    assert min(found.values()) >= 0
    assert sum(found.values()) == pytest.approx(MOMENTS["ready"])


def test_a_phase_that_ended_too_early_counts_nothing() -> None:
    assert phases(COLD, MOMENTS)["started"] == 0
    assert phases(COLD, MOMENTS)["working"] == 4.0


def test_a_summary_has_the_spread_of_the_whole_and_the_median_of_each_phase() -> None:
    slower = {what: at + 10 for what, at in MOMENTS.items()}
    found = summary(WARM, [MOMENTS, MOMENTS, slower])
    assert found["ready_s"] == {"min": 41.0, "median": 41.0, "max": 51.0}
    assert {what: one["median"] for what, one in found["phases_s"].items()} == {
        "started": 19.6,
        "working": 4.4,
        "result": 16.0,
        "ready": 1.0,
    }


@pytest.mark.parametrize(
    ("status", "reached"),
    [
        pytest.param({}, [], id="a pod that is not there yet"),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [{"state": {}}]},
            ["scheduled"],
            id="one that has a node and no container",
        ),
        pytest.param(
            {
                "conditions": [{"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [{"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
            },
            ["scheduled", "container"],
            id="one whose container runs",
        ),
    ],
)
def test_what_a_pod_has_reached(status: dict[str, Any], reached: list[str]) -> None:
    assert list(pod_moments({"status": status})) == reached


def test_the_standing_cluster_has_the_attempts_pods_without_the_attempts_config() -> None:
    container = {"name": "ray", "volumeMounts": [{"name": "run"}, {"name": "secret-0"}]}
    pod = {"containers": [container], "volumes": [{"name": "run"}, {"name": "secret-0"}]}
    labels = {"gradatim.dev/run": "x"}
    spec = {"rayVersion": "2.60.0", "headGroupSpec": {"template": {"metadata": {"labels": labels}, "spec": pod}}}
    made = standing_cluster({"spec": {"rayClusterSpec": spec}})
    template = made["spec"]["headGroupSpec"]["template"]
    assert (made["kind"], made["spec"]["rayVersion"]) == ("RayCluster", "2.60.0")
    assert template == {
        "metadata": {},
        "spec": {
            "containers": [{"name": "ray", "volumeMounts": [{"name": "secret-0"}]}],
            "volumes": [{"name": "secret-0"}],
        },
    }
    assert len(container["volumeMounts"]) == 2, "the attempt's own is left alone"
