"""The chart's own Weaviate: a StatefulSet on a volume, keys that the chart makes, an index in it, and the death of its pod.

Runs on the platform of `test_platform_on_pods`; its Weaviate image is made of the program that the other tests run as a process.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import httpx
import yaml
from tests.support.node import apply, until
from tests.support.onpods import ROOT, SYSTEM, OnPods, condition, is_ready
from tests.support.onpods_inputs import handbook, upload

NAME = "gradatim-weaviate"
FOLDER = "/run/gradatim/data/volumes/weaviate"
VOLUMES = ROOT / "docs" / "operations" / "node-cluster" / "volumes.yaml"
QUESTION = "How do I pin an index to an earlier version?"
Body = dict[str, Any]


def volume() -> Body:
    """Return the volume for Weaviate of the page about the node cluster."""
    (found,) = (v for v in yaml.safe_load_all(VOLUMES.read_text()) if v["metadata"]["name"] == "weaviate")
    assert found["spec"]["hostPath"]["path"] == FOLDER
    return dict(found)


def key(platform: OnPods, name: str, namespace: str) -> str:
    """Return an API key that the chart has made."""
    return base64.b64decode(platform.get("secret", f"{NAME}-{name}", namespace)["data"]["api-key"]).decode()


def address(platform: OnPods) -> str:
    """Return the address of its Service, for processes that do not ask the cluster's name server."""
    return str(platform.get("service", NAME, SYSTEM)["spec"]["clusterIP"])


def counts(platform: OnPods) -> dict[str, int]:
    """Return the number of objects by collection, as Weaviate says now."""
    headers = {"Authorization": f"Bearer {key(platform, 'operator', SYSTEM)}"}
    base = f"http://{address(platform)}:8080/v1"
    with platform.cluster.entered(), httpx.Client(headers=headers, timeout=30) as client:
        names = [c["class"] for c in client.get(f"{base}/schema").json()["classes"]]
        found = {}
        for name in names:
            asked = client.post(f"{base}/graphql", json={"query": f"{{Aggregate{{{name}{{meta{{count}}}}}}}}"})
            found[name] = int(asked.json()["data"]["Aggregate"][name][0]["meta"]["count"])
    return found


def asked(platform: OnPods) -> list[str]:
    """Return the files of the passages that a question finds."""
    place = ["--endpoint", f"http://{address(platform)}:8080", "--grpc-endpoint", f"http://{address(platform)}:50051"]
    argv = [sys.executable, "-m", "gradatim.cli.main", "index", "query", "guides", "-n", "team-a", "-o", "json", *place]
    file = platform.home / "weaviate-api-key"
    file.write_text(key(platform, "workload", "team-a"))
    env = {"GRADATIM_WEAVIATE_API_KEY_FILE": str(file)}
    said = platform.cluster.exec([*argv, QUESTION], env=env, timeout=120).stdout
    return [passage["file"] for passage in json.loads(said)["passages"]]


def install_weaviate(platform: OnPods) -> None:
    """Switch the chart's Weaviate on and make a profile that uses it."""
    make = ["install", "-d", "-o", "10001", "-g", "10001", FOLDER]
    subprocess.run([*platform.cluster.inside_prefix, *make], check=True)
    apply(platform.cluster, volume())
    values = platform.values() | {"weaviate": platform.weaviate_values()}
    platform.helm("upgrade", "gradatim", str(ROOT / "charts" / "gradatim"), "-n", SYSTEM, values=values)
    rolled_out(platform)
    spec = platform.profile()
    host = f"{NAME}.{SYSTEM}.svc"
    spec["vectorStore"] = {
        "endpoint": f"http://{host}:8080",
        "grpcEndpoint": f"http://{host}:50051",
        "operatorSecretName": f"{NAME}-operator",
        "workloadSecretName": f"{NAME}-workload",
    }
    kind = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "ComputeProfile", "metadata": {"name": "own-weaviate"}}
    apply(platform.cluster, kind | {"spec": spec})
    platform.wait("computeprofile", "own-weaviate", lambda b: condition(b, "Ready")[0] == "True", 120)


def rolled_out(platform: OnPods) -> None:
    """Wait until its pod takes requests."""
    told = ("rollout", "status", f"statefulset/{NAME}", "-n", SYSTEM, "--timeout=180s")
    platform.cluster.kubectl(*told, timeout=200)


def test_an_index_on_the_charts_weaviate_outlives_its_pod(platform: OnPods) -> None:
    upload(platform)
    install_weaviate(platform)
    body = handbook(platform)
    body["metadata"]["name"] = "guides"
    body["spec"]["compute"] = {"profileRef": {"name": "own-weaviate"}}
    body["spec"]["sources"][0]["source"]["s3"]["uri"] += "guides/"
    del body["spec"]["evaluation"]
    apply(platform.cluster, body)
    active = platform.wait("ragindex", "guides", is_ready, 420)["status"]["active"]
    before = counts(platform)
    assert before[active["collection"]] == active["chunks"] > 50
    assert "versions-and-rollback.md" in asked(platform)

    pod = platform.get("pod", f"{NAME}-0", SYSTEM)["metadata"]["uid"]
    platform.cluster.kubectl("delete", "pod", f"{NAME}-0", "-n", SYSTEM, "--force", "--grace-period=0")
    until(lambda: platform.get("pod", f"{NAME}-0", SYSTEM).get("metadata", {}).get("uid", pod) != pod, 60)
    rolled_out(platform)
    assert counts(platform) == before
    assert "versions-and-rollback.md" in asked(platform)
    status = platform.wait("ragindex", "guides", is_ready, 120)["status"]
    assert status["active"]["collection"] == active["collection"]
    assert len(status["history"]) == 1, "nothing had to be built again"
