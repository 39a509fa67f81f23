"""What a replaced Run has left in the artifact store goes when the next one starts; what others need, and what status names, stays."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Attempt, Outcome, RunStatus, StoreIdentity
from gradatim.operator.applying import discard
from gradatim.operator.errors import DependencyError, OperatorError, TryLater
from gradatim.operator.kube import Body
from gradatim.operator.leftovers import collect
from gradatim.operator.stores.artifacts import ArtifactStore, StoreFull
from gradatim.operator.stores.documents import ResultRejected
from gradatim.operator.stores.identity import Opener
from gradatim.operator.stores.local import LocalFiles

FOLDER = "ragindex/docs/u"
RUN = [
    "run-1/downloads/ab",
    "run-1/work/a1-0/rows",
    "run-1/checkpoints/vectors-0",
    "run-1/a1/result.json",
    "run-1/config.json",
]
OTHERS = ["run-10/a1/result.json", "checkpoints/vectors-1", "cache/0"]
NAMED = ["versions/0000000000000001/manifest.json", "versions/0000000000000001/chunks.parquet"]
UNNAMED = ["versions/0000000000000002/documents.parquet", "versions/0000000000000003/manifest.json"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArtifactStore]:
    """Return the store of the namespace, with all of these files."""
    for name in (*RUN, *OTHERS, *NAMED, *UNNAMED):
        path = tmp_path / "team" / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    opener = Opener()
    yield opener.artifacts(identity(tmp_path), "team")
    await opener.close()


def identity(root: Path) -> StoreIdentity:
    """Return where the object's things are."""
    return StoreIdentity(profile="p", profile_uid="u", artifact_root=f"file://{root}/{{namespace}}/")


def owner(root: Path) -> Body:
    """Return the object; its status names one version."""
    named = {"uri": f"file://{root}/team/{FOLDER}/versions/0000000000000001"}
    metadata = {"name": "docs", "namespace": "team", "uid": "u"}
    return {"kind": "RAGIndex", "metadata": metadata, "status": {"history": [named], "active": named}}


def replaced(*, succeeded: bool) -> RunStatus:
    """Return the Run that is replaced."""
    last = Attempt(number=1, outcome=Outcome.SUCCEEDED if succeeded else Outcome.FAILED)
    return RunStatus(name="run-1", trigger="schedule", attempts=[last], done=True, succeeded=succeeded)


@pytest.mark.parametrize(
    ("succeeded", "left"),
    [
        pytest.param(True, [*OTHERS, *NAMED], id="one that succeeded, and versions that never became one"),
        pytest.param(False, [*OTHERS, *NAMED, *UNNAMED], id="one that failed: the next may finish its version"),
    ],
)
async def test_what_goes_with(store: ArtifactStore, tmp_path: Path, succeeded: bool, left: list[str]) -> None:
    for _ in range(2):
        await collect(store, owner(tmp_path), replaced(succeeded=succeeded))
        assert await store.list("ragindex") == sorted(f"{FOLDER}/{name}" for name in left)


async def test_no_version_goes_while_status_names_one_that_lies_elsewhere(store: ArtifactStore, tmp_path: Path) -> None:
    moved = owner(tmp_path)
    moved["status"]["history"].append({"uri": "s3://elsewhere/1"})
    await collect(store, moved, replaced(succeeded=True))
    assert await store.list(f"{FOLDER}/versions") == sorted(f"{FOLDER}/{name}" for name in (*NAMED, *UNNAMED))


async def test_a_store_that_does_not_answer_keeps_the_frozen_inputs_for_the_next_try(tmp_path: Path) -> None:
    opener, calls = Opener(), list[str]()

    async def nothing(*_: object) -> None:
        return None

    async def find(*_: object) -> None:
        calls.append("find")

    async def edge(*_: object) -> Any:
        return SimpleNamespace(delete=nothing)

    async def artifacts(*_: object) -> ArtifactStore:
        return opener.artifacts(identity(tmp_path / "not-mounted"), "team")

    edges: Any = SimpleNamespace(runtime=edge, artifacts=artifacts)
    kube: Any = SimpleNamespace(find=find)
    with pytest.raises(DependencyError):
        await discard(kube, edges, identity(tmp_path), owner(tmp_path), replaced(succeeded=True))
    assert calls == []
    await opener.close()


async def test_more_versions_than_can_be_looked_through_stop_no_run(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> list[str]:
        raise TryLater("too much for one pass")

    monkeypatch.setattr(ArtifactStore, "list", full)
    await collect(store, owner(tmp_path), replaced(succeeded=True))
    monkeypatch.undo()
    assert len(await store.list(f"{FOLDER}/versions")) == 4


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, error: OperatorError) -> None:
    """Let the store refuse to delete what has this name."""
    real = ArtifactStore.delete

    async def delete(self: ArtifactStore, prefix: str, *, within: str) -> None:
        if prefix.endswith(name):
            raise error
        await real(self, prefix, within=within)

    monkeypatch.setattr(ArtifactStore, "delete", delete)


FORBIDDEN = DependencyError("artifactStore", "not allowed", reason=Reason.STORE_NOT_READABLE)


@pytest.mark.parametrize("name", ["/run-1", "/0000000000000002"])
@pytest.mark.parametrize("error", [FORBIDDEN, ResultRejected("a link")], ids=["forbidden", "a link"])
async def test_what_the_operator_may_not_remove_stops_no_run(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: OperatorError
) -> None:
    refusing(monkeypatch, name, error)
    await collect(store, owner(tmp_path), replaced(succeeded=True))
    left = {path.split("/")[-2] for path in await store.list(f"{FOLDER}/versions")}
    assert left == {"0000000000000001"} | ({"0000000000000002"} if name != "/run-1" else set())


async def test_versions_that_are_a_link_stop_no_run(store: ArtifactStore, tmp_path: Path) -> None:
    versions = tmp_path / "team" / FOLDER / "versions"
    versions.rename(tmp_path / "elsewhere")
    versions.symlink_to(tmp_path / "elsewhere")
    await collect(store, owner(tmp_path), replaced(succeeded=True))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 3, "nothing behind it goes"


async def test_a_store_that_does_not_answer_is_asked_again(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "/run-1", DependencyError("artifactStore", "no answer"))
    with pytest.raises(DependencyError):
        await collect(store, owner(tmp_path), replaced(succeeded=True))


@pytest.mark.parametrize("enough", [True, False])
async def test_on_a_full_disk_what_was_downloaded_makes_room_for_the_request_to_stop(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, enough: bool
) -> None:
    real, run = LocalFiles.write, tmp_path / "team" / FOLDER / "run-1"

    def write(self: LocalFiles, parts: Sequence[str], data: bytes) -> None:
        if not enough or (run / "downloads").exists() or (run / "work").exists():
            raise OSError(errno.ENOSPC, "no space left")
        real(self, parts, data)

    monkeypatch.setattr(LocalFiles, "write", write)
    if enough:
        await collect(store, owner(tmp_path), replaced(succeeded=False))
        assert await store.read("_control/run-1/stop.json") is not None
    else:
        with pytest.raises(StoreFull):
            await collect(store, owner(tmp_path), replaced(succeeded=False))
    assert run.exists() is not enough
