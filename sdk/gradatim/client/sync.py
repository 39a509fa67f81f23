"""The synchronous client: thin methods over the operations, for scripts, notebooks and the command line.

Everything it does is an operation shared with `AsyncClient` (`aio.py`). It keeps no state of its own; close it, or use it as a context manager.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from gradatim.api.base import ReadModel
from gradatim.api.ragindex import RAGIndex
from gradatim.client import base
from gradatim.client import operations as ops
from gradatim.client.base import ClientBase, KindLike, M
from gradatim.client.deleting import delete, delete_manifest
from gradatim.client.display import Listing
from gradatim.client.effects import Op
from gradatim.client.events import ObjectEvent, events
from gradatim.client.history import MetricHistory
from gradatim.client.logs import LogReader
from gradatim.client.manifests import Manifest, read_manifests
from gradatim.client.operations import Applied, WriteOptions
from gradatim.client.waiting import Goal, WaitUpdate, wait
from gradatim.client.watchevent import WatchEvent, typed_event
from gradatim.client.watching import Watcher

if TYPE_CHECKING:
    from gradatim.client.transport_sync import SyncTransport

R = TypeVar("R")


class Client(ClientBase):
    """A cluster, or the local platform, as typed objects.

    Kinds are given as a type (`RAGIndex`) or by a name (`"ragindex"`, `"ridx"`); `namespace` defaults to the client's. All methods raise
    subclasses of `GradatimError`. One client may be shared by threads.
    """

    _transport: SyncTransport | None = None

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def get(self, kind: KindLike[M], name: str, *, namespace: str | None = None) -> M:
        """Return one object. Raises `NotFoundError`."""
        found: M = self._run(base.op_get(self._target(kind, name, namespace)))
        return found

    def list(
        self,
        kind: KindLike[M],
        *,
        namespace: str | None = None,
        labels: str | None = None,
        all_namespaces: bool = False,
    ) -> Listing[M]:
        """Return all objects of a kind, read page by page; `labels` is a label selector."""
        return self._run(base.op_list(self._collection(kind, namespace, everywhere=all_namespaces), labels))

    def names(self, kind: KindLike[Any], *, namespace: str | None = None) -> Sequence[str]:
        """Return the names of a kind's objects, of 500 at most: one short request, as a completion wants it."""
        return self._run(base.op_names(self._collection(kind, namespace, everywhere=False)))

    @overload
    def apply(
        self, what: M | Mapping[str, Any], *, namespace: str | None = None, force: bool = False, dry_run: bool = False
    ) -> M: ...
    @overload
    def apply(
        self, what: str | Path, *, namespace: str | None = None, force: bool = False, dry_run: bool = False
    ) -> tuple[Applied, ...]: ...
    def apply(
        self,
        what: ReadModel | Mapping[str, Any] | str | Path,
        *,
        namespace: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Any:
        """Apply a typed object, a mapping, or all manifests of a file or folder, server-side.

        `force` takes over fields that others own; `dry_run` changes nothing. Raises `InvalidError` that names the wrong fields, or
        `ConflictError`.
        """
        options = WriteOptions(force=force, dry_run=dry_run)
        if isinstance(what, str | Path):
            return tuple(self.apply_manifest(m, namespace=namespace, options=options) for m in read_manifests(what))
        return self._run(base.op_apply(what, namespace or self.namespace, options))

    def apply_manifest(self, manifest: Manifest, *, namespace: str | None, options: WriteOptions) -> Applied:
        """Apply one manifest of any kind that the cluster knows, and say what changed."""
        return self._run(ops.apply(manifest, namespace or self.namespace, options))

    def create(self, what: M | Mapping[str, Any], *, namespace: str | None = None, dry_run: bool = False) -> M:
        """Create an object. Raises `AlreadyExistsError` or `InvalidError`."""
        found: M = self._run(base.op_create(what, namespace or self.namespace, WriteOptions(dry_run=dry_run)))
        return found

    def delete(
        self,
        kind: KindLike[M],
        name: str,
        *,
        namespace: str | None = None,
        wait: bool = True,
        timeout_seconds: float = 300.0,
    ) -> None:
        """Delete an object; wait up to `timeout_seconds` until it is gone. Raises `NotFoundError` or `WaitTimeoutError`."""
        self._run(delete(self._target(kind, name, namespace), wait_seconds=timeout_seconds if wait else None))

    def delete_manifest(
        self, manifest: Manifest, *, namespace: str | None = None, wait: bool = True, timeout_seconds: float = 300.0
    ) -> None:
        """Delete the object of a manifest, of any kind that the cluster knows. Raises `UnknownKindError`, and as `delete`."""
        wait_seconds = timeout_seconds if wait else None
        self._run(delete_manifest(manifest, namespace or self.namespace, wait_seconds=wait_seconds))

    def watch(
        self,
        kind: KindLike[M],
        name: str | None = None,
        *,
        namespace: str | None = None,
        labels: str | None = None,
        all_namespaces: bool = False,
    ) -> Iterator[WatchEvent[M]]:
        """Give what exists as ADDED and then every change, for ever; lost connections and expired versions are made good."""
        where = self._watched(kind, name, namespace, everywhere=all_namespaces)
        watcher = Watcher(where, labels=labels)
        with self._connected().session() as session:
            while True:
                event = session.run(watcher.next())
                if event is not None:
                    yield typed_event(where.kind, event)

    def wait(
        self,
        kind: KindLike[M],
        name: str,
        *,
        namespace: str | None = None,
        goal: Goal = "Ready",
        timeout_seconds: float = 1800.0,
        on_progress: Callable[[WaitUpdate], None] | None = None,
    ) -> M:
        """Wait until the condition holds for the current generation and no Run is under way; the Run of a suspended object is none.

        Raises `StalledError` with the reason, also when a Run that was requested will not start, `NotFoundError` if it is not there or is
        deleted, `WaitTimeoutError` after `timeout_seconds`.
        """
        where = self._target(kind, name, namespace)
        return ops.typed_body(where.kind, self._run(wait(where, goal, timeout_seconds, on_progress)))

    def rerun(self, kind: KindLike[M], name: str, *, namespace: str | None = None) -> M:
        """Ask for one new Run, whether anything changed or not. Raises `UnsupportedError` while the object is suspended or pinned."""
        found: M = self._run(base.op_rerun(self._target(kind, name, namespace)))
        return found

    def suspend(self, kind: KindLike[M], name: str, *, namespace: str | None = None) -> M:
        """Stop the active Run at its next checkpoint and start none until `resume`."""
        found: M = self._run(base.op_suspend(self._target(kind, name, namespace), value=True))
        return found

    def resume(self, kind: KindLike[M], name: str, *, namespace: str | None = None) -> M:
        """Take back `suspend`."""
        found: M = self._run(base.op_suspend(self._target(kind, name, namespace), value=False))
        return found

    def events(self, kind: KindLike[M], name: str, *, namespace: str | None = None) -> tuple[ObjectEvent, ...]:
        """Return the events of an object, oldest first."""
        return self._run(events(self._target(kind, name, namespace)))

    def logs(
        self,
        kind: KindLike[M],
        name: str,
        *,
        namespace: str | None = None,
        follow: bool = False,
        on_note: Callable[[str], None] | None = None,
    ) -> Iterator[str]:
        """Give the log of the latest attempt in pieces; with `follow`, until its Run is done, also from before its start.

        `on_note` hears what the log does not say: that it is an earlier Run's, or what a Run waits for. Raises `NotConfiguredError` if the
        Ray cluster wants a token and none is known, `StalledError` if the Run to follow will not start: suspended and pinned objects start
        none.
        """
        reader = LogReader(self._target(kind, name, namespace), state=self._state, follow=follow)
        while True:
            piece = self._run(reader.next())
            if piece.note and on_note is not None:
                on_note(piece.note)
            if piece.text:
                yield piece.text
            if piece.last or not follow:
                return
            self._run(base.op_pause())

    def metrics(self, kind: KindLike[M], name: str, *, namespace: str | None = None) -> MetricHistory:
        """Return the metrics of all versions that the object's status knows."""
        return self._run(base.op_metrics(self._target(kind, name, namespace)))

    def rollback(self, name: str, version: str, *, namespace: str | None = None) -> RAGIndex:
        """Pin an index to a version by label or digest: the alias is switched, nothing is rebuilt. Raises `NotFoundError`."""
        return self._run(base.op_pin(self._target(RAGIndex, name, namespace), version))

    def unpin(self, name: str, *, namespace: str | None = None) -> RAGIndex:
        """Let an index serve its newest good version again."""
        return self._run(base.op_pin(self._target(RAGIndex, name, namespace), None))

    def server_version(self) -> str:
        """Return the API server's version."""
        return self._run(base.op_server_version())

    def _connected(self) -> SyncTransport:
        if self._transport is None:
            from gradatim.client.transport_sync import SyncTransport

            self._transport = SyncTransport(self._connection)
        return self._transport

    def _run(self, op: Op[R]) -> R:
        return self._connected().run(op)
