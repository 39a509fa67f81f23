"""Finds duplicates: rows with the same content, then rows that nearly repeat one before them. The first occurrence stays.

Pure. Content is what a row says (see `schema.CONTENT`): two documents that differ only in id or metadata are duplicates. Per row it needs the 32
bytes of a hash, and four bytes per permutation where near duplicates are asked for.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gradatim.api.dataset import SchemaKind
from gradatim.workloads.tables.schema import CONTENT

BATCH_ROWS = 10_000
Digests = npt.NDArray[np.uint8]
HASH_BYTES = 32


def content_hashes(table: pa.Table, kind: SchemaKind) -> Digests:
    """Return the SHA-256 of each row's content columns, shape (rows, 32)."""
    found = []
    for batch in table.select(list(CONTENT[kind])).to_batches(BATCH_ROWS):
        for row in batch.to_pylist():
            text = json.dumps(list(row.values()), ensure_ascii=False, separators=(",", ":"))
            found.append(hashlib.sha256(text.encode()).digest())
    return as_digests(found)


def as_digests(found: list[bytes]) -> Digests:
    """Return hashes of 32 bytes each as one array, shape (rows, 32)."""
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, HASH_BYTES)


def texts(table: pa.Table, kind: SchemaKind) -> list[str]:
    """Return what each row says as one text."""
    return ["\n".join(_strings(row)) for row in table.select(list(CONTENT[kind])).to_pylist()]


def repeats(hashes: Digests) -> npt.NDArray[np.int64]:
    """Return, per row, -1 when it stays or the number of the first row with the same hash."""
    verdict = np.full(len(hashes), -1, dtype=np.int64)
    if not len(hashes):
        return verdict
    words = np.ascontiguousarray(hashes).view(np.uint64)
    order = np.lexsort(words.T)  # stable: equal rows keep their order, so the first of a group is the first of all
    same = (words[order[1:]] == words[order[:-1]]).all(axis=1)
    group = np.concatenate([[0], np.cumsum(~same)])
    first = order[np.concatenate([[True], ~same])][group]
    later = first != order
    verdict[order[later]] = first[later]
    return verdict


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() if key != "role" for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
