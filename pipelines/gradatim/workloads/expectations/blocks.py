"""Judges one block of rows, in this process or a worker: what `merge.py` needs to speak about all rows.

The plan is made once from the expectations and the columns of all rows, and travels to the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gradatim.api.common import Validation
from gradatim.api.run import SuiteDocument
from gradatim.workloads.expectations.engine import Verdict, evaluate, refuse_invalid
from gradatim.workloads.expectations.masks import bad_rows
from gradatim.workloads.expectations.modes import Mode, mode_of
from gradatim.workloads.expectations.suite import WHOLE_TABLE, Check, checks_of, resolved
from gradatim.workloads.expectations.values import Part, frame_of, part_of

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plan:
    """The checks in order with their modes, and the columns that lack a value somewhere."""

    checks: tuple[Check, ...]
    modes: tuple[Mode, ...]
    nullable: frozenset[str]

    def kept(self) -> list[tuple[str, bool]]:
        """Return which columns every block keeps something of, and whether only identity matters."""
        needs = [(c, m is Mode.IDENTITY) for c, m in zip(self.checks, self.modes, strict=True) if m in _GATHERED]
        return list(dict.fromkeys((column, identity) for check, identity in needs for column in check.columns))


_GATHERED = (Mode.IDENTITY, Mode.WHOLE)


@dataclass(frozen=True, slots=True)
class BlockVerdicts:
    """What a block says: a verdict or None per check, failing rows as bits by check, and parts of columns."""

    rows: int
    verdicts: tuple[Verdict | None, ...]
    bad: dict[int, Bits]
    parts: tuple[Part, ...]


def plan_of(
    validation: Validation, suite: SuiteDocument | None, names: Sequence[str], nullable: frozenset[str]
) -> Plan:
    """Return the plan for a table with these columns. Raises WorkloadError User/InvalidSpec for what cannot be judged."""
    checks = tuple(resolved(check, names) for check in checks_of(validation, suite))
    refuse_invalid(checks)
    return Plan(checks, tuple(mode_of(check.type) for check in checks), nullable)


def judge_block(plan: Plan, table: pa.Table, *, first: bool) -> BlockVerdicts:
    """Judge a block. Raises WorkloadError User/InvalidSpec for values on which an expectation cannot be evaluated."""
    here = [n for n, mode in enumerate(plan.modes) if mode is Mode.ROWS or (first and mode is Mode.FIRST)]
    verdicts: list[Verdict | None] = [None] * len(plan.checks)
    bad: dict[int, Bits] = {}
    if here:
        checks = [plan.checks[number] for number in here]
        whole = any(check.type in WHOLE_TABLE for check in checks)
        names = table.column_names if whole else [name for check in checks for name in check.columns]
        frame = frame_of(table, names, plan.nullable)
        for number, check, verdict in zip(here, checks, evaluate(checks, frame), strict=True):
            verdicts[number] = verdict
            mask = bad_rows(check.type, check.kwargs, frame) if verdict.unexpected or not verdict.success else None
            if mask is not None:
                bad[number] = np.packbits(mask)
    parts = tuple(
        part_of(table.column(column), nullable=column in plan.nullable, identity=identity)
        for column, identity in plan.kept()
    )
    return BlockVerdicts(table.num_rows, tuple(verdicts), bad, parts)
