"""An HTTP proxy in front of a real server, which records every call and does what a test tells it to do to some of them.

Used by `tests/support/operator.py` before the API server and before Weaviate. It speaks plain HTTP on loopback and TLS, if the server wants
it, behind. Hooks see parsed calls; without hooks it only forwards, watch streams line by line.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"})
_LINE = 2**22


class Cut(Exception):
    """Raised by a hook: close the client's connection without an answer."""


@dataclass(frozen=True)
class Call:
    """One request. The resource fields are filled for paths of the Kubernetes API, empty for others."""

    number: int
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    token: str = ""

    @property
    def watch(self) -> bool:
        """Return whether the answer is a stream of events."""
        return self.query.get("watch") in {"true", "1"}

    @property
    def write(self) -> bool:
        """Return whether the call changes something."""
        return self.method != "GET"

    @property
    def document(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    def __str__(self) -> str:
        """Return the call without what differs from run to run."""
        return " ".join(p for p in (self.method, self.plural or self.path, self.subresource) if p)


@dataclass(frozen=True)
class Answer:
    """What the client gets."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    @property
    def document(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


Before = Callable[[Call], Awaitable[Answer | None]]
After = Callable[[Call, Answer], Awaitable[Answer]]
OnEvent = Callable[[Call, bytes], Awaitable[bytes | None]]


def refusal(status: int, reason: str = "", **headers: str) -> Answer:
    """Return a Kubernetes Status answer."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status}
    body |= {"message": f"injected {status}"}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"} | headers)


class Proxy:
    """Forwards to `upstream`. `before` may answer in its place, `after` may change the answer, `on_event` a watch line."""

    def __init__(self, upstream: str, context: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream.rstrip("/")
        self.calls: list[Call] = []
        self.before: list[Before] = []
        self.after: list[After] = []
        self.on_event: list[OnEvent] = []
        self.url = ""
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self._streams: set[asyncio.Task[Any]] = set()

    @property
    def writes(self) -> list[Call]:
        """Return the recorded calls that change something."""
        return [call for call in self.calls if call.write]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Proxy]:
        """Serve until the end of the block."""
        connector = aiohttp.TCPConnector(ssl=self._context or False, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, connect=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_LINE) as session:
            self._session = session
            server = web.Server(self._handle, handler_cancellation=True)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)  # streams never end by themselves
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            assert runner.addresses
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                self.cut_streams()
                await runner.cleanup()

    @contextlib.contextmanager
    def fault(
        self, *, before: Before | None = None, after: After | None = None, on_event: OnEvent | None = None
    ) -> Any:
        """Use hooks until the end of the block."""
        pairs: list[tuple[list[Any], Any]] = [(self.before, before), (self.after, after), (self.on_event, on_event)]
        for hooks, hook in pairs:
            if hook is not None:
                hooks.append(hook)
        try:
            yield
        finally:
            for hooks, hook in pairs:
                if hook is not None:
                    hooks.remove(hook)

    def cut_streams(self) -> None:
        """Break every open watch."""
        for task in list(self._streams):
            task.cancel()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()  # as large as the API server takes, not as aiohttp would
        call = _parsed(len(self.calls), request, body)
        self.calls.append(call)
        try:
            for before in list(self.before):
                answer = await before(call)
                if answer is not None:
                    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
            if call.watch:
                return await self._stream(request, call)
            answer = await self._forward(request, call)
            for after in list(self.after):
                answer = await after(call, answer)
        except (Cut, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _forward(self, request: web.BaseRequest, call: Call) -> Answer:
        assert self._session is not None
        async with self._session.request(
            call.method,
            self.upstream + request.raw_path.split("?")[0],
            params=list(request.query.items()),
            data=io.BytesIO(call.body) if call.body else None,
            headers=_headers(request),
            allow_redirects=False,
        ) as response:
            data = await response.read()
            headers = {k: v for k, v in response.headers.items() if k.lower() not in _HOP_BY_HOP}
            return Answer(response.status, data, headers)

    async def _stream(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        assert self._session is not None
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        out = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            async with self._session.get(
                self.upstream + call.path, params=list(request.query.items()), headers=_headers(request)
            ) as response:
                out.set_status(response.status)
                await out.prepare(request)
                async for line in response.content:
                    found: bytes | None = line
                    for hook in list(self.on_event):
                        found = None if found is None else await hook(call, found)
                    if found is not None:
                        await out.write(found)
        except (asyncio.CancelledError, aiohttp.ClientError, ConnectionError, Cut):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.discard(task)
        return out


def _headers(request: web.BaseRequest) -> dict[str, str]:
    return {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP | {"accept-encoding"}}


def _parsed(number: int, request: web.BaseRequest, body: bytes) -> Call:
    call = {"number": number, "method": request.method, "path": request.path}
    found: dict[str, str] = {"token": request.headers.get("Authorization", "").removeprefix("Bearer ")}
    parts = request.path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    if len(rest) > 2 and rest[0] == "namespaces":
        found["namespace"], rest = rest[1], rest[2:]
    for key, value in zip(("plural", "name", "subresource"), rest, strict=False):
        found[key] = value
    return Call(**call, query=dict(request.query), body=body, **found)  # type: ignore[arg-type]
