"""What both clients are built on: the connection, the default namespace, and how arguments become targets.

No I/O but reading the kubeconfig. `Client` and `AsyncClient` add only the carrying out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from typing_extensions import TypeVar

from gradatim.api.base import ReadModel
from gradatim.api.ragindex import RAGIndex
from gradatim.client import operations as ops
from gradatim.client.display import Listing
from gradatim.client.effects import Op, Request, sleep
from gradatim.client.history import MetricHistory, metric_history
from gradatim.client.kubeconfig import Connection, find_connection
from gradatim.client.logs import FOLLOW_SECONDS
from gradatim.client.manifests import manifest_of
from gradatim.client.operations import Target, WriteOptions, target
from gradatim.client.resources import known_kind
from gradatim.client.versions import find_version

M = TypeVar("M", bound=ReadModel, default=ReadModel)
"""The type of a kind; `ReadModel` when the kind is given by name."""
KindLike = str | type[M]


class ClientBase:
    """A connection and a namespace.

    `kubeconfig`, `context` and `namespace` default to what kubectl would take, with the local platform's in front of ~/.kube/config.
    `state` is the folder of a local platform: without `kubeconfig` it is that one, whatever the environment says.
    """

    def __init__(
        self,
        kubeconfig: str | Path | None = None,
        *,
        context: str | None = None,
        namespace: str | None = None,
        state: Path | None = None,
        connection: Connection | None = None,
    ) -> None:
        self._connection = connection or find_connection(kubeconfig, context=context, state=state)
        self.namespace = namespace or self._connection.namespace
        self._state = state

    @property
    def server(self) -> str:
        """Return the API server's address."""
        return self._connection.server

    def _target(self, kind: str | type[ReadModel], name: str | None, namespace: str | None) -> Target:
        return target(kind, name, namespace or self.namespace)

    def _collection(self, kind: str | type[ReadModel], namespace: str | None, *, everywhere: bool) -> Target:
        return target(kind, None, None if everywhere else namespace or self.namespace)

    def _watched(
        self, kind: str | type[ReadModel], name: str | None, namespace: str | None, *, everywhere: bool
    ) -> Target:
        if name is not None:
            return self._target(kind, name, namespace)
        return self._collection(kind, namespace, everywhere=everywhere)


def op_get(where: Target) -> Op[Any]:
    """Read one object as its type."""
    return ops.typed_body(where.kind, (yield from ops.get(where)))


def op_list(where: Target, labels: str | None) -> Op[Listing[Any]]:
    """Read all objects as their type."""
    page = yield from ops.list_page(where, labels=labels)
    return Listing(where.kind, [ops.typed_body(where.kind, body) for body in page.items])


def op_names(where: Target) -> Op[list[str]]:
    """Read the names of the first objects."""
    return (yield from ops.some_names(where))[0]


def op_apply(what: ReadModel | Mapping[str, Any], namespace: str, options: WriteOptions) -> Op[Any]:
    """Apply one object and return it as its type."""
    applied = yield from ops.apply(manifest_of(what), namespace, options)
    return ops.typed_body(known_kind(applied.kind), applied.body)


def op_create(what: ReadModel | Mapping[str, Any], namespace: str, options: WriteOptions) -> Op[Any]:
    """Create one object and return it as its type."""
    body = yield from ops.create(what, namespace, options)
    return ops.typed_body(known_kind(str(body["kind"])), body)


def op_rerun(where: Target) -> Op[Any]:
    """Ask for one new Run."""
    return ops.typed_body(where.kind, (yield from ops.rerun(where)))


def op_suspend(where: Target, *, value: bool) -> Op[Any]:
    """Set or clear `spec.suspend`."""
    return ops.typed_body(where.kind, (yield from ops.suspend(where, value=value)))


def op_metrics(where: Target) -> Op[MetricHistory]:
    """Read the metrics of all versions."""
    return metric_history((yield from op_get(where)))


def op_pin(where: Target, version: str | None) -> Op[RAGIndex]:
    """Pin an index to a version by label or digest, or unpin it."""
    pin = None
    if version is not None:
        pin = {"digest": find_version((yield from op_get(where)), version).digest}
    body = yield from ops.patch(where, {"spec": {"versions": {"pin": pin}}})
    return cast("RAGIndex", ops.typed_body(where.kind, body))


def op_pause() -> Op[None]:
    """Wait for more of a log."""
    yield from sleep(FOLLOW_SECONDS)


def op_server_version() -> Op[str]:
    """Read the API server's version."""
    return str((yield from ops.call(Request("GET", "/version"))).get("gitVersion") or "unknown")
