"""The vocabulary between operations and the shells that carry them out.

An operation is a generator: it yields what it needs done (a request, a line of a stream, a pause) and gets the answer back, so that the
same code serves the synchronous and the asynchronous client. Operations do no I/O and read no clock; the shells decide nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Op = Generator["Effect", Any, T]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `path` goes to the API server; with `base` it goes there instead, without the cluster's credentials."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    read_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream(Protocol):
    """An open answer, known to the shell that opened it."""


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request and keep the answer open; gives a `Stream`. An error status raises."""

    request: Request


@dataclass(frozen=True, slots=True)
class ReadLine:
    """Read the next line; gives `bytes`, or None at the end."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Close:
    """Close a stream."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Sleep:
    """Pause for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Read a monotonic clock; gives seconds as `float`."""


Effect = Request | Open | ReadLine | Close | Sleep | Clock


def send(request: Request) -> Op[Response]:
    """Send one request."""
    response: Response = yield request
    return response


def open_stream(request: Request) -> Op[Stream]:
    """Open a stream."""
    stream: Stream = yield Open(request)
    return stream


def read_line(stream: Stream) -> Op[bytes | None]:
    """Read one line of a stream."""
    line: bytes | None = yield ReadLine(stream)
    return line


def close_stream(stream: Stream) -> Op[None]:
    """Close a stream."""
    yield Close(stream)


def sleep(seconds: float) -> Op[None]:
    """Pause."""
    yield Sleep(seconds)


def clock() -> Op[float]:
    """Return the monotonic time in seconds."""
    now: float = yield Clock()
    return now
