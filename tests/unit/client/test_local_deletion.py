"""What runs without a cluster left is taken away: collections first, then artifacts and status, and nothing of anybody else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradatim.api.dataset import Dataset
from gradatim.api.ragindex import RAGIndex
from gradatim.client import localdelete
from gradatim.client.errors import ConflictError, ManifestError, UnreachableError, UnsupportedError
from gradatim.client.local import LocalBackend
from gradatim.client.localdelete import LocalRemoval
from gradatim.client.localstate import LocalState
from gradatim.client.vectorstore import VectorAccess

API = {"apiVersion": "gradatim.dev/v1alpha1"}
WEAVIATE = {"endpoint": "http://w:8080", "grpcEndpoint": "http://w:50051"}
MODELS: dict[str, type[Dataset] | type[RAGIndex]] = {"Dataset": Dataset, "RAGIndex": RAGIndex}
SPECS: dict[str, dict[str, Any]] = {
    "Dataset": {"source": {"path": "file:///d"}},
    "RAGIndex": {
        "sources": [{"name": "a", "source": {"datasetRef": {"name": "base"}}}],
        "embedding": {"model": {"uri": "package://m"}},
    },
}


def manifest(kind: str, name: str) -> dict[str, Any]:
    """Return a manifest."""
    return API | {"kind": kind, "metadata": {"name": name}, "spec": SPECS[kind]}


BASE, HANDBOOK, FAQ = manifest("Dataset", "base"), manifest("RAGIndex", "handbook"), manifest("RAGIndex", "faq")


def version(letter: str, uri: str = "", **more: Any) -> dict[str, Any]:
    """Return a version of an index with a collection of that letter; its artifact lies in the state folder unless `uri` says where."""
    return {"digest": f"sha256:{letter * 64}", "label": f"v{letter}", "collection": f"G{letter}", "uri": uri} | more


class Weaviate:
    """Notes what is asked and deleted, in order, and with which key; does not answer what `fails` is a part of."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: set[str] = set()
        self.fails = ""

    def require_answer(self, access: VectorAccess) -> None:
        """Stand for the question whether it is ready."""
        self._note(f"ready {access.config.endpoint}")

    def drop_collections(self, access: VectorAccess, collections: Sequence[str]) -> None:
        """Stand for the deletion."""
        self.keys |= {str(access.key_file)}
        for name in collections:
            self._note(f"drop {name}")

    def _note(self, text: str) -> None:
        if self.fails and self.fails in text:
            raise UnreachableError("no answer")
        self.calls.append(text)


@pytest.fixture
def weaviate(monkeypatch: pytest.MonkeyPatch) -> Weaviate:
    found = Weaviate()
    monkeypatch.setattr(localdelete, "require_answer", found.require_answer)
    monkeypatch.setattr(localdelete, "drop_collections", found.drop_collections)
    monkeypatch.delenv("GRADATIM_WEAVIATE_API_KEY_FILE", raising=False)
    return found


