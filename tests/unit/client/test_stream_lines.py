"""Streams are cut at line feeds only: text of others may hold every other character that ends a line somewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from gradatim.client import measuring
from gradatim.client.effects import Op, Request, open_stream, read_line
from gradatim.client.kubeconfig import Connection
from gradatim.client.transport import LineCutter
from gradatim.client.transport_async import AsyncTransport
from gradatim.client.transport_sync import SyncTransport

ENDS = "\u0085 \u2028 \u2029 \v \f \x1c \x1d \x1e"
LINES = [json.dumps({"message": ENDS}, ensure_ascii=False).encode(), ENDS.encode(), b'{"last": 1}']

CUTS: dict[str, tuple[list[bytes], list[bytes]]] = {
    "nothing": ([], []),
    "several lines in one piece": ([b"a\nb\n"], [b"a", b"b"]),
    "a line in several pieces": ([b"a", b"b", b"c\nd", b"\n"], [b"abc", b"d"]),
    "a character in two pieces": ([b"\xc2", b"\x85\n"], [b"\xc2\x85"]),
    "empty lines": ([b"\n\na\n"], [b"", b"", b"a"]),
    "a last line without an end": ([b"a\nb"], [b"a", b"b"]),
}


@pytest.mark.parametrize(("pieces", "lines"), CUTS.values(), ids=CUTS.keys())
def test_pieces_become_lines(pieces: list[bytes], lines: list[bytes]) -> None:
    cutter = LineCutter()
    found = [line for piece in pieces for line in cutter.take(piece)]
    assert [*found, *cutter.end()] == lines


class Slow(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces that end in the middle of characters."""

    def __init__(self, body: bytes) -> None:
        self._pieces = [body[at : at + 7] for at in range(0, len(body), 7)]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def served(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "application/json"}, stream=Slow(b"\n".join(LINES)))


def all_lines() -> Op[list[bytes]]:
    stream = yield from open_stream(Request("GET", "/watch"))
    found = []
    while (line := (yield from read_line(stream))) is not None:
        found.append(line)
    return found


def test_the_synchronous_client_reads_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = SyncTransport(Connection("http://k:1"))
    monkeypatch.setattr(transport, "_cluster", httpx.Client(transport=httpx.MockTransport(served)))
    assert transport.run(all_lines()) == LINES


def test_the_asynchronous_client_reads_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read() -> list[bytes]:
        transport = AsyncTransport(Connection("http://k:1"))
        monkeypatch.setattr(transport, "_cluster", httpx.AsyncClient(transport=httpx.MockTransport(served)))
        return await transport.run(all_lines())

    assert asyncio.run(read()) == LINES


def test_a_question_with_such_characters_is_one_question(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(f"{json.dumps({'question': ENDS}, ensure_ascii=False)}\n\n{{}}\n", encoding="utf-8")
    assert measuring._lines(path) == [({"question": ENDS}, f"{path}:1"), ({}, f"{path}:3")]
