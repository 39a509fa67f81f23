"""Blocks of rows as bytes: one compressed Arrow stream each, many of them in one file of the store.

Pure. A file of frames ends with an index and a mark; one without the mark was cut off and counts as missing. Used by `cache.py` for a source
file and by `rows.py` for the passes over all rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

MARK = b"GRADFRM1"
TAIL = len(MARK) + 8


class FramesError(Exception):
    """What was read is no complete file of frames."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where one block lies in a file, with its rows and its bytes in memory."""

    offset: int
    length: int
    rows: int
    memory: int


def encode(table: pa.Table) -> bytes:
    """Return a table as one frame."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes) -> pa.Table:
    """Return the table of a frame. Raises `pa.ArrowInvalid`."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_all()


def tail(index: dict[str, Any]) -> bytes:
    """Return the end of a file of frames: the index, its length, the mark."""
    text = json.dumps(index).encode()
    return text + len(text).to_bytes(8, "little") + MARK


def index_length(end: bytes) -> int:
    """Return the length of the index from a file's last `TAIL` bytes. Raises FramesError."""
    if len(end) != TAIL or not end.endswith(MARK):
        raise FramesError("the file was cut off")
    return int.from_bytes(end[:8], "little")
