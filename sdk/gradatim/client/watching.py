"""Following objects: a watch that survives ends of streams, expired versions and lost connections.

`Watcher` keeps what it has seen, so that after a relist it can tell changes from what was known. Run by both clients and by `waiting.py`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gradatim.client.effects import Op, Request, Stream, close_stream, open_stream, read_line, sleep
from gradatim.client.errors import (
    ExpiredError,
    GradatimError,
    ServerError,
    ThrottledError,
    UnreachableError,
    from_status,
)
from gradatim.client.operations import Body, Target, list_page

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
STREAM_SECONDS = 240
_SLACK_SECONDS = 15.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class RawEvent:
    """A change as the server told it, or as a relist showed it."""

    type: EventType
    body: Body


class Watcher:
    """A watch on a target. `patience` is how many failures in a row it bears before it raises."""

    def __init__(
        self, where: Target, *, labels: str | None = None, version: str | None = None, patience: int = 8
    ) -> None:
        self._where = Target(where.kind, where.namespace)
        self._labels = labels
        self._fields = f"metadata.name={where.name}" if where.name else None
        self._version = version
        self._patience = patience
        self._failures = 0
        self._stream: Stream | None = None
        self._known: dict[str, Body] = {}
        self._ready: deque[RawEvent] = deque()

    def next(self, *, seconds: int = STREAM_SECONDS) -> Op[RawEvent | None]:
        """Return the next event, or None when a stream of `seconds` ended without one; then call again."""
        while not self._ready:
            try:
                if self._version is None:
                    yield from self._relist()
                    continue
                if self._stream is None:
                    self._stream = yield from open_stream(self._request(seconds))
                line = yield from read_line(self._stream)
            except ExpiredError:
                yield from self._restart(relist=True)
            except (UnreachableError, ThrottledError, ServerError) as error:
                yield from self._bear(error)
            else:
                if line is None:
                    yield from self._restart(relist=False)
                    return None
                if line.strip():
                    yield from self._take(line)
        return self._ready.popleft()

    def _request(self, seconds: int) -> Request:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(max(1, seconds)),
        }
        params |= {"labelSelector": self._labels} if self._labels else {}
        params |= {"fieldSelector": self._fields} if self._fields else {}
        return Request("GET", self._where.path, params, read_timeout=seconds + _SLACK_SECONDS)

    def _relist(self) -> Op[None]:
        page = yield from list_page(self._where, labels=self._labels, fields=self._fields)
        seen = {_key(body): body for body in page.items}
        for key, body in self._known.items():
            if key not in seen:
                self._ready.append(RawEvent("DELETED", body))
        for key, body in seen.items():
            old = self._known.get(key)
            if old is None:
                self._ready.append(RawEvent("ADDED", body))
            elif _version(old) != _version(body):
                self._ready.append(RawEvent("MODIFIED", body))
        self._known, self._version, self._failures = seen, page.resource_version, 0

    def _take(self, line: bytes) -> Op[None]:
        """Take one line of the stream."""
        try:
            event = json.loads(line)
            kind, body = event["type"], event["object"]
        except (ValueError, KeyError, TypeError):
            yield from self._bear(ServerError("a watch sent something that is no event"))
            return
        if kind == "ERROR":
            error = from_status(body, int(body.get("code") or 500))
            if isinstance(error, ExpiredError):
                yield from self._restart(relist=True)
            else:
                yield from self._bear(error)
            return
        self._failures, self._version = 0, _version(body)
        if kind in {"ADDED", "MODIFIED"}:
            self._known[_key(body)] = body
        elif kind == "DELETED":
            self._known.pop(_key(body), None)
        else:  # BOOKMARK
            return
        self._ready.append(RawEvent(kind, body))

    def _bear(self, error: GradatimError) -> Op[None]:
        self._failures += 1
        if self._failures > self._patience:
            raise error
        yield from self._restart(relist=False)
        told = error.retry_after if isinstance(error, ThrottledError) else 0.0
        yield from sleep(max(told, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures)))

    def _restart(self, *, relist: bool) -> Op[None]:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            yield from close_stream(stream)
        if relist:
            self._version = None


def _key(body: Mapping[str, Any]) -> str:
    return f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}"


def _version(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["resourceVersion"])
