"""The command line of the node cluster, as far as it goes without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gradatim.cli.main import cli
from gradatim.platform.binaries.manifests import documents


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(["up", "--with", "kueue"], "--with and --no-kuberay need --node", id="an add-on needs a node"),
        pytest.param(["up", "--no-kuberay"], "--with and --no-kuberay need --node", id="leaving out needs a node"),
        pytest.param(
            ["up", "--node", "--cpus", "2"], "settings of the platform without --node", id="Ray is not its own"
        ),
        pytest.param(["up", "--pod-memory", "8"], "--pod-memory needs --node", id="a limit of pods needs a node"),
        pytest.param(["up", "--node", "--with", "etcd"], "is not one of", id="an add-on is one of a list"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(argv: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, argv)
    assert (result.exit_code, said in result.output) == (2, True), result.output


def test_a_command_in_a_cluster_that_does_not_run_says_how_to_start_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["node", "exec", "--state", str(tmp_path), "--", "true"])
    assert result.exit_code == 1
    assert (
        f"no node cluster runs in {tmp_path}: start one with `gradatim up --node --state {tmp_path}`" in result.output
    )


def test_status_of_a_cluster_that_does_not_run_is_stopped(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["status", "--node", "--state", str(tmp_path), "-o", "json"])
    assert result.exit_code == 1
    assert result.output.count('"state": "stopped"') == 9


def test_documents_come_in_the_order_asked_for_without_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: A\n---\n---\nkind: B\n")
    (tmp_path / "b.yaml").write_text("resources: [a.yaml]\n")
    (tmp_path / "c.yaml").write_text("kind: C\n")
    assert [item["kind"] for item in documents(tmp_path)] == ["A", "B", "C"]
    assert [item["kind"] for item in documents(tmp_path, ("c.yaml", "a.yaml"))] == ["C", "A", "B"]
