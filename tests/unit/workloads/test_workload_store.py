"""The artifact store as a workload sees it: nothing outside the root, writes whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.api.run import StoreConfig
from gradatim.workloads.errors import NotFound, StoreError
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.open(StoreConfig(root=f"file://{tmp_path}/team/"), SecretFolder(None))


def test_what_was_written_can_be_read_listed_measured_and_deleted(store: ArtifactStore) -> None:
    store.write("a/b/two.json", b"22")
    store.write("a/one.json", b"1")
    store.write("a/one.json", b"111")
    assert store.list("a") == ["a/b/two.json", "a/one.json"]
    assert (store.read("a/one.json"), store.size("a/one.json"), store.exists("a/b")) == (b"111", 3, False)
    assert store.path_of(store.uri("a/one.json")) == "a/one.json"
    store.delete("a/b")
    store.delete("a/b")
    assert store.list("a") == ["a/one.json"]
    assert store.list("nothing") == []


@pytest.mark.parametrize(
    "path",
    ["../other/x", "a/../../other/x", "/etc/passwd", "", "a//b", "a/./b", "a\0b"],
    ids=["a parent", "a parent further in", "an absolute path", "nothing", "an empty part", "a dot", "a zero byte"],
)
def test_a_path_that_leaves_the_root_is_refused(store: ArtifactStore, path: str) -> None:
    for action in (store.read, store.exists, store.delete, store.uri):
        with pytest.raises(StoreError):
            action(path)


def test_an_address_of_another_place_is_refused(store: ArtifactStore) -> None:
    for uri in ("file:///elsewhere/x", store.root + "../other/x", "s3://bucket/team/x"):
        with pytest.raises(StoreError):
            store.path_of(uri)


def test_a_link_out_of_the_root_is_neither_read_nor_written_nor_listed(store: ArtifactStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    store.write("a/real", b"1")
    (tmp_path / "team" / "a" / "link").symlink_to(outside / "secret")
    (tmp_path / "team" / "folder").symlink_to(outside)
    for action in (lambda: store.read("a/link"), lambda: store.write("folder/new", b""), lambda: store.list("folder")):
        with pytest.raises(StoreError, match="link"):
            action()
    assert store.list("a") == ["a/real"]


def test_reading_beyond_the_limit_or_what_is_not_there_says_so(store: ArtifactStore) -> None:
    store.write("big", b"x" * 11)
    assert store.read("big", 11) == b"x" * 11
    with pytest.raises(StoreError, match="larger than 10 bytes"):
        store.read("big", 10)
    with pytest.raises(NotFound):
        store.read("missing")


def test_a_write_that_fails_leaves_the_old_content_and_no_trace(store: ArtifactStore, tmp_path: Path) -> None:
    store.write("a/file", b"old")

    def break_off() -> None:
        with store.open_output("a/file") as stream:
            stream.write(b"half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert store.read("a/file") == b"old"
    assert [path.name for path in (tmp_path / "team" / "a").iterdir()] == ["file"]
