"""Which rows of a Dataset stay: validated, not repeated, clean of evaluation sets, sampled, assigned to a split.

The steps of the `validate` workload after reading, each a pass over blocks that workers share. Per row only hashes, row numbers and verdicts stay
in memory: about 120 bytes, and four per permutation while near duplicates are looked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gradatim.api.dataset import DatasetSpec
from gradatim.api.runstatus import ValidationSummary
from gradatim.workloads.context import RunContext
from gradatim.workloads.executor import Executor
from gradatim.workloads.expectations import Judged, Merger, Plan, judged
from gradatim.workloads.tables.dedup import HASH_BYTES, Digests, repeats
from gradatim.workloads.tables.minhash import keep
from gradatim.workloads.tables.rejects import RejectLog, row_content
from gradatim.workloads.tables.rows import Locators, RawBlock, Rows
from gradatim.workloads.tables.schema import REQUIRED, Place, Reject
from gradatim.workloads.tables.splits import Assignment, by_column, by_hash, sample, split_column, unusable
from gradatim.workloads.tables.worker import Chosen, Written

Mask = npt.NDArray[np.bool_]
MakeReject = Callable[[int, Place, dict[str, Any]], Reject]
ROWS = "rows"


@dataclass(slots=True)
class Selection:
    """The rows of one build, the executor of its passes, and what is known of every row so far."""

    ctx: RunContext
    spec: DatasetSpec
    rows: Rows
    schema: pa.Schema
    executor: Executor
    rejected: RejectLog
    dropped: RejectLog
    alive: Mask = field(init=False)
    hashes: Digests = field(init=False)
    locators: Locators = field(init=False)

    def __post_init__(self) -> None:
        self.alive = np.ones(self.rows.total, dtype=bool)
        self.hashes = np.empty((self.rows.total, HASH_BYTES), dtype=np.uint8)
        self.locators = Locators.empty(self.rows.total)

    def place(self, row: int) -> Place:
        """Return where a row stands in the source."""
        return self.rows.place(row, self.locators)

    def over(self, method: str, mask: Mask, *more: object) -> Iterator[tuple[slice, Any]]:
        """Call a worker's method with every block that has chosen rows; yields where the block's rows stand, and the result."""
        ahead: deque[slice] = deque()

        def inputs() -> Iterator[object]:
            for block in self.rows.blocks():
                self.ctx.check_stop()
                part = mask[block.span]
                if part.any():
                    ahead.append(block.span)
                    chosen = Chosen(block, part)
                    yield (chosen, *more) if more else chosen

        for result in self.executor.map(method, inputs()):
            span = ahead.popleft()
            yield span, result
            self.ctx.advance(int(mask[span].sum()))

    def fetch(self, phases: dict[str, tuple[Mask, MakeReject]]) -> None:
        """Reject rows with their content: one more look at the blocks that hold any."""
        for block in self.rows.blocks():
            if not any(mask[block.span].any() for mask, _ in phases.values()):
                continue
            self.ctx.check_stop()
            table = block.table(self.schema)
            for phase, (mask, make) in phases.items():
                part = mask[block.span]
                content = table.filter(pa.array(part)).to_pylist()
                numbers = np.flatnonzero(part) + block.start
                made = (make(int(n), self.place(int(n)), row) for n, row in zip(numbers, content, strict=True))
                self.rejected.add(phase, made)


def judge(found: Selection, plan: Plan) -> ValidationSummary:
    """Judge all rows and take out those that fail. Raises WorkloadError Data/DataInvalid where expectations block."""
    found.ctx.stage("validate", found.rows.total, ROWS)
    merger = Merger(plan)
    blocks = _raw(found)
    empty = np.zeros(found.rows.total, dtype=bool)
    start = 0
    for seen in found.executor.map("judge", blocks):
        span = slice(start, start + len(seen.row))
        start = span.stop
        merger.add(seen.verdicts)
        empty[span], found.hashes[span] = seen.empty, seen.hashes
        found.locators.row[span], found.locators.page[span] = seen.row, seen.page
        found.ctx.advance(len(seen.row))
    result = judged(merger, found.spec.validation, lambda row: str(found.place(row)))
    result.raise_if_blocked()
    _take_out(found, result, empty)
    return result.summary


def _raw(found: Selection) -> Iterator[RawBlock]:
    for block in found.rows.blocks():
        found.ctx.check_stop()
        yield block


def _take_out(found: Selection, result: Judged, empty: Mask) -> None:
    why = iter(result.why)
    required = REQUIRED[found.spec.schema_kind]

    def failed(_: int, place: Place, row: dict[str, Any]) -> Reject:
        label = next(why)
        return Reject(place, label, f"fails {label}", row_content(row))

    def missing(_: int, place: Place, row: dict[str, Any]) -> Reject:
        names = ", ".join(name for name in required if row[name] is None)
        return Reject(place, "MissingValue", f"has no value for {names}", row_content(row))

    found.fetch({"validate": (result.bad, failed), "empty": (empty & ~result.bad, missing)})
    found.alive &= ~(result.bad | empty)


def deduplicate(found: Selection) -> None:
    """Drop rows with the content of one before them, then rows that nearly repeat one."""
    dedup = found.spec.dedup
    near = dedup.near
    found.ctx.stage("deduplicate", int(found.alive.sum()) if near else 0, ROWS)
    if dedup.exact:
        rows = np.flatnonzero(found.alive)
        _drop(found, rows, repeats(found.hashes[rows]), "Duplicate")
    rows = np.flatnonzero(found.alive)
    if near is None or not len(rows):
        return
    signatures = np.empty((len(rows), near.permutations), dtype=np.uint32)
    done = 0
    for _, part in found.over("sign", found.alive, near):
        signatures[done : done + len(part)] = part
        done += len(part)
    _drop(found, rows, keep(signatures, near.threshold, found.ctx.check_stop), "NearDuplicate")


def _drop(found: Selection, rows: npt.NDArray[np.int64], verdict: npt.NDArray[np.int64], reason: str) -> None:
    gone = np.flatnonzero(verdict >= 0)
    found.dropped.add(
        reason,
        (
            Reject(found.place(int(rows[n])), reason, f"repeats {found.place(int(rows[verdict[n]]))}")
            for n in gone.tolist()
        ),
    )
    found.alive[rows[gone]] = False


def decontaminate(found: Selection) -> None:
    """Drop rows that share words with an evaluation set."""
    names = [item.name for item in found.spec.decontaminate]
    if not names:
        return
    found.ctx.stage("decontaminate", int(found.alive.sum()), ROWS)
    before = found.alive.copy()
    for span, hit in found.over("compare", before):
        touched = np.flatnonzero(before[span])[hit >= 0] + span.start
        texts = (f"shares words with the evaluation set {names[number]}" for number in hit[hit >= 0].tolist())
        places = (found.place(int(row)) for row in touched)
        found.dropped.add(
            "Contaminated",
            (Reject(place, "Contaminated", text) for place, text in zip(places, texts, strict=True)),
        )
        found.alive[touched] = False


def split(found: Selection) -> Assignment:
    """Sample, and assign every row that is left to a split; -1 stands for rows that are not in any."""
    found.ctx.stage("split", 0, ROWS)
    rows = np.flatnonzero(found.alive)
    chosen = sample(found.hashes[rows], found.spec.sampling)
    found.alive[rows[~chosen]] = False
    rows = rows[chosen]
    wanted = found.spec.splits.column if found.spec.splits else None
    if wanted is None:
        assigned = by_hash(found.hashes[rows], found.spec.splits)
    else:
        column = split_column(found.schema.names, wanted)
        assigned = by_column(wanted, (values for _, values in found.over("column", found.alive, column)))
    numbers = np.full(found.rows.total, -1, dtype=np.int16)
    numbers[rows] = assigned.numbers
    bad = found.alive & (numbers < 0)
    found.fetch({"split": (bad, lambda _, place, row: unusable(place, row))})
    found.alive &= ~bad
    return Assignment(assigned.names, numbers)


def digest(found: Selection) -> Written:
    """Return digest and length of every row that is left, in order of all rows; those of other rows mean nothing."""
    digests = np.zeros((found.rows.total, HASH_BYTES), dtype=np.uint8)
    lengths = np.zeros(found.rows.total, dtype=np.int64)
    for span, part in found.over("digest", found.alive):
        rows = np.flatnonzero(found.alive[span]) + span.start
        digests[rows], lengths[rows] = part.digests, part.lengths
    return Written(digests, lengths)
