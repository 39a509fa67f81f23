"""JSON lines, and JSON files that hold one array of objects.

Memory is bounded by the longest line allowed, whatever the file holds; a bad line is rejected by itself, with its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.tables.schema import Place, RawRow, Reject

PARSER = "jsonl/1"
MAX_LINE_BYTES = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_CONTENT_CHARS = 2000


def read_jsonl(file: SourceFile, max_line: int = MAX_LINE_BYTES) -> Iterator[RawRow | Reject]:
    """Yield one row per line that is not blank, numbered by line; or per element of an array."""
    with file.open() as stream:
        if stream.read(64).removeprefix(_BOM).lstrip()[:1] == b"[":
            yield from _array(file)
            return
        stream.seek(0)
        for number, line in lines(stream, max_line):
            place = Place(file.source, file.path, number)
            if line is None:
                yield Reject(place, "LineTooLong", f"line {number} is longer than {max_line} bytes")
            elif line.strip():
                yield _row(place, line)


def lines(stream: BinaryIO, max_line: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number from 1, line without its end); None stands for a line that is too long, which is skipped unread."""
    number = 0
    while True:
        line = stream.readline(max_line + 1)
        if not line:
            return
        number += 1
        if len(line) > max_line and not line.endswith(b"\n"):
            del line
            _skip_line(stream)
            yield number, None
        else:
            yield number, line.removeprefix(_BOM) if number == 1 else line


def _skip_line(stream: BinaryIO) -> None:
    while True:
        piece = stream.readline(1 << 20)
        if not piece or piece.endswith(b"\n"):
            return


def _row(place: Place, line: bytes) -> RawRow | Reject:
    try:
        text = line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of the line is not UTF-8; convert the file"
        return Reject(place, "WrongEncoding", message, line[:_CONTENT_CHARS].decode("utf-8", "replace"))
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = _where(error) if isinstance(error, json.JSONDecodeError) else str(error) or type(error).__name__
        return Reject(place, "BadJson", f"is not JSON: {reason}"[:300], text[:_CONTENT_CHARS].strip())
    return _object(place, value)


def _where(error: json.JSONDecodeError) -> str:
    """Return the decoder's message, some of which end with "at", with the place in the line."""
    return f"{error.msg.removesuffix(' at')} at character {error.pos + 1} of the line"


def _object(place: Place, value: Any) -> RawRow | Reject:
    if not isinstance(value, dict):
        return Reject(place, "BadJson", f"is a {type(value).__name__}, expected an object with the columns as members")
    return RawRow(place, value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _array(file: SourceFile) -> Iterator[RawRow | Reject]:
    try:
        values = json.loads(file.read().removeprefix(_BOM), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FileRejected("BadJson", f"{file.path} is not JSON: {str(error)[:200]}") from error
    for number, value in enumerate(values, 1):
        yield _object(Place(file.source, file.path, number), value)
