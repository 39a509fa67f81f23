"""Drops duplicates: rows with the same content, then rows that nearly repeat one before them. The first occurrence stays.

Pure. Content is what a row says (see `schema.CONTENT`): two documents that differ only in id or metadata are duplicates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gradatim.api.dataset import Dedup, SchemaKind
from gradatim.workloads.tables.minhash import MinHasher, keep
from gradatim.workloads.tables.reader import place_of
from gradatim.workloads.tables.schema import CONTENT, LOCATORS, Reject

BATCH_ROWS = 10_000


def content_hashes(table: pa.Table, kind: SchemaKind) -> list[bytes]:
    """Return the SHA-256 of each row's content columns."""
    found = []
    for batch in table.select(list(CONTENT[kind])).to_batches(BATCH_ROWS):
        for row in batch.to_pylist():
            text = json.dumps(list(row.values()), ensure_ascii=False, separators=(",", ":"))
            found.append(hashlib.sha256(text.encode()).digest())
    return found


def texts(table: pa.Table, kind: SchemaKind) -> list[str]:
    """Return what each row says as one text."""
    return ["\n".join(_strings(row)) for row in table.select(list(CONTENT[kind])).to_pylist()]


def deduplicate(
    table: pa.Table, kind: SchemaKind, dedup: Dedup, check: Callable[[], None] = lambda: None
) -> tuple[pa.Table, list[Reject]]:
    """Return the rows that stay, in order, and those that were dropped with the place they repeat."""
    dropped: list[Reject] = []
    if dedup.exact:
        table, gone = _take_out(table, _exact(content_hashes(table, kind)), "Duplicate")
        dropped += gone
    if dedup.near is not None and table.num_rows:
        near = dedup.near
        signatures = MinHasher(near.permutations, near.shingle).signatures(texts(table, kind))
        table, gone = _take_out(table, keep(signatures, near.threshold, check), "NearDuplicate")
        dropped += gone
    return table, dropped


def _exact(hashes: list[bytes]) -> npt.NDArray[np.int64]:
    first: dict[bytes, int] = {}
    verdict = np.full(len(hashes), -1, dtype=np.int64)
    for row, value in enumerate(hashes):
        known = first.setdefault(value, row)
        if known != row:
            verdict[row] = known
    return verdict


def _take_out(table: pa.Table, verdict: npt.NDArray[np.int64], reason: str) -> tuple[pa.Table, list[Reject]]:
    gone = np.flatnonzero(verdict >= 0)
    if not len(gone):
        return table, []
    places = table.select(list(LOCATORS))
    own = places.take(pa.array(gone)).to_pylist()
    originals = places.take(pa.array(verdict[gone])).to_pylist()
    rejects = [
        Reject(place_of(row), reason, f"repeats {place_of(original)}")
        for row, original in zip(own, originals, strict=True)
    ]
    return table.filter(pa.array(verdict < 0)), rejects


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() if key != "role" for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
