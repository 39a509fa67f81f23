"""Exit codes, messages on standard error, and what needs no cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import gradatim.platform  # noqa: F401 - the import that the test of `status` would otherwise pay for inside its two seconds
from gradatim.api.kinds import KINDS
from gradatim.cli.main import cli
from gradatim.cli.options import Duration
from gradatim.client.local import LocalBackend, LocalOutcome
from gradatim.client.manifests import Manifest
from gradatim.client.release import release


def lines(result: Result) -> list[str]:
    return result.stderr.strip().splitlines()


USAGE: dict[str, tuple[list[str], str]] = {
    "an unknown command": (["fly"], "No such command"),
    "an unknown kind": (["get", "pod"], "known kinds: computeprofiles, datasets, ragindices"),
    "a missing name": (["describe", "dataset"], "Missing argument 'NAME'"),
    "a kind and a slash": (["describe", "dataset/"], "a name is missing after dataset/"),
    "a name with its kind and another": (["describe", "dataset/x", "y"], "no other name can follow"),
    "an unknown kind with a name": (["get", "pod/x"], "known kinds: computeprofiles, datasets, ragindices"),
    "a missing file": (["apply"], "Missing option"),
    "a name with a selector": (["get", "dataset", "x", "-l", "a=b"], "NAME goes with neither"),
    "a wrong duration": (["wait", "dataset", "x", "--timeout", "soon"], "is not a duration"),
    "a condition of other kinds": (
        ["wait", "ragindex/x", "--for", "Succeeded"],
        "a ragindex has no condition Succeeded",
    ),
    "a condition that is none": (
        ["wait", "dataset", "x", "--for", "ready"],
        "no condition ready to wait for, only Ready",
    ),
    "an unknown format": (["get", "dataset", "-o", "xml"], "'xml' is not one of"),
    "a rollback to nowhere": (["index", "rollback", "x"], "either a version or --unpin"),
    "a rollback both ways": (["index", "rollback", "x", "v1", "--unpin"], "either a version or --unpin"),
    "a key without a Weaviate": (["run", "-f", "x", "--weaviate-grpc", "http://w"], "go with --weaviate"),
    "no such shell": (["completion", "cmd"], "'cmd' is not one of"),
}


@pytest.mark.parametrize(("argv", "message"), USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_ends_with_two(run: CliRunner, argv: list[str], message: str) -> None:
    result = run.invoke(cli, argv)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


NO_CLUSTER = (
    ["get", "dataset"], ["describe", "dataset", "x"], ["delete", "dataset", "x"], ["wait", "dataset", "x"], ["rerun", "dataset", "x"],
    ["suspend", "dataset", "x"], ["resume", "dataset", "x"], ["logs", "dataset", "x"], ["events", "dataset", "x"],
    ["metrics", "dataset", "x"], ["wait", "dataset/x"], ["get", "dset/x"], ["delete", "dataset/x"],
    ["index", "query", "x", "why?"], ["index", "versions", "x"], ["index", "rollback", "x", "v1"],
)  # fmt: skip


def test_the_version_is_an_option_too(run: CliRunner) -> None:
    result = run.invoke(cli, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"gradatim {release()}\n")


@pytest.mark.parametrize("argv", NO_CLUSTER, ids=" ".join)
def test_without_a_cluster_every_command_says_so_and_what_to_do(run: CliRunner, argv: list[str]) -> None:
    result = run.invoke(cli, argv)
    assert (result.exit_code, result.stdout) == (1, "")
    first, second = lines(result)
    assert first.startswith("error: no cluster is known")
    assert "/state nor ~/.kube/config" in first, "it says where it has looked"
    assert second.startswith("hint: start the local platform with `gradatim up`")


def test_a_wrong_file_ends_with_one_and_is_named(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- 1\n")
    for argv in (["apply", "-f", "x.yaml"], ["run", "-f", "x.yaml"]):
        result = run.invoke(cli, argv)
        assert (result.exit_code, lines(result)) == (1, ["error: x.yaml (document 1) is not a mapping"])
    result = run.invoke(cli, ["run", "-f", "absent.yaml"])
    assert lines(result)[0].startswith("error: absent.yaml cannot be read")


def test_run_takes_all_files_that_are_named(run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        body = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": name}, "spec": {}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(body))
    seen: list[str] = []

    def note(_backend: LocalBackend, manifests: list[Manifest], **_options: object) -> Iterator[LocalOutcome]:
        seen.extend(m.origin for m in manifests)
        return iter(())

    monkeypatch.setattr(LocalBackend, "run", note)
    assert run.invoke(cli, ["run", "-f", "b.yaml", "-f", "a.yaml"]).exit_code == 0
    assert seen == ["b.yaml (document 1)", "a.yaml (document 1)"]


def test_wrong_fields_are_listed_under_the_error(run: CliRunner, tmp_path: Path) -> None:
    body = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": "d"}, "spec": {"sauce": 1}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(body))
    result = run.invoke(cli, ["run", "-f", "x.yaml"])
    assert result.exit_code == 1
    assert lines(result)[0] == "error: x.yaml (document 1): Dataset is not valid"
    assert "  spec.source: Field required" in lines(result)


def test_crds_are_printed_for_kubectl(run: CliRunner) -> None:
    documents = list(
        yaml.load_all(run.invoke(cli, ["crds"]).stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    )
    assert [d["spec"]["names"]["kind"] for d in documents] == [k.name for k in KINDS]
    assert len(json.loads(run.invoke(cli, ["crds", "-o", "json"]).stdout)["items"]) == len(KINDS)


def test_version_needs_no_cluster_unless_one_is_named(run: CliRunner) -> None:
    found = json.loads(run.invoke(cli, ["version", "-o", "json"]).stdout)
    assert found.keys() == {"client", "api"}
    result = run.invoke(cli, ["version", "--kubeconfig", "absent"])
    assert (result.exit_code, "absent cannot be read" in result.stderr) == (1, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(run: CliRunner, shell: str) -> None:
    result = run.invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert f"_GRADATIM_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("30m", 1800.0), ("1h30m", 5400.0), ("500ms", 0.5), ("2d", 172_800.0)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_status_says_where_the_logs_lie(run: CliRunner, tmp_path: Path) -> None:
    result = run.invoke(cli, ["status"])
    assert (result.exit_code, lines(result)) == (
        1,
        [f"logs: {tmp_path / 'state' / 'logs'}", "`gradatim up` starts what does not run"],
    )
    assert [r["log"] for r in json.loads(run.invoke(cli, ["status", "-o", "json"]).stdout)][:1] == [
        str(tmp_path / "state" / "logs" / "etcd.log")
    ]