class Place:
    """A state folder as runs leave it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = LocalState(folder / "state")
        self.state.prepare()

    def artifacts(self, kind: str, name: str, uid: str | None = None) -> Path:
        """Make the folder of an object in the store with a file in it."""
        parent = self.state.store / "default" / kind.lower() / name
        found = parent / (uid or self.state.uid(kind, "default", name))
        (found / "versions").mkdir(parents=True)
        (found / "versions" / "chunks.parquet").write_bytes(b"1")
        return found

    def ran(self, kind: str, name: str, uid: str | None = None, **status: Any) -> None:
        """Write the status that a run left."""
        meta = {"name": name, "uid": uid or self.state.uid(kind, "default", name)}
        self.state.write(
            MODELS[kind].model_validate(manifest(kind, name) | {"metadata": meta, "status": status}), "default", name
        )

    def built(self, name: str, *versions: dict[str, Any], **more: Any) -> None:
        """Leave an index with these versions, newest first."""
        inside = f"file://{self.artifacts('RAGIndex', name)}/versions/"
        history = [v | {"uri": v["uri"] or inside} for v in versions]
        self.ran("RAGIndex", name, active=history[0], history=history, **(WEAVIATE | more))

    def files(self) -> set[str]:
        """Return the files that lie in the state folder, the lock left out."""
        found = {str(p.relative_to(self.state.root)) for p in self.state.root.rglob("*") if p.is_file()}
        return found - {"lock"}

    def delete(self, *things: dict[str, Any], **options: Any) -> list[LocalRemoval]:
        """Delete what runs of these manifests left."""
        (self.folder / "m.yaml").write_text(yaml.safe_dump_all(things))
        backend = LocalBackend(self.state.root, platform_state=self.folder / "none", **options)
        return backend.delete(self.folder / "m.yaml")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_everything_of_the_manifests_goes_and_nothing_of_others(place: Place, weaviate: Weaviate) -> None:
    place.built("handbook", version("b"), version("a"), version("c", collectionDropped=True))
    place.built("faq", version("f"))
    place.artifacts("Dataset", "base")
    place.ran("Dataset", "base")
    found = place.delete(BASE, HANDBOOK)
    assert [(r.kind, r.name, r.collections, len(r.artifacts), r.status, r.left) for r in found] == [
        ("RAGIndex", "handbook", ("Gb", "Ga"), 1, True, ()),
        ("Dataset", "base", (), 1, True, ()),
    ]
    assert weaviate.calls == ["ready http://w:8080", "drop Gb", "drop Ga"]
    uid = place.state.uid("RAGIndex", "default", "faq")
    assert place.files() == {
        "objects/ragindex/default/faq.json",
        f"artifacts/default/ragindex/faq/{uid}/versions/chunks.parquet",
    }
    assert [p.name for p in (place.state.store / "default").iterdir()] == ["ragindex"], "empty folders go too"


def test_what_is_gone_is_gone(place: Place, weaviate: Weaviate) -> None:
    place.built("handbook", version("a"))
    assert [r.deleted for r in place.delete(HANDBOOK, BASE)] == [True, False]
    weaviate.fails = "ready"  # nobody has to ask for nothing
    assert [r.deleted for r in place.delete(HANDBOOK, BASE)] == [False, False]


def test_a_folder_that_never_was_is_not_made(tmp_path: Path, weaviate: Weaviate) -> None:
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(HANDBOOK))
    assert [r.deleted for r in LocalBackend(tmp_path / "state").delete(tmp_path / "m.yaml")] == [False]
    assert (list(tmp_path.iterdir()), weaviate.calls) == ([tmp_path / "m.yaml"], [])


def test_what_was_left_by_a_deletion_that_was_cut_off_goes_too(place: Place, weaviate: Weaviate) -> None:
    kept = place.artifacts("RAGIndex", "handbook")
    assert place.delete(HANDBOOK)[0].artifacts == (str(kept),)
    place.built("handbook", version("a", collectionDropped=True))
    assert place.delete(HANDBOOK)[0].status
    assert weaviate.calls == []


@pytest.mark.parametrize("fails", ["ready http://other", "drop Ga", "drop Gf"])
def test_while_a_weaviate_does_not_answer_the_state_stays(place: Place, weaviate: Weaviate, fails: str) -> None:
    place.built("handbook", version("a"))
    place.built("faq", version("f"), endpoint="http://other:8080", grpcEndpoint="http://other:1")
    place.artifacts("Dataset", "base")
    before = place.files()
    weaviate.fails = fails
    with pytest.raises(UnreachableError):
        place.delete(BASE, HANDBOOK, FAQ)
    assert place.files() == before
    assert ("drop" in fails) or weaviate.calls == ["ready http://w:8080"], "all are asked before the first one goes"
    weaviate.fails = ""
    assert all(r.deleted for r in place.delete(BASE, HANDBOOK, FAQ))
    assert place.files() == set()


def test_the_weaviate_that_is_named_is_asked_instead_of_the_one_in_the_status(place: Place, weaviate: Weaviate) -> None:
    place.built("handbook", version("a"))
    place.delete(HANDBOOK, vectors=VectorAccess.of_address("http://forwarded:1"))
    assert weaviate.calls == ["ready http://forwarded:1", "drop Ga"]


def test_a_status_without_an_address_asks_for_one(place: Place, weaviate: Weaviate) -> None:
    place.built("handbook", version("a"), endpoint=None)
    before = place.files()
    with pytest.raises(UnsupportedError, match="does not say which Weaviate") as error:
        place.delete(HANDBOOK)
    assert (error.value.hint, place.files()) == ("name it with --weaviate", before)


KEYS: dict[str, tuple[str, str]] = {
    "of that Weaviate": ("http://w:8080", "secrets/key/api-key"),
    "of another one": ("http://other:8080", "None"),
}


@pytest.mark.parametrize(("endpoint", "key"), KEYS.values(), ids=KEYS.keys())
def test_a_profile_among_the_manifests_gives_the_key(place: Place, weaviate: Weaviate, endpoint: str, key: str) -> None:
    place.built("handbook", version("a"))
    cluster = {"address": "http://ray:8265", "secretsPath": str(place.folder / "secrets")}
    store = {"endpoint": endpoint, "grpcEndpoint": WEAVIATE["grpcEndpoint"], "workloadSecretName": "key"}
    spec = {
        "runtime": {"rayCluster": cluster},
        "artifactStore": {"root": "s3://bucket/{namespace}/"},
        "vectorStore": store,
    }
    place.delete(API | {"kind": "ComputeProfile", "metadata": {"name": "laptop"}, "spec": spec}, HANDBOOK)
    assert {k.removeprefix(f"{place.folder}/") for k in weaviate.keys} == {key}


def test_what_is_not_ours_or_lies_elsewhere_stays_and_is_told(place: Place, weaviate: Weaviate) -> None:
    del weaviate
    other = place.artifacts("RAGIndex", "handbook", "11111111-1111-1111-1111-111111111111")
    uid, elsewhere = place.state.uid("RAGIndex", "default", "handbook"), place.folder / "elsewhere"
    elsewhere.mkdir()
    versions = [
        version("a", f"s3://bucket/default/ragindex/handbook/{uid}/versions/2/"),
        version("b", f"s3://bucket/default/ragindex/handbook/{uid}/versions/1/"),
        version("c", f"file://{elsewhere}/"),
        version("d", f"file://{place.folder}/moved/away/"),
        version("e", f"file://{place.state.store}/default/ragindex/handbook/{uid}/versions/3/"),
    ]
    place.built("handbook", *versions)
    (removed,) = place.delete(HANDBOOK)
    assert removed.left == (
        f"{other}: not made by runs of this folder",
        f"s3://bucket/default/ragindex/handbook/{uid}/: outside the state folder",
        f"file://{elsewhere}/: outside the state folder",
    )
    assert other.is_dir()


def test_a_folder_that_has_moved_still_has_its_artifacts_removed(place: Place, weaviate: Weaviate) -> None:
    del weaviate
    former = place.artifacts("RAGIndex", "handbook", "22222222-2222-2222-2222-222222222222")
    place.ran("RAGIndex", "handbook", uid=former.name)
    (removed,) = place.delete(HANDBOOK)
    assert (removed.artifacts, removed.left, place.files()) == ((str(former),), (), set())


def test_a_link_in_the_store_is_not_followed(place: Place, weaviate: Weaviate) -> None:
    del weaviate
    outside = place.folder / "mine"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (place.artifacts("RAGIndex", "handbook") / "link").symlink_to(outside)
    place.delete(HANDBOOK)
    assert (place.files(), (outside / "precious").exists()) == (set(), True)


@pytest.mark.parametrize("name", ["..", "../../..", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(place: Place, weaviate: Weaviate, name: str) -> None:
    place.built("handbook", version("a"))
    before = place.files()
    with pytest.raises(ManifestError, match="is no name of an object"):
        place.delete(HANDBOOK, manifest("RAGIndex", name))
    assert (place.files(), weaviate.calls) == (before, [])


def test_a_damaged_status_is_told_before_anything_goes(place: Place, weaviate: Weaviate) -> None:
    place.built("handbook", version("a"))
    place.ran("Dataset", "base")
    (place.state.root / "objects" / "dataset" / "default" / "base.json").write_text("{")
    before = place.files()
    with pytest.raises(ManifestError, match=r"base\.json is damaged"):
        place.delete(HANDBOOK, BASE)
    assert (place.files(), weaviate.calls) == (before, [])


def test_nothing_goes_under_the_hands_of_a_run(place: Place, weaviate: Weaviate) -> None:
    del weaviate
    place.built("handbook", version("a"))
    with place.state.locked(), pytest.raises(ConflictError, match="another run uses"):
        place.delete(HANDBOOK)


def test_manifests_without_anything_that_runs_are_named(place: Place, weaviate: Weaviate) -> None:
    del weaviate
    with pytest.raises(ManifestError, match="nothing to delete"):
        place.delete({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
