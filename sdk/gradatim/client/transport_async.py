"""Carries out operations on an event loop. See `transport.py` for what it must not do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar, cast

import httpx

from gradatim.client.credentials import Headers
from gradatim.client.effects import Clock, Close, Effect, Op, Open, ReadLine, Request, Response, Sleep
from gradatim.client.errors import GradatimError, from_response
from gradatim.client.kubeconfig import Connection
from gradatim.client.transport import FAILURES, LineCutter, Setup, answer

T = TypeVar("T")


class AsyncTransport:
    """The connections of one client; it belongs to one event loop."""

    def __init__(self, connection: Connection) -> None:
        self.setup = Setup(connection)
        self._cluster = httpx.AsyncClient(**self.setup.cluster)
        self._others: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._cluster, *self._others.values()):
            await client.aclose()

    async def run(self, op: Op[T]) -> T:
        """Carry out one operation to its end."""
        async with self.session() as session:
            return await session.run(op)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Give a session that keeps streams open between operations and closes them at its end."""
        async with AsyncExitStack() as stack:
            yield AsyncSession(self, stack)

    def client(self, request: Request) -> httpx.AsyncClient:
        """Return the client for a request."""
        if request.base is None:
            return self._cluster
        if request.base not in self._others:
            self._others[request.base] = httpx.AsyncClient(**self.setup.other(request))
        return self._others[request.base]

    async def headers(self, request: Request, *, afresh: bool = False) -> Headers:
        """Return the credentials' headers; files and plugins are read in a thread."""
        if self.setup.credentials.refreshable and request.base is None:
            return await asyncio.to_thread(self.setup.headers, request, afresh=afresh)
        return self.setup.headers(request, afresh=afresh)


class AsyncSession:
    """A row of operations that share streams."""

    def __init__(self, transport: AsyncTransport, stack: AsyncExitStack) -> None:
        self._transport = transport
        self._stack = stack

    async def run(self, op: Op[T]) -> T:
        """Carry out one operation to its end."""
        try:
            effect = next(op)
            while True:
                try:
                    result = await self._perform(effect)
                except GradatimError as error:
                    effect = op.throw(error)
                else:
                    effect = op.send(result)
        except StopIteration as done:
            return cast("T", done.value)
        finally:
            op.close()

    async def _perform(self, effect: Effect) -> object:
        match effect:
            case Request():
                return await self._send(effect)
            case Open(request):
                return await self._open(request)
            case ReadLine(stream):
                return await cast("_Lines", stream).next()
            case Close(stream):
                await cast("_Lines", stream).close()
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Clock():
                return time.monotonic()
        return None

    async def _send(self, request: Request) -> Response:
        transport, setup, client = self._transport, self._transport.setup, self._transport.client(request)
        try:
            response = await client.request(**setup.arguments(request, await transport.headers(request)))
            if setup.again(request, response.status_code):
                headers = await transport.headers(request, afresh=True)
                response = await client.request(**setup.arguments(request, headers))
        except FAILURES as error:
            raise setup.failure(request, error) from error
        return answer(response)

    async def _open(self, request: Request) -> _Lines:
        lines = _Lines(self._transport, request)
        self._stack.push_async_callback(lines.close)
        response = await lines.open(afresh=False)
        if self._transport.setup.again(request, response.status_code):
            await lines.close()
            response = await lines.open(afresh=True)
        if response.status_code >= 400:
            raise from_response(response.status_code, response.headers, await response.aread())
        return lines


class _Lines:
    """An open answer, line by line."""

    def __init__(self, transport: AsyncTransport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._stack = AsyncExitStack()
        self._lines: AsyncIterator[bytes] | None = None

    async def open(self, *, afresh: bool) -> httpx.Response:
        headers = await self._transport.headers(self._request, afresh=afresh)
        arguments = self._transport.setup.arguments(self._request, headers)
        try:
            client = self._transport.client(self._request)
            response = await self._stack.enter_async_context(client.stream(**arguments))
        except FAILURES as error:
            raise self._transport.setup.failure(self._request, error) from error
        self._lines = _cut(response)
        return response

    async def next(self) -> bytes | None:
        if self._lines is None:
            return None
        try:
            return await anext(self._lines, None)
        except FAILURES as error:
            raise self._transport.setup.failure(self._request, error) from error

    async def close(self) -> None:
        await self._stack.aclose()


async def _cut(response: httpx.Response) -> AsyncIterator[bytes]:
    cutter = LineCutter()
    async for piece in response.aiter_bytes():
        for line in cutter.take(piece):
            yield line
    for line in cutter.end():
        yield line
