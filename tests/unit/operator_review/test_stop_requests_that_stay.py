"""Stop requests of Runs that were replaced: a process that comes back finds one, until its object is deleted; nobody else's is touched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.run import ProgressDocument, Stamp, StopRequest
from gradatim.api.runstatus import Attempt, Outcome, Progress, RunStatus, StoreIdentity
from gradatim.operator.applying import discard
from gradatim.operator.controls import KEPT_STOPS, forget_stopped, request_stop
from gradatim.operator.kube import Body
from gradatim.operator.naming import run_name
from gradatim.operator.stores.artifacts import ArtifactStore
from gradatim.operator.stores.identity import Opener

OWNER: Body = {"kind": "RAGIndex", "metadata": {"name": "docs", "namespace": "team", "uid": "u"}}
NAMES = [run_name("docs", "u", str(n)) for n in range(KEPT_STOPS + 2)]
LIST = "_control/object-u/stopped.json"


def identity(root: Path) -> StoreIdentity:
    """Return where the object's things are."""
    return StoreIdentity(profile="p", profile_uid="u", artifact_root=f"file://{root}/{{namespace}}/")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArtifactStore]:
    """Return the store of the namespace."""
    opener = Opener()
    yield opener.artifacts(identity(tmp_path), "team")
    await opener.close()


async def replaced(store: ArtifactStore, name: str, *, succeeded: bool = False) -> list[str]:
    """Discard a Run of that name; return which attempts the runtime was told to remove."""
    gone: list[str] = []

    async def delete(attempt: str) -> None:
        gone.append(attempt)

    async def runtime(*_: object) -> Any:
        return SimpleNamespace(delete=delete)

    async def artifacts(*_: object) -> ArtifactStore:
        return store

    async def find(*_: object) -> None:
        return None

    edges: Any = SimpleNamespace(runtime=runtime, artifacts=artifacts)
    kube: Any = SimpleNamespace(find=find)
    last = Attempt(number=1, outcome=Outcome.SUCCEEDED if succeeded else Outcome.STOPPED)
    run = RunStatus(name=name, trigger="generation", attempts=[last], done=True, succeeded=succeeded)
    await discard(kube, edges, identity(Path("/s")), OWNER, run)
    return gone


def progress(run: str, process: int) -> str:
    """Return what a process of a Run writes."""
    stamp = Stamp(uid="u", run=run, attempt=1, config_digest="c")
    found = ProgressDocument(
        stamp=stamp, heartbeat="2026-03-01T12:00:00Z", progress=Progress(stage="load"), process=process
    )
    return found.model_dump_json(by_alias=True)


def stop(name: str) -> str:
    """Return where a Run's stop request lies."""
    return f"_control/{name}/stop.json"


@pytest.mark.parametrize(
    ("asked", "succeeded", "process", "left"),
    [
        pytest.param(True, False, 1, [stop(NAMES[0]), LIST], id="one that was asked to stop"),
        pytest.param(False, False, 1, [stop(NAMES[0]), LIST], id="one that failed and was never asked"),
        pytest.param(True, True, 1, [], id="one that succeeded meanwhile"),
        pytest.param(False, True, 2, [stop(NAMES[0]), LIST], id="one of which a cut-off process may come back"),
        pytest.param(False, True, None, [stop(NAMES[0]), LIST], id="one of which nothing is known any more"),
    ],
)
async def test_what_stays_of_a_replaced_run(
    store: ArtifactStore, tmp_path: Path, asked: bool, succeeded: bool, process: int | None, left: list[str]
) -> None:
    folder = tmp_path / "team" / "ragindex" / "docs" / "u" / NAMES[0] / "a1"
    folder.mkdir(parents=True)
    if process is not None:
        (folder / "progress.json").write_text(progress(NAMES[0], process))
    if asked:
        await request_stop(store, NAMES[0], "the spec has changed")
    assert await replaced(store, NAMES[0], succeeded=succeeded) == [f"{NAMES[0]}-a1"]
    assert await store.list("_control") == sorted(left)
    for path in left[:1]:
        assert StopRequest.model_validate_json(await store.read(path) or b"").run == NAMES[0]


async def test_replacing_again_changes_nothing_and_the_oldest_go(store: ArtifactStore) -> None:
    for name in (*NAMES, NAMES[-1]):
        await replaced(store, name)
    kept = NAMES[2:]
    assert await store.list("_control") == sorted([LIST, *(stop(n) for n in kept)])
    assert json.loads(await store.read(LIST) or b"") == kept


async def test_with_the_object_go_its_own_and_no_others(store: ArtifactStore) -> None:
    others = [run_name("docs-two", "v", "1"), "papers-0123456789"]
    for name in others:
        await request_stop(store, name, "suspended")
    await replaced(store, NAMES[0])
    forged = [NAMES[0], *others, "../../team", "probe", 7, None]
    await store.write_control(LIST, json.dumps(forged).encode())
    await forget_stopped(store, OWNER)
    assert await store.list("_control") == sorted(stop(n) for n in others)
    await forget_stopped(store, OWNER)


@pytest.mark.parametrize("text", [b"not json", b'{"runs": []}', b"\xff", b"[" * 20_000], ids=range(4))
async def test_a_list_that_is_none_is_made_anew(store: ArtifactStore, text: bytes) -> None:
    await store.write_control(LIST, text)
    await replaced(store, NAMES[0])
    assert json.loads(await store.read(LIST) or b"") == [NAMES[0]]


async def test_a_list_that_is_a_link_holds_nobody_up(store: ArtifactStore, tmp_path: Path) -> None:
    folder = tmp_path / "team" / "_control" / "object-u"
    folder.mkdir(parents=True)
    (folder / "stopped.json").symlink_to("/etc/passwd")
    await replaced(store, NAMES[0])
    assert json.loads(await store.read(LIST) or b"") == [NAMES[0]]
