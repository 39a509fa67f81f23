"""Several files are one apply, and what is wrong with one is told; the versions of a local index need no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradatim.api.ragindex import RAGIndex
from gradatim.cli.main import cli
from gradatim.cli.options import Cluster
from gradatim.client.localstate import LocalState
from gradatim.client.manifests import Manifest
from gradatim.client.operations import Applied


class Takes:
    """Stands for the cluster: takes every manifest and notes its name."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> Takes:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def apply_manifest(self, manifest: Manifest, **options: object) -> Applied:
        """Note the name."""
        del options
        self.names.append(manifest.name)
        return Applied("created", manifest.kind, manifest.name, None, manifest.body)


MANIFEST = "apiVersion: gradatim.dev/v1alpha1\nkind: {}\nmetadata: {{name: {}}}\n"
SEVERAL: dict[str, tuple[list[str], list[str], list[str]]] = {
    "all of them, what others refer to first": (["i.yaml", "d.yaml"], ["d", "i"], []),
    "one twice is one": (["d.yaml", "d.yaml"], ["d"], []),
    "a wrong one is named and keeps no other": (
        ["wrong.yaml", "d.yaml"],
        ["d"],
        ["error: wrong.yaml (document 1) is not a mapping"],
    ),
    "an absent path is named and nothing is applied": (
        ["d.yaml", "absent.yaml"],
        [],
        ["error: absent.yaml cannot be read: it does not exist", "hint: nothing was applied"],
    ),
}


@pytest.mark.parametrize(("files", "applied", "said"), SEVERAL.values(), ids=SEVERAL.keys())
def test_apply_takes_several_files(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, files: list[str], applied: list[str], said: list[str]
) -> None:
    taken = Takes()
    monkeypatch.setattr(Cluster, "client", lambda _: taken)
    Path("i.yaml").write_text(MANIFEST.format("RAGIndex", "i"))
    Path("d.yaml").write_text(MANIFEST.format("Dataset", "d"))
    Path("wrong.yaml").write_text("- 1\n")
    result = run.invoke(cli, ["apply", *(word for file in files for word in ("-f", file))])
    assert (result.exit_code, taken.names, result.stderr.splitlines()) == (1 if said else 0, applied, said)


def test_versions_of_a_run_without_a_cluster_need_none(run: CliRunner, tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    active = {"digest": digest, "label": "v1", "collection": "G1", "uri": "file:///s/", "documents": 3, "passed": True}
    index = {
        "metadata": {"name": "handbook"},
        "spec": {
            "sources": [{"name": "a", "source": {"path": "file:///d"}}],
            "embedding": {"model": {"uri": "package://m"}},
        },
        "status": {"active": active},
    }
    LocalState(tmp_path).write(RAGIndex.model_validate(index), "default", "handbook")
    result = run.invoke(cli, ["index", "versions", "handbook", "--local", str(tmp_path), "-o", "json"])
    assert (result.exit_code, [v["digest"] for v in json.loads(result.stdout)]) == (0, [digest])
    result = run.invoke(cli, ["index", "versions", "other", "--local", str(tmp_path)])
    assert (result.exit_code, result.stderr.splitlines()[0]) == (1, f"error: {tmp_path} holds no ragindex other")
