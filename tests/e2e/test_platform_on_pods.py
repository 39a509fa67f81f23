"""The main scenario on pods, and what may happen to it: upgrade, evictions, restarts of everything it depends on, removal.

The tests build on each other, in the order of the file: one index is built, refreshed under faults and removed at the end.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import httpx
import pytest
from minio.error import S3Error
from tests.support.node import apply, until
from tests.support.onpods import ROOT, SYSTEM, OnPods, condition, is_ready
from tests.support.onpods_inputs import handbook, tickets, upload
from tests.support.onpods_store import BUCKET, DOCS

from gradatim.platform import prepare
from gradatim.platform.node import NodeOptions, Part, up

Body = dict[str, Any]


def test_a_dataset_is_validated_in_a_pod(platform: OnPods) -> None:
    upload(platform)
    apply(platform.cluster, tickets(platform))
    body = platform.wait("dataset", "support-tickets", is_ready, 300)
    assert condition(body, "DataValid")[0] == "True"
    assert (body["status"]["active"]["rows"], body["status"]["active"]["rejected"]) == (65, 5)
    assert [len(body["status"]["run"]["attempts"]), body["status"]["run"]["succeeded"]] == [1, True]


def test_an_index_is_built_gated_and_answers(platform: OnPods) -> None:
    apply(platform.cluster, handbook(platform))
    body = platform.wait("ragindex", "gradatim-docs", is_ready, 420)
    active = body["status"]["active"]
    assert active["label"] == "v1"
    assert active["chunks"] > 200
    argv = [sys.executable, "-m", "gradatim.cli.main", "index", "query", "gradatim-docs", "-n", "team-a", "-o", "json"]
    key = platform.cluster.layout.secrets / "weaviate-workload" / "api-key"
    asked = platform.cluster.exec(
        [*argv, "How do I pin an index to an earlier version?"],
        env={"GRADATIM_WEAVIATE_API_KEY_FILE": str(key)},
        timeout=120,
    )
    files = [passage["file"] for passage in json.loads(asked.stdout)["passages"]]
    assert "guides/versions-and-rollback.md" in files


def rerun(platform: OnPods) -> str:
    """Ask for a new Run of the index and return its name once its head runs."""
    before = platform.get("ragindex", "gradatim-docs")["status"]["run"]["name"]
    stamp = f"gradatim.dev/requested-at={int(time.time())}"
    platform.cluster.kubectl("annotate", "ragindex", "gradatim-docs", "-n", "team-a", "--overwrite", stamp)
    body = platform.wait("ragindex", "gradatim-docs", lambda b: b["status"]["run"]["name"] != before, 60)
    until(platform.head, 240)
    return str(body["status"]["run"]["name"])


def finished(platform: OnPods, run: str, seconds: float = 420) -> Body:
    """Return the index once this Run's version is current: what already serves stays Ready when a Run or its gates fail."""
    body = platform.wait(
        "ragindex",
        "gradatim-docs",
        lambda b: b["status"]["run"]["name"] == run and b["status"]["run"]["done"] and is_ready(b),
        seconds,
    )
    assert (body["status"]["run"]["succeeded"], condition(body, "Current")[0]) == (True, "True"), platform.story(body)
    return body


def test_a_run_outlives_an_upgrade_of_the_chart_and_the_death_of_the_operator(platform: OnPods) -> None:
    run = rerun(platform)
    job = platform.get("rayjob", f"{run}-a1")["metadata"]["uid"]
    values = platform.values() | {"operator": {"logLevel": "DEBUG"}}
    platform.helm("upgrade", "gradatim", str(ROOT / "charts" / "gradatim"), "-n", SYSTEM, values=values)
    platform.cluster.kubectl("rollout", "status", "deploy/gradatim-operator", "-n", SYSTEM, "--timeout=120s")
    now = "--force", "--grace-period=0"
    platform.cluster.kubectl("delete", "pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=gradatim-operator", *now)
    attempts = finished(platform, run)["status"]["run"]["attempts"]
    assert [(a["number"], a["outcome"]) for a in attempts] == [(1, "Succeeded")]
    left = platform.get("rayjob", f"{run}-a1")
    assert not left or left["metadata"]["uid"] == job, "the attempt was started a second time"


