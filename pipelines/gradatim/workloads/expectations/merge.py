"""Joins what blocks said into the verdicts over all rows.

Counts of rows add up, with the rule by which Great Expectations decides `mostly`. What is about the whole is judged by Great Expectations itself,
on the columns that the blocks kept. Blocks must be added in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradatim.workloads.expectations.blocks import Bits, BlockVerdicts, Plan
from gradatim.workloads.expectations.engine import Verdict, evaluate
from gradatim.workloads.expectations.masks import Mask, bad_rows
from gradatim.workloads.expectations.modes import Mode
from gradatim.workloads.expectations.suite import Check, invalid
from gradatim.workloads.expectations.values import WHOLE_BYTES, Gathered, TooMuchError


@dataclass(frozen=True, slots=True)
class Whole:
    """The verdict of one check over all rows; `mask` gives the rows that fail it, or None where no row check is known."""

    check: Check
    verdict: Verdict
    mask: Callable[[], Mask | None]


class Merger:
    """Takes the blocks of one pass, then gives the verdicts."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kept = plan.kept()
        self._columns = [Gathered() for _ in self._kept]
        self._verdicts: list[list[Verdict]] = [[] for _ in plan.checks]
        self._bits: list[dict[int, Bits]] = [{} for _ in plan.checks]
        self._sizes: list[int] = []

    @property
    def rows(self) -> int:
        """Rows of all blocks so far."""
        return sum(self._sizes)

    def add(self, block: BlockVerdicts) -> None:
        """Take the next block. Raises WorkloadError User/InvalidSpec where an expectation needs more values at once than there is room for."""
        for number, verdict in enumerate(block.verdicts):
            if verdict is not None:
                self._verdicts[number].append(verdict)
        for number, bits in block.bad.items():
            self._bits[number][len(self._sizes)] = bits
        self._sizes.append(block.rows)
        for (column, identity), gathered, part in zip(self._kept, self._columns, block.parts, strict=True):
            try:
                gathered.add(part)
            except TooMuchError as error:
                raise self._too_much(column, identity=identity) from error

    def verdicts(self) -> list[Whole]:
        """Return the verdict of every check, in order."""
        frame = pd.DataFrame(index=pd.RangeIndex(self.rows))
        identity = pd.DataFrame(index=pd.RangeIndex(self.rows))
        for (column, same), gathered in zip(self._kept, self._columns, strict=True):
            (identity if same else frame)[column] = gathered.series()
        found = []
        for number, (check, mode) in enumerate(zip(self._plan.checks, self._plan.modes, strict=True)):
            if mode in (Mode.ROWS, Mode.FIRST):
                found.append(Whole(check, _joined(check, self._verdicts[number]), self._mask_of(number)))
            else:
                found.append(_on_all(check, identity if mode is Mode.IDENTITY else frame))
        return found

    def _mask_of(self, number: int) -> Callable[[], Mask | None]:
        def mask() -> Mask | None:
            found = self._bits[number]
            if not found:
                return None
            size = self._sizes
            parts = [
                np.unpackbits(found[n], count=rows).astype(bool) if n in found else np.zeros(rows, dtype=bool)
                for n, rows in enumerate(size)
            ]
            return np.concatenate(parts)

        return mask

    def _too_much(self, column: str, *, identity: bool) -> Exception:
        modes = (Mode.IDENTITY,) if identity else (Mode.WHOLE,)
        checks = zip(self._plan.checks, self._plan.modes, strict=True)
        check = next(check for check, mode in checks if mode in modes and column in check.columns)
        return invalid(
            f"{check.label} needs the values of {column} at once, and they exceed {WHOLE_BYTES >> 20} MiB; "
            "leave it out, or use an expectation about rows"
        )


def _joined(check: Check, verdicts: Sequence[Verdict]) -> Verdict:
    """As ColumnMapExpectation and its siblings decide: nothing to look at is right, else the share counts."""
    about_rows = all(verdict.unexpected >= 0 for verdict in verdicts)
    if len(verdicts) == 1 or not about_rows:
        return next((verdict for verdict in verdicts if not verdict.success), verdicts[0])
    bad, total, base = (sum(getattr(v, name) for v in verdicts) for name in ("unexpected", "total", "considered"))
    mostly = check.kwargs.get("mostly")
    success = not base or (float(base) - float(bad)) / float(base) >= (1.0 if mostly is None else mostly)
    return Verdict(success, f"{bad} of {total} rows", bad, total, base)


def _on_all(check: Check, frame: pd.DataFrame) -> Whole:
    used = frame[list(dict.fromkeys(check.columns))]
    (verdict,) = evaluate([check], used)
    return Whole(check, verdict, lambda: bad_rows(check.type, check.kwargs, used))
