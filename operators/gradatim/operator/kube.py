"""The only module that talks to the Kubernetes API: dicts in, dicts out, over one aiohttp session.

Used by `loop` and `resync`. Credentials come from kopf's own login (service account or kubeconfig), so the watch streams and the calls here
have one identity; no generated client is imported, which would cost more memory than the rest of the operator. Every error leaves as one of
the classes below; nothing is retried here but 429 and 503 with their Retry-After, because the work queue owns patience.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import aiohttp
import kopf

from gradatim.api.meta import MANAGER
from gradatim.operator.kubeapi import (
    CONFIG_MAPS,
    EVENTS,
    NAMESPACES,
    SECRETS,
    AlreadyExists,
    ApiUnreachable,
    Body,
    Conflict,
    InvalidName,
    KubeError,
    NotFound,
    Resource,
    error_of,
    is_name,
    is_owned_by,
    ours,
    owner_reference,
    parsed,
    retry_after,
    without_managed_fields,
)
from gradatim.operator.sharedread import SharedRead

__all__ = [
    "CONFIG_MAPS",
    "EVENTS",
    "NAMESPACES",
    "SECRETS",
    "AlreadyExists",
    "ApiUnreachable",
    "Body",
    "Conflict",
    "Credentials",
    "InvalidName",
    "Kube",
    "KubeError",
    "NotFound",
    "Resource",
    "is_name",
    "is_owned_by",
    "ours",
    "owner_reference",
]
logger = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
RECENT_ENTRIES = 4096
# With spec and status left out an answer is a fraction of the object; a server that cannot leave them out sends the whole.
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class Credentials(Protocol):
    """Gives the operator's identity; `renew` when the server has refused it, since a token may have been rotated meanwhile."""

    def __call__(self, *, renew: bool = False) -> kopf.ConnectionInfo:
        """Return the identity."""
        ...


