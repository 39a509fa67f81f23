"""Exit codes, messages on standard error, and what needs no cluster."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import gradatim.platform  # here, or the test of `status` pays for it inside its two seconds
from gradatim.api.kinds import KINDS
from gradatim.cli.main import cli
from gradatim.cli.options import Duration
from gradatim.client.local import LocalBackend, LocalOutcome
from gradatim.client.localdelete import LocalRemoval
from gradatim.client.manifests import Manifest
from gradatim.client.release import release
from gradatim.platform import PlatformState
from gradatim.platform.components import PORT_NAMES


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
    "nothing to delete": (["delete"], "either KIND NAME... or manifests with -f"),
    "a name and a file to delete": (["delete", "dataset", "x", "-f", "x"], "either KIND NAME... or manifests with -f"),
    "a kind and a file to delete": (["delete", "dataset", "-f", "x"], "either KIND NAME... or manifests with -f"),
    "a kind alone to delete": (["delete", "dataset"], "Missing argument 'NAME...'"),
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
    "a build and a removal": (["run", "-f", "x", "--delete", "--force"], "give one of them"),
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


REMOVED = [
    LocalRemoval("RAGIndex", "default", "handbook", ("Ga", "Gb"), ("/s/a",), status=True, left=("s3://b/: elsewhere",)),
    LocalRemoval("RAGIndex", "default", "faq", ("Gc",)),
    LocalRemoval("Dataset", "default", "base"),
]


def test_run_takes_away_what_runs_left(run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text("apiVersion: gradatim.dev/v1alpha1\nkind: Dataset\nmetadata: {name: base}\n")
    monkeypatch.setattr(LocalBackend, "delete", lambda _backend, _manifests: REMOVED)
    result = run.invoke(cli, ["run", "-f", "x.yaml", "--delete"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ragindex/handbook deleted: 2 collections, artifacts, status",
        "ragindex/faq deleted: 1 collection",
    ]
    assert lines(result) == ["ragindex/handbook: left s3://b/: elsewhere", "dataset/base: nothing of it was left"]
    told = json.loads(run.invoke(cli, ["run", "-f", "x.yaml", "--delete", "-o", "json"]).stdout)
    assert [o["deleted"] for o in told] == [True, True, False]
    assert told[0]["collections"] == ["Ga", "Gb"]


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
    result = run.invoke(cli, ["version", "--state", "absent"])
    assert (result.exit_code, "there is no local platform in absent" in result.stderr) == (1, True)


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


def test_a_purge_of_another_folder_takes_nothing_from_it(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "client.json").write_text("{}")
    result = run.invoke(cli, ["down", "--purge", "--state", "mine"])
    assert (result.exit_code, "is not empty and not the state of a platform" in result.stderr) == (1, True)
    assert (tmp_path / "mine" / "client.json").read_text() == "{}"


REFUSED: dict[str, tuple[list[str], str]] = {
    "the local platform's": (["status"], "state/ports.json: Not a directory"),
    "the node cluster's": (["status", "--node"], "state-node/node.json: Not a directory"),
}


@pytest.mark.parametrize(("argv", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_in_the_place_of_a_state_folder_is_named(
    run: CliRunner, tmp_path: Path, argv: list[str], message: str
) -> None:
    for name in ("state", "state-node"):
        (tmp_path / name).write_text("")
    result = run.invoke(cli, argv)
    assert (result.exit_code, result.stdout, lines(result)) == (1, "", [f"error: {tmp_path}/{message}"])


def test_a_full_disk_is_told_without_a_traceback(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/state/state.json")

    monkeypatch.setattr(gradatim.platform, "up", full)
    result = run.invoke(cli, ["up"])
    assert (result.exit_code, lines(result)) == (
        1,
        [
            "error: /state/state.json: No space left on device",
            "hint: free space on that disk, then run the command again",
        ],
    )


def test_a_reader_that_has_gone_is_no_error_of_ours(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("gradatim.client.release.release", gone)
    result = run.invoke(cli, ["version", "--client"])
    assert (result.exit_code, result.stderr) == (1, "")


@pytest.mark.parametrize("other", [False, True], ids=["nothing else", "a kubeconfig"])
def test_up_says_how_the_platform_is_found_where_the_shell_names_another_cluster(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, other: bool
) -> None:
    found = PlatformState(tmp_path / "state", ports=dict.fromkeys(PORT_NAMES, 1))
    found.state_dir.mkdir()
    monkeypatch.setattr(gradatim.platform, "up", lambda *_: found)
    if other:
        monkeypatch.setenv("KUBECONFIG", "/theirs")
    told = run.invoke(cli, ["up"]).stdout.splitlines()
    named = [f"export GRADATIM_STATE={found.state_dir}"] if other else []
    assert told == [*named, f"export KUBECONFIG={found.kubeconfig}"]
