"""Carries out operations in the calling thread. See `transport.py` for what it must not do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar, cast

import httpx

from gradatim.client.effects import Clock, Close, Effect, Op, Open, ReadLine, Request, Response, Sleep
from gradatim.client.errors import GradatimError, from_response
from gradatim.client.kubeconfig import Connection
from gradatim.client.transport import FAILURES, LineCutter, Setup, answer

T = TypeVar("T")


class SyncTransport:
    """The connections of one client; threads may share it."""

    def __init__(self, connection: Connection) -> None:
        self.setup = Setup(connection)
        self._cluster = httpx.Client(**self.setup.cluster)
        self._others: dict[str, httpx.Client] = {}

    def close(self) -> None:
        """Close all connections."""
        for client in (self._cluster, *self._others.values()):
            client.close()

    def run(self, op: Op[T]) -> T:
        """Carry out one operation to its end."""
        with self.session() as session:
            return session.run(op)

    @contextmanager
    def session(self) -> Iterator[SyncSession]:
        """Give a session that keeps streams open between operations and closes them at its end."""
        with ExitStack() as stack:
            yield SyncSession(self, stack)

    def client(self, request: Request) -> httpx.Client:
        """Return the client for a request."""
        if request.base is None:
            return self._cluster
        if request.base not in self._others:
            self._others[request.base] = httpx.Client(**self.setup.other(request))
        return self._others[request.base]


class SyncSession:
    """A row of operations that share streams."""

    def __init__(self, transport: SyncTransport, stack: ExitStack) -> None:
        self._transport = transport
        self._stack = stack

    def run(self, op: Op[T]) -> T:
        """Carry out one operation to its end."""
        try:
            effect = next(op)
            while True:
                try:
                    result = self._perform(effect)
                except GradatimError as error:
                    effect = op.throw(error)
                else:
                    effect = op.send(result)
        except StopIteration as done:
            return cast("T", done.value)
        finally:
            op.close()

    def _perform(self, effect: Effect) -> object:
        match effect:
            case Request():
                return self._send(effect)
            case Open(request):
                return self._open(request)
            case ReadLine(stream):
                return cast("_Lines", stream).next()
            case Close(stream):
                cast("_Lines", stream).close()
            case Sleep(seconds):
                time.sleep(seconds)
            case Clock():
                return time.monotonic()
        return None

    def _send(self, request: Request) -> Response:
        setup, client = self._transport.setup, self._transport.client(request)
        try:
            response = client.request(**setup.arguments(request, setup.headers(request)))
            if setup.again(request, response.status_code):
                response = client.request(**setup.arguments(request, setup.headers(request, afresh=True)))
        except FAILURES as error:
            raise setup.failure(request, error) from error
        return answer(response)

    def _open(self, request: Request) -> _Lines:
        lines = _Lines(self._transport, request)
        self._stack.callback(lines.close)
        response = lines.open(afresh=False)
        if self._transport.setup.again(request, response.status_code):
            lines.close()
            response = lines.open(afresh=True)
        if response.status_code >= 400:
            raise from_response(response.status_code, response.headers, response.read())
        return lines


class _Lines:
    """An open answer, line by line."""

    def __init__(self, transport: SyncTransport, request: Request) -> None:
        self._setup = transport.setup
        self._client = transport.client(request)
        self._request = request
        self._stack = ExitStack()
        self._lines: Iterator[bytes] = iter(())

    def open(self, *, afresh: bool) -> httpx.Response:
        arguments = self._setup.arguments(self._request, self._setup.headers(self._request, afresh=afresh))
        try:
            response = self._stack.enter_context(self._client.stream(**arguments))
        except FAILURES as error:
            raise self._setup.failure(self._request, error) from error
        self._lines = _cut(response)
        return response

    def next(self) -> bytes | None:
        try:
            return next(self._lines, None)
        except FAILURES as error:
            raise self._setup.failure(self._request, error) from error

    def close(self) -> None:
        self._stack.close()


def _cut(response: httpx.Response) -> Iterator[bytes]:
    cutter = LineCutter()
    for piece in response.iter_bytes():
        yield from cutter.take(piece)
    yield from cutter.end()