class Kube:
    """Calls on the API server. One instance per process; `calls` counts them by verb and resource for the metrics."""

    def __init__(
        self, credentials: Credentials, observe: Callable[[str, str, int, float], None] = lambda *_: None
    ) -> None:
        self._credentials = credentials
        self._observe = observe
        self._session: aiohttp.ClientSession | None = None
        self._stale: list[aiohttp.ClientSession] = []  # calls may still be under way on the last one
        self._info: kopf.ConnectionInfo | None = None
        self._recent: dict[tuple[Resource, str, str], SharedRead[Body | None]] = {}

    async def close(self) -> None:
        """Close the connections."""
        for session in (*self._stale, *([self._session] if self._session else [])):
            await session.close()
        self._session, self._stale = None, []

    def _open(self, *, renew: bool = False) -> tuple[aiohttp.ClientSession, kopf.ConnectionInfo]:
        info = self._credentials(renew=renew)
        if self._session is None or info != self._info:
            for session in self._stale:
                asyncio.get_running_loop().create_task(session.close())
            self._stale = [self._session] if self._session is not None else []
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=info.as_ssl_context(), limit=64),
                headers={"User-Agent": "gradatim-operator", "Accept": "application/json"} | info.as_http_headers(),
                timeout=TIMEOUT,
            )
            self._info = info
        return self._session, info

    async def get(self, resource: Resource, namespace: str, name: str, subresource: str = "") -> Body:
        """Return the object. Raises `NotFound`, also for what can be no name."""
        if not name:
            raise InvalidName(resource.plural, name)  # its path would be that of the collection
        return await self._call("GET", resource.path(namespace, name, subresource), resource)

    async def find(self, resource: Resource, namespace: str, name: str, subresource: str = "") -> Body | None:
        """Return the object, or None when the server says it is not there, or nothing can have that name."""
        try:
            return await self.get(resource, namespace, name, subresource)
        except NotFound:
            return None

    async def recent(self, resource: Resource, namespace: str, name: str) -> Body | None:
        """Return the object as read at most a second ago: for what thousands of passes share and nothing is written to.

        Concurrent callers share one request.
        """
        key, now = (resource, namespace, name), time.monotonic()
        held = self._recent.get(key)
        if held is None or held.stale(now):
            held = self._recent[key] = SharedRead(self.find(resource, namespace, name), now)
            if len(self._recent) > RECENT_ENTRIES:
                self._recent.pop(next(iter(self._recent)))
        return await held.answer()

    def forget_recent(self, resource: Resource, namespace: str, name: str) -> None:
        """Read anew next time: a watch event says that the object has changed."""
        self._recent.pop((resource, namespace, name), None)

    async def pages(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        limit: int = 500,
        metadata_only: bool = False,
    ) -> AsyncIterator[list[Body]]:
        """Yield the items page by page; an expired page token starts over from the server's newest state."""
        headers = {"Accept": METADATA_LIST} if metadata_only else None
        token = ""
        while True:
            params = {"limit": str(limit)} | ({"labelSelector": labels} if labels else {})
            if token:
                params["continue"] = token
            try:
                page = await self._call(
                    "GET", resource.path(namespace), resource, params=params, verb="LIST", headers=headers
                )
            except KubeError as error:
                if error.status != 410 or not token:
                    raise
                token = ""
                continue
            yield page.get("items") or []  # a list of metadata alone is null when it is empty
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return

    async def create(self, resource: Resource, namespace: str, body: Body) -> Body:
        """POST. Raises `AlreadyExists`."""
        try:
            return await self._call("POST", resource.path(namespace), resource, body=body)
        except Conflict as error:
            raise AlreadyExists(error.status, error.api_reason, error.message) from error

    async def put_status(self, resource: Resource, body: Body) -> Body:
        """Replace the status of `body`, which carries the resourceVersion that was read; return the new metadata. Raises `Conflict`."""
        metadata = without_managed_fields(body["metadata"])
        path = resource.path(metadata.get("namespace", ""), metadata["name"], "status")
        params = {"fieldManager": MANAGER}
        answer = await self._call(
            "PUT",
            path,
            resource,
            # The server keeps its own spec and managed fields here, and would decode ours for nothing.
            body={k: v for k, v in body.items() if k != "spec"} | {"metadata": metadata},
            params=params,
            verb="PUT_STATUS",
            headers={"Accept": METADATA_ONLY},
        )
        found: Body = answer["metadata"]
        return found

    async def set_finalizers(self, resource: Resource, body: Body, finalizers: list[str]) -> Body:
        """Write the list of finalizers, with the resourceVersion of `body` as precondition. Raises `Conflict`."""
        metadata = body["metadata"]
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        return await self._call("PATCH", path, resource, body=patch, headers=MERGE_PATCH, verb="PATCH")

    async def delete(self, resource: Resource, body: Body, propagation: str = "Background") -> None:
        """Delete exactly the object that was read: uid and resourceVersion are preconditions. Absent is fine.

        With propagation `Foreground` it stays visible until everything that it owns is gone.
        """
        metadata = body["metadata"]
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        }
        try:
            await self._call(
                "DELETE", resource.path(metadata.get("namespace", ""), metadata["name"]), resource, body=options
            )
        except NotFound:
            return

    async def _call(
        self,
        method: str,
        path: str,
        resource: Resource,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verb: str = "",
    ) -> Body:
        sent = ({"Content-Type": "application/json"} if body is not None else {}) | dict(headers or {})
        refused = False
        for attempt in range(1, resource.tries + 1):
            session, info = self._open(renew=refused)
            started = time.monotonic()
            try:
                async with session.request(
                    method,
                    info.server.rstrip("/") + path,
                    params=params,
                    data=None if body is None else json.dumps(body, separators=(",", ":")),
                    headers=sent,
                    allow_redirects=False,
                ) as response:
                    text = await response.text()
                    self._observe(verb or method, resource.plural, response.status, time.monotonic() - started)
                    if response.status < 300:
                        return parsed(text)
                    wait = retry_after(response)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._observe(verb or method, resource.plural, 0, time.monotonic() - started)
                raise ApiUnreachable(f"the API server did not answer {method} {path}: {error!r}") from error
            if response.status == 401 and not refused and attempt < resource.tries:
                refused = True
                continue
            if wait is None or attempt == resource.tries:
                raise error_of(response.status, text, method, path)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")
