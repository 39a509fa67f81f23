"""Manifests come from files, folders, standard input, mappings and typed objects; what is none is named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from gradatim.api import Dataset, RAGIndex
from gradatim.client.errors import InvalidError, ManifestError, UnknownKindError
from gradatim.client.manifests import desired, manifest_of, read_manifests, typed


def text(kind: str, name: str, api: str = "gradatim.dev/v1alpha1") -> str:
    return f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}}}\n---\n"


def test_a_folder_is_read_in_the_order_in_which_it_can_be_applied(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text("RAGIndex", "i") + text("Dataset", "d") + "---\n")
    (tmp_path / "b.yml").write_text(text("Namespace", "n", "v1") + text("ComputeProfile", "p"))
    (tmp_path / "c.json").write_text(
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}]}'
    )
    (tmp_path / "README.md").write_text("no manifest")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.yaml").write_text(text("Dataset", "deeper"))
    assert [(m.kind, m.name) for m in read_manifests(tmp_path)] == [
        ("Namespace", "n"),
        ("Secret", "s"),
        ("ComputeProfile", "p"),
        ("Dataset", "d"),
        ("RAGIndex", "i"),
    ]


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text("Dataset", "d")))
    assert [m.origin for m in read_manifests("-")] == ["standard input (document 1)"]


WRONG = {
    "nothing": ("", "holds no manifest"),
    "no YAML": ("a: [", "is not YAML"),
    "a list": ("- 1\n", r"document 1\) is not a mapping"),
    "no kind": ("apiVersion: v1\n", r"document 1\) has no kind"),
    "no version": ("kind: Dataset\n", "has no apiVersion"),
    "no name": ("apiVersion: v1\nkind: X\nmetadata: {}\n", "has no metadata.name"),
    "a tag that would run code": ("!!python/object/apply:os.getcwd []\n", "is not YAML"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_manifest_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(ManifestError, match=message):
        read_manifests(tmp_path / "x.yaml")
    with pytest.raises(ManifestError, match=r"absent\.yaml cannot be read"):
        read_manifests(tmp_path / "absent.yaml")


def test_only_what_a_user_decides_is_applied() -> None:
    found: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {
            "name": "n",
            "uid": "u",
            "resourceVersion": "1",
            "managedFields": [1],
            "labels": {"a": "b"},
            "finalizers": [],
        },
        "spec": {"a": None},
        "status": {"state": "Ready"},
    }
    want = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "labels": {"a": "b"}}, "spec": {"a": None}}
    assert desired(found) == want


def test_a_typed_object_keeps_every_change_of_its_spec() -> None:
    index = RAGIndex.model_validate(
        {
            "metadata": {"name": "i"},
            "spec": {
                "sources": [{"name": "a", "source": {"path": "file:///d"}}],
                "embedding": {"model": {"uri": "package://m"}},
            },
        }
    )
    index.spec.retrieval.top_k = 3
    manifest = manifest_of(index)
    assert (manifest.kind, manifest.api_version) == ("RAGIndex", "gradatim.dev/v1alpha1")
    assert manifest.body["spec"]["retrieval"]["topK"] == 3


def test_types_name_the_wrong_fields() -> None:
    good = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": "d"}}
    assert isinstance(typed(manifest_of(good | {"spec": {"source": {"path": "file:///d"}}})), Dataset)
    with pytest.raises(InvalidError) as error:
        typed(manifest_of(good | {"spec": {"source": {"path": "file:///d"}, "sampling": {"limit": 0}, "sauce": 1}}))
    assert {c.field for c in error.value.causes} == {"spec.sampling.limit", "spec.sauce"}
    with pytest.raises(UnknownKindError, match="is not a kind of this release"):
        typed(manifest_of({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}))