def test_a_node_under_pressure_costs_time_and_no_result(platform: OnPods) -> None:
    platform.store.put(
        DOCS, "handbook/pressure.md", b"# Pressure\n\nA page that was added while the node was full. " * 20
    )
    run = rerun(platform)
    head = platform.head()["metadata"]["name"]
    platform.cluster.kubectl("cordon", "node-1")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": head, "namespace": "team-a"}}
    path = f"/api/v1/namespaces/team-a/pods/{head}/eviction"
    platform.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    until(lambda: not platform.head(), 60)
    time.sleep(5)
    platform.cluster.kubectl("uncordon", "node-1")
    status = finished(platform, run, 600)["status"]
    assert status["history"][0]["run"] == run
    assert status["active"]["digest"] == status["history"][0]["digest"]
    assert len({v["collection"] for v in status["history"]}) == len(status["history"])


def test_restarts_of_weaviate_and_the_api_server_cost_no_result(platform: OnPods, node_options: NodeOptions) -> None:
    run = rerun(platform)
    platform.cluster.kill(Part.WEAVIATE)
    up(node_options)
    platform.cluster.kill(Part.APISERVER)
    up(node_options)
    finished(platform, run, 600)


@pytest.mark.parametrize(
    ("who", "place"),
    [("team-b", "team-a/forged.json"), ("operator", "team-a/dataset/x/result.json"), ("team-a", "team-b/forged.json")],
)
def test_nobody_writes_where_another_writes(platform: OnPods, who: str, place: str) -> None:
    from io import BytesIO

    with platform.cluster.entered(), pytest.raises(S3Error, match="Access Denied"):
        platform.store.client(platform.keys[who]).put_object(BUCKET, place, BytesIO(b"{}"), 2)


def aliases(platform: OnPods) -> dict[str, str]:
    """Return Weaviate's aliases and what they point at."""
    key = prepare.credentials(platform.cluster.layout).weaviate.operator
    with platform.cluster.entered():
        answer = httpx.get(f"{platform.cluster.weaviate}/v1/aliases", headers={"Authorization": f"Bearer {key}"})
    return {a["alias"]: a["class"] for a in answer.json()["aliases"] or []}


def test_removing_the_chart_leaves_everything_and_installing_it_again_changes_nothing(platform: OnPods) -> None:
    before = platform.get("ragindex", "gradatim-docs")
    platform.helm("uninstall", "gradatim", "-n", SYSTEM, "--wait")
    after = platform.get("ragindex", "gradatim-docs")
    assert (after["metadata"]["uid"], after["status"]) == (before["metadata"]["uid"], before["status"])
    assert aliases(platform)[before["status"]["alias"]] == before["status"]["active"]["collection"]
    chart = str(ROOT / "charts" / "gradatim")
    platform.helm("install", "gradatim", chart, "-n", SYSTEM, "--take-ownership", values=platform.values())
    platform.cluster.kubectl(
        "rollout", "status", "deploy/gradatim-operator", "-n", SYSTEM, "--timeout=180s", timeout=200
    )
    again = platform.wait("ragindex", "gradatim-docs", is_ready, 60)
    assert again["status"]["run"]["name"] == before["status"]["run"]["name"]


def test_deleting_the_objects_removes_what_they_made(platform: OnPods) -> None:
    body = platform.get("ragindex", "gradatim-docs")
    platform.cluster.kubectl("delete", "ragindex", "gradatim-docs", "-n", "team-a", "--timeout=120s", timeout=150)
    assert body["status"]["alias"] not in aliases(platform)
    assert platform.store.names(BUCKET, f"team-a/ragindex/gradatim-docs/{body['metadata']['uid']}/") == []
    until(lambda: not platform.items("rayjobs", labels=f"gradatim.dev/owner={body['metadata']['uid']}"), 60)
