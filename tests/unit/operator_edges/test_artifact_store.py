"""The artifact store on a folder: what is absent, what is unknown, and what a workload cannot make the operator read or delete."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.breaker import Guard
from gradatim.operator.errors import DependencyError, OperatorError, WillNeverWork
from gradatim.operator.stores import artifacts
from gradatim.operator.stores.artifacts import ArtifactStore, StoreAddress, open_files, split_path
from gradatim.operator.stores.documents import ResultRejected
from gradatim.operator.stores.identity import Opener
from gradatim.operator.stores.local import Exhausted, LocalFiles, split_root
from gradatim.operator.stores.pace import Budget, Places

OBJECT = "ragindex/manuals/u-1"
RESULT = f"{OBJECT}/run/a1/result.json"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArtifactStore]:
    """Return the store of the namespace `team`; its folder does not exist yet."""
    opener = Opener()
    identity = StoreIdentity(profile="p", profile_uid="u", artifact_root=f"file://{tmp_path}/{{namespace}}/")
    yield opener.artifacts(identity, "team")
    await opener.close()


def put(root: Path, path: str, data: bytes = b"{}") -> Path:
    """Write a file as a workload would."""
    found = root / "team" / path
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_bytes(data)
    return found


async def test_a_namespace_without_files_holds_nothing(store: ArtifactStore) -> None:
    assert await store.read(RESULT) is None
    assert await store.list(OBJECT) == []
    await store.delete(OBJECT, within=OBJECT)


async def test_a_document_is_read_up_to_its_limit(store: ArtifactStore, tmp_path: Path) -> None:
    put(tmp_path, RESULT, b"12345")
    assert await store.read(RESULT, limit=5) == b"12345"
    with pytest.raises(ResultRejected, match="larger than 4 bytes"):
        await store.read(RESULT, limit=4)


async def test_a_store_that_is_not_mounted_is_unknown_and_not_empty(tmp_path: Path) -> None:
    opener = Opener()
    identity = StoreIdentity(profile="p", profile_uid="u", artifact_root=f"file://{tmp_path}/mnt/{{namespace}}/")
    store = opener.artifacts(identity, "team")
    for call in (store.read(RESULT), store.list(OBJECT), store.delete(OBJECT, within=OBJECT), store.probe()):
        with pytest.raises(DependencyError) as caught:
            await call
        assert (caught.value.dependency, caught.value.reason) == ("artifactStore", Reason.STORE_UNREACHABLE)
    assert not (tmp_path / "mnt").exists()
    await opener.close()


def link_to_secret(root: Path) -> None:
    (root / "secret").write_text("{}")
    put(root, RESULT).unlink()
    (root / "team" / RESULT).symlink_to(root / "secret")


def link_in_the_middle(root: Path) -> None:
    (root / "other/run/a1").mkdir(parents=True)
    (root / "other/run/a1/result.json").write_text("{}")
    (root / "team/ragindex/manuals").mkdir(parents=True)
    (root / "team" / OBJECT).symlink_to(root / "other")


def namespace_as_link(root: Path) -> None:
    put(root, RESULT)
    (root / "team").rename(root / "elsewhere")
    (root / "team").symlink_to(root / "elsewhere")


def pipe(root: Path) -> None:
    put(root, RESULT).unlink()
    os.mkfifo(root / "team" / RESULT)


def folder(root: Path) -> None:
    (root / "team" / RESULT).mkdir(parents=True)


def file_as_folder(root: Path) -> None:
    put(root, OBJECT)


@pytest.mark.parametrize("make", [link_to_secret, link_in_the_middle, namespace_as_link, pipe, folder, file_as_folder])
async def test_only_plain_files_are_read(store: ArtifactStore, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    with pytest.raises(ResultRejected):
        await store.read(RESULT)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a/../b", "..", ".", "a//b", "a/", "a\0b", "a\\..\\b"])
async def test_paths_that_leave_the_root_are_refused(store: ArtifactStore, path: str) -> None:
    with pytest.raises(WillNeverWork):
        split_path(path)
    with pytest.raises(WillNeverWork):
        await store.read(path)


async def test_the_operator_writes_below_control_only(store: ArtifactStore, tmp_path: Path) -> None:
    await store.write_control("_control/run/stop.json", b"1")
    await store.write_control("_control/run/stop.json", b"2")
    assert (tmp_path / "team/_control/run/stop.json").read_bytes() == b"2"
    assert await store.list("_control") == ["_control/run/stop.json"]
    for path in (RESULT, "_control", "_controller/x", "_control/../x"):
        with pytest.raises(WillNeverWork):
            await store.write_control(path, b"")


async def test_writing_through_a_link_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "team").mkdir()
    (tmp_path / "team/_control").symlink_to(tmp_path / "victim")
    with pytest.raises(ResultRejected):
        await store.write_control("_control/run/stop.json", b"1")
    assert list((tmp_path / "victim").iterdir()) == []


async def test_deletion_takes_the_object_and_nothing_else(store: ArtifactStore, tmp_path: Path) -> None:
    victim = put(tmp_path, "ragindex/manuals/u-12/keep")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    put(tmp_path, RESULT)
    (tmp_path / "team" / OBJECT / "link").symlink_to(outside)
    await store.delete(OBJECT + "/", within=OBJECT)
    await store.delete(OBJECT, within=OBJECT)
    assert not (tmp_path / "team" / OBJECT).exists()
    assert victim.exists()
    assert (outside / "keep").exists()


@pytest.mark.parametrize(
    ("prefix", "within"),
    [
        ("", OBJECT),
        ("ragindex", OBJECT),
        ("ragindex/manuals", "ragindex/manuals"),
        ("ragindex/manuals/u-12", OBJECT),
        (f"{OBJECT}/../u-2", OBJECT),
        ("_control", "_control"),
        ("_control/other", "_control/run"),
        ("/", "/"),
    ],
)
async def test_deletion_outside_an_objects_folder_is_refused(store: ArtifactStore, prefix: str, within: str) -> None:
    with pytest.raises(WillNeverWork):
        await store.delete(prefix, within=within)


def test_deletion_and_listing_are_bounded_and_go_on_where_they_ended(tmp_path: Path) -> None:
    for i in range(10):
        put(tmp_path, f"{OBJECT}/f{i}")
    files = LocalFiles(str(tmp_path), ("team",))
    with pytest.raises(Exhausted):
        files.list(OBJECT.split("/"), 9)
    with pytest.raises(Exhausted):
        files.delete(OBJECT.split("/"), 6)
    files.delete(OBJECT.split("/"), 6)
    assert not (tmp_path / "team" / OBJECT).exists()


async def test_a_probe_sees_what_it_wrote(store: ArtifactStore) -> None:
    await store.probe()
    await store.probe()
    assert await store.list("_control") == ["_control/probe/operator"]


class Broken:
    """A store that fails in one way."""

    def __init__(self, error: Exception | bytes) -> None:
        """Fail with `error`, or give those bytes for everything."""
        self.error = error

    def _fail(self, *_: Any) -> Any:
        if isinstance(self.error, bytes):
            return self.error
        raise self.error

    read = write = list = delete = _fail


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        pytest.param(OSError(5, "Input/output error"), Reason.STORE_UNREACHABLE, "cannot be used", id="a broken disk"),
        pytest.param(OSError(116, "Stale file handle"), Reason.STORE_UNREACHABLE, "cannot be used", id="a stale mount"),
        pytest.param(
            OSError(28, "No space left on device"), Reason.STORE_UNREACHABLE, "is full: free space", id="a full disk"
        ),
        pytest.param(
            OSError(122, "Disk quota exceeded"), Reason.STORE_UNREACHABLE, "is full: free space", id="a full quota"
        ),
        pytest.param(
            PermissionError(13, "denied"), Reason.STORE_NOT_READABLE, "check the permissions", id="no permission"
        ),
        pytest.param(
            OSError(30, "Read-only file system"), Reason.STORE_NOT_READABLE, "mount it writable", id="a read-only mount"
        ),
        pytest.param(
            OSError("When reading: AWS Error ACCESS_DENIED during HeadObject"),
            Reason.CREDENTIALS_REFUSED,
            "check the Secret",
            id="S3",
        ),
        pytest.param(
            b"something older", Reason.STORE_NOT_READABLE, "all replicas see the same", id="a store that forgets"
        ),
    ],
)
async def test_a_store_that_fails_is_reported_and_never_absent(
    error: Exception | bytes, reason: Reason, said: str
) -> None:
    places = Places(1)
    store = ArtifactStore("file:///x/", Broken(error), places, Budget())
    with pytest.raises(DependencyError) as caught:
        await store.probe()
    places.close()
    assert caught.value.reason == reason
    assert said in caught.value.message


async def test_a_dead_store_does_not_take_the_threads_of_the_others() -> None:
    release = threading.Event()
    dead, alive = Places(2), Places(2)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await dead.run(release.wait, 0.05)
    with pytest.raises(TimeoutError):
        await dead.run(lambda: True, 0.05)
    assert await alive.run(lambda: 1, 1.0) == 1
    release.set()
    assert await dead.run(lambda: 2, 1.0) == 2
    dead.close()
    alive.close()


class Silent:
    """Files that answer nothing until they are released."""

    def __init__(self) -> None:
        self.asked, self.release = 0, threading.Event()

    def read(self, *_: Any) -> bytes:
        """Hang."""
        self.asked += 1
        self.release.wait(2)
        return b"{}"


async def test_a_store_that_hangs_is_left_alone_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "CALL_SECONDS", 0.03)
    files, places, now = Silent(), Places(4), 0.0
    store = ArtifactStore("file:///x/", files, places, Budget(), Guard(clock=lambda: now))  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(DependencyError, match="did not answer in time"):
            await store.read(RESULT)
    with pytest.raises(DependencyError, match="does not answer; it is asked again"):
        await store.read(RESULT)
    assert files.asked == 3
    files.release.set()
    now = 60.0
    assert await store.read(RESULT) == b"{}"
    places.close()


async def test_reads_of_all_stores_share_one_budget() -> None:
    budget, loop = Budget(rate=100.0, burst=2), asyncio.get_running_loop()
    start = loop.time()
    await asyncio.gather(*(budget.take() for _ in range(12)))
    assert loop.time() - start >= 0.099


@pytest.mark.parametrize(
    ("template", "base", "scope"),
    [
        ("/store/{namespace}/", "/store", ("team",)),
        ("/store/{namespace}", "/store", ("team",)),
        ("/a/b/x-{namespace}/models", "/a/b", ("x-team", "models")),
    ],
)
def test_what_lies_before_the_namespace_must_exist(template: str, base: str, scope: tuple[str, ...]) -> None:
    assert split_root(template, "team") == LocalFiles(base, scope)


@pytest.mark.parametrize("template", ["file:///store/", "file:///store/../{namespace}/", "http://x/{namespace}/"])
def test_a_root_that_cannot_keep_namespaces_apart_is_refused(template: str) -> None:
    with pytest.raises(OperatorError):
        open_files(StoreAddress(template), "team")
