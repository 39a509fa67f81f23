"""A watch survives ended streams, expired versions, throttling and lost connections, and tells each change once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from gradatim.api import Dataset
from gradatim.client.effects import Close, Effect, Op, Open, ReadLine, Request, Response, Sleep
from gradatim.client.errors import GradatimError, UnreachableError
from gradatim.client.operations import target
from gradatim.client.watching import RawEvent, Watcher


def body(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(version)}}


def line(kind: str, thing: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode()


def listing(version: int, *items: dict[str, Any]) -> Response:
    content = {"items": list(items), "metadata": {"resourceVersion": str(version)}}
    return Response(200, {}, json.dumps(content).encode())


GONE = line("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
LOST = UnreachableError("connection lost")


@dataclass
class Script:
    """Answers effects from lists: one entry per list request, one list of lines per stream."""

    lists: list[Response]
    streams: list[list[bytes | GradatimError]] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    def run(self, op: Op[Any]) -> Any:
        answer: Any = None
        failure: GradatimError | None = None
        try:
            effect = next(op)
            while True:
                try:
                    answer, failure = self._answer(effect), None
                except GradatimError as error:
                    failure = error
                effect = op.throw(failure) if failure else op.send(answer)
        except StopIteration as done:
            return done.value

    def _answer(self, effect: Effect) -> Any:
        match effect:
            case Request():
                return self.lists.pop(0)
            case Open(request):
                self.opened.append(request.params["resourceVersion"])
                return self.streams.pop(0)
            case ReadLine(stream):
                lines: list[bytes | GradatimError] = stream  # type: ignore[assignment]
                item = lines.pop(0) if lines else None
                if isinstance(item, GradatimError):
                    raise item
                return item
            case Sleep(seconds):
                return self.sleeps.append(seconds)
            case Close():
                return None
        raise AssertionError(effect)


def collect(script: Script, count: int, **options: Any) -> list[tuple[str, str]]:
    watcher = Watcher(target(Dataset, None, "n"), **options)
    found: list[tuple[str, str]] = []
    while len(found) < count:
        event: RawEvent | None = script.run(watcher.next())
        if event is not None:
            found.append((event.type, event.body["metadata"]["name"]))
    return found


def test_what_exists_comes_first_and_then_every_change() -> None:
    script = Script([listing(5, body("a", 3))], [[line("ADDED", body("b", 6)), line("DELETED", body("a", 7))]])
    assert collect(script, 3) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert script.opened == ["5"]


def test_an_ended_stream_goes_on_from_the_last_version_bookmarks_included() -> None:
    script = Script(
        [listing(5)],
        [[line("ADDED", body("a", 6)), line("BOOKMARK", body("", 40))], [line("MODIFIED", body("a", 41))]],
    )
    assert collect(script, 2) == [("ADDED", "a"), ("MODIFIED", "a")]
    assert script.opened == ["5", "40"]


def test_an_expired_version_is_made_good_by_a_new_list_that_tells_only_changes() -> None:
    script = Script(
        [
            listing(5, body("gone", 1), body("same", 2), body("changed", 3)),
            listing(9, body("same", 2), body("changed", 8), body("new", 9)),
        ],
        [[GONE], []],
    )
    assert collect(script, 6) == [
        ("ADDED", "gone"),
        ("ADDED", "same"),
        ("ADDED", "changed"),
        ("DELETED", "gone"),
        ("MODIFIED", "changed"),
        ("ADDED", "new"),
    ]


def test_lost_connections_are_retried_with_growing_pauses_that_start_over_after_a_success() -> None:
    script = Script([listing(5)], [[LOST], [LOST], [line("ADDED", body("a", 6)), LOST], [line("ADDED", body("b", 7))]])
    assert collect(script, 2) == [("ADDED", "a"), ("ADDED", "b")]
    assert script.sleeps == [0.4, 0.8, 0.4]
    assert script.opened == ["5", "5", "5", "6"]


def test_patience_ends() -> None:
    script = Script([listing(5)], [[LOST], [LOST], [LOST]])
    with pytest.raises(UnreachableError, match="connection lost"):
        collect(script, 1, patience=2)


@pytest.mark.parametrize("nonsense", [b"{", b'{"type": "ADDED"}', b"[]"], ids=["cut", "no object", "no mapping"])
def test_nonsense_on_the_stream_is_a_fault_and_not_an_event(nonsense: bytes) -> None:
    script = Script([listing(5)], [[nonsense], [line("ADDED", body("a", 6))]])
    assert collect(script, 1) == [("ADDED", "a")]
    assert len(script.sleeps) == 1


def test_throttling_is_waited_out() -> None:
    error = {"code": 429, "reason": "TooManyRequests", "message": "slow", "details": {"retryAfterSeconds": 7}}
    script = Script([listing(5)], [[line("ERROR", error)], [line("ADDED", body("a", 6))]])
    assert collect(script, 1) == [("ADDED", "a")]
    assert script.sleeps == [7.0]
