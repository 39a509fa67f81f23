"""What was left out of a Dataset: counted by reason, and kept on disk once it is much.

Used by the `validate` workload for `rejected.parquet` and `dropped.parquet`. The order is that of the phases, within a phase that of the rows;
counts and examples need no second look.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from gradatim.api.runstatus import ReasonCount
from gradatim.workloads.errors import shorten
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.frames import decode, encode
from gradatim.workloads.tables.schema import REJECT_SCHEMA, Place, Reject

MAX_REASONS = 20
EXAMPLES = 5
CONTENT_CHARS = 2000
IN_MEMORY = 5_000


@dataclass(slots=True)
class _Reason:
    count: int = 0
    examples: list[str] = field(default_factory=list)


class RejectLog:
    """Rejects in phases. More than `in_memory` of them are written to files below `folder` of the store."""

    def __init__(self, store: ArtifactStore, folder: str, in_memory: int = IN_MEMORY) -> None:
        self._store = store
        self._folder = folder
        self._limit = in_memory
        self._phases: dict[str, list[Reject]] = {}
        self._spilled: dict[str, list[str]] = {}
        self._pending = 0
        self._reasons: dict[str, _Reason] = {}
        self.total = 0

    def add(self, phase: str, rejects: Iterable[Reject]) -> None:
        """Take more rejects of a phase; the phases' order is that in which they first appear."""
        kept = self._phases.setdefault(phase, [])
        for reject in rejects:
            kept.append(reject)
            self.total += 1
            self._pending += 1
            reason = self._reasons.setdefault(reject.reason, _Reason())
            reason.count += 1
            if len(reason.examples) < EXAMPLES:
                reason.examples.append(shorten(f"{reject.place}: {reject.message}", 256))
            if self._pending >= self._limit:
                self._spill()

    def count(self, reason: str) -> int:
        """Return how many there are for a reason."""
        return self._reasons[reason].count if reason in self._reasons else 0

    def counts(self) -> list[ReasonCount]:
        """Return the counts by reason, most frequent first, with examples of where."""
        found = heapq.nsmallest(MAX_REASONS, self._reasons.items(), key=lambda item: (-item[1].count, item[0]))
        return [ReasonCount(name=name[:128], count=item.count, examples=list(item.examples)) for name, item in found]

    def tables(self) -> Iterator[pa.Table]:
        """Yield everything in the schema of `rejected.parquet`, part by part."""
        for phase, kept in self._phases.items():
            for path in self._spilled.get(phase, ()):
                yield decode(self._store.read(path))
            yield reject_table(kept)

    def _spill(self) -> None:
        for phase, kept in self._phases.items():
            if not kept:
                continue
            paths = self._spilled.setdefault(phase, [])
            paths.append(f"{self._folder}/{phase}-{len(paths)}.arrow")
            self._store.write(paths[-1], encode(reject_table(kept)))
            kept.clear()
        self._pending = 0


def reject_table(rejects: Iterable[Reject]) -> pa.Table:
    """Return rejects as a table in the schema of `rejected.parquet`."""
    rows = [
        {
            "source": item.place.source, "file": item.place.file, "row": item.place.row, "page": item.place.page,
            "reason": item.reason, "message": _clean(item.message), "content": _clean(item.content),
        }
        for item in rejects
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, REJECT_SCHEMA)


def from_reject_table(table: pa.Table) -> list[Reject]:
    """Return the rejects of a table made by `reject_table`."""
    return [
        Reject(
            Place(row["source"], row["file"], row["row"], row["page"]), row["reason"], row["message"], row["content"]
        )
        for row in table.to_pylist()
    ]


def row_content(row: dict[str, Any]) -> str:
    """Return a row as JSON for `rejected.parquet`, cut to a bounded length."""
    return json.dumps(row, ensure_ascii=True, default=str)[:CONTENT_CHARS]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
