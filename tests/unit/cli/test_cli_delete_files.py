"""What a file made can be deleted with it, in the reverse order, and what is not there or refused keeps nothing else from going."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradatim.cli.main import cli
from gradatim.cli.options import Cluster
from gradatim.client.errors import ForbiddenError, NotFoundError, UnreachableError
from gradatim.client.manifests import Manifest


class Gives:
    """Stands for the cluster: what is called `gone` is not there, `held` may not be deleted, at `dead` it stops answering."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.options: dict[str, object] = {}

    def __enter__(self) -> Gives:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def delete_manifest(self, manifest: Manifest, **options: object) -> None:
        """Note the object."""
        self.options = options
        match manifest.name:
            case "gone":
                raise NotFoundError(f"there is no {manifest.kind.lower()} hr/gone", hint="did you mean done?")
            case "held":
                raise ForbiddenError("held is not yours", hint="")
            case "dead":
                raise UnreachableError("no answer", hint="")
        self.names.append(f"{manifest.kind.lower()}/{manifest.name}")


@pytest.fixture
def cluster(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> Gives:
    found = Gives()
    monkeypatch.setattr(Cluster, "client", lambda _: found)
    for name, kind in {
        "p": "ComputeProfile",
        "d": "Dataset",
        "i": "RAGIndex",
        "gone": "RAGIndex",
        "held": "Dataset",
    }.items():
        body = f"apiVersion: gradatim.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n"
        Path(f"{name}.yaml").write_text(body)
    Path("wrong.yaml").write_text("- 1\n")
    return found


ORDERED = ["ragindex/i", "dataset/d", "computeprofile/p"]
GONE = ["gone.yaml (document 1):", "error: there is no ragindex hr/gone", "hint: did you mean done?"]
CASES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "what others refer to goes last": (["-f", "p.yaml", "-f", "i.yaml", "-f", "d.yaml"], ORDERED, []),
    "what is not there is an error and keeps no other": (["-f", "gone.yaml", "-f", "d.yaml"], ["dataset/d"], GONE),
    "unless that is no error": (["-f", "gone.yaml", "-f", "d.yaml", "--ignore-not-found"], ["dataset/d"], []),
    "what is refused keeps no other, and is an error": (
        ["-f", "held.yaml", "-f", "d.yaml", "--ignore-not-found"],
        ["dataset/d"],
        ["held.yaml (document 1):", "error: held is not yours"],
    ),
    "a wrong file is named and keeps no other": (
        ["-f", "wrong.yaml", "-f", "d.yaml"],
        ["dataset/d"],
        ["error: wrong.yaml (document 1) is not a mapping"],
    ),
    "with an absent path nothing goes": (
        ["-f", "d.yaml", "-f", "absent.yaml"],
        [],
        ["error: absent.yaml cannot be read: it does not exist", "hint: nothing was deleted"],
    ),
    "names go as they are given": (["dset", "b", "a"], ["dataset/b", "dataset/a"], []),
    "a name that is not there keeps no other": (
        ["ridx", "gone", "i"],
        ["ragindex/i"],
        ["error: there is no ragindex hr/gone", "hint: did you mean done?"],
    ),
    "unless that is no error either": (["ragindex/gone", "--ignore-not-found"], [], []),
    "a server that is away ends it": (["dataset", "a", "dead", "b"], ["dataset/a"], ["error: no answer"]),
}


@pytest.mark.parametrize(("argv", "gone", "said"), CASES.values(), ids=CASES.keys())
def test_delete(run: CliRunner, cluster: Gives, argv: list[str], gone: list[str], said: list[str]) -> None:
    result = run.invoke(cli, ["delete", *argv])
    assert (result.exit_code, cluster.names, result.stderr.splitlines()) == (1 if said else 0, gone, said)
    assert result.stdout.splitlines() == [f"{name} deleted" for name in gone]


def test_programs_get_what_was_deleted_and_nothing_else(run: CliRunner, cluster: Gives) -> None:
    Path("wrong.yaml").unlink()
    result = run.invoke(cli, ["delete", "-f", ".", "-n", "hr", "--no-wait", "-o", "json"])
    assert (result.exit_code, cluster.names) == (1, ORDERED)
    assert json.loads(result.stdout) == [
        {"kind": "RAGIndex", "name": "i", "deleted": True},
        {"kind": "Dataset", "name": "d", "deleted": True},
        {"kind": "ComputeProfile", "name": "p", "deleted": True},
    ]
    assert cluster.options == {"namespace": "hr", "wait": False}
