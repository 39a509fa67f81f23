"""Says what verdicts mean: which rows go, or why the data is refused.

Used by the `validate` workload with the verdicts of many blocks, by the `index` workload through `validate_table`. It decides nothing about the
Run: the caller reads `Judged`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gradatim.api.common import OnFailure, Validation
from gradatim.api.reasons import Reason
from gradatim.api.run import SuiteDocument
from gradatim.api.runstatus import ExpectationResult, Failure, ValidationSummary
from gradatim.workloads.errors import WorkloadError, shorten
from gradatim.workloads.expectations.blocks import judge_block, plan_of
from gradatim.workloads.expectations.engine import Verdict
from gradatim.workloads.expectations.masks import Mask
from gradatim.workloads.expectations.merge import Merger
from gradatim.workloads.expectations.suite import Check
from gradatim.workloads.tables.schema import LOCATORS, Place

MAX_RESULTS = 64
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """The summary, the rows that quarantine takes out with the first expectation each fails, and what blocks.

    `bad` has one entry per row; `why` one label per bad row in order. `blocking` is empty when the data may be used.
    """

    summary: ValidationSummary
    bad: npt.NDArray[np.bool_]
    why: tuple[str, ...]
    blocking: tuple[str, ...]

    def raise_if_blocked(self) -> None:
        """Raise WorkloadError Data/DataInvalid that names expectation, column, observed value and examples."""
        if self.blocking:
            more = f" (and {len(self.blocking) - 1} more)" if len(self.blocking) > 1 else ""
            raise WorkloadError(Failure.DATA, Reason.DATA_INVALID, self.blocking[0] + more, validation=self.summary)


def validate_table(table: pa.Table, validation: Validation, suite: SuiteDocument | None = None) -> Judged:
    """Judge a table that has the columns source and file, or none of the locators, as one block. Raises as `plan_of` and `judge_block` do."""
    nullable = frozenset(name for name in table.column_names if table.column(name).null_count)
    plan = plan_of(validation, suite, table.column_names, nullable)
    merger = Merger(plan)
    merger.add(judge_block(plan, table, first=True))
    names = [name for name in LOCATORS if name in table.column_names]

    def place(row: int) -> str:
        found = table.select(names).slice(row, 1).to_pylist()[0]
        return str(
            Place(str(found.get("source") or ""), str(found.get("file") or ""), found.get("row"), found.get("page"))
        )

    return judged(merger, validation, place if names else None)


def judged(merger: Merger, validation: Validation, place: Callable[[int], str] | None) -> Judged:
    """Say what the verdicts over all rows mean; `place` names a row for messages.

    Under `block` every failed critical expectation blocks. Under `quarantine` it takes out the rows that fail it, and blocks only where it is
    not about rows or no row check is known for it. Warnings never block.
    """
    rows = merger.rows
    bad, reasons = np.zeros(rows, dtype=bool), np.full(rows, -1, dtype=np.int16)
    results: list[ExpectationResult] = []
    blocking: list[str] = []
    found = merger.verdicts()
    for number, whole in enumerate(found):
        mask = None if whole.verdict.success else whole.mask()
        result = _result(whole.check, whole.verdict, _examples(mask, place))
        results.append(result)
        if whole.verdict.success or not whole.check.critical:
            continue
        if validation.on_failure is OnFailure.QUARANTINE and mask is not None:
            reasons[mask & ~bad] = number
            bad |= mask
        else:
            blocking.append(_message(whole.check, result))
    failed = [whole.check for whole in found if not whole.verdict.success]
    summary = ValidationSummary(
        success=not any(check.critical for check in failed),
        evaluated=len(found),
        failed=len(failed),
        rows=rows,
        rejected=int(bad.sum()),
        results=sorted(results, key=lambda item: item.success)[:MAX_RESULTS],
    )
    why = tuple(found[number].check.label for number in reasons[bad])
    return Judged(summary, bad, why, tuple(blocking))


def _examples(mask: Mask | None, place: Callable[[int], str] | None) -> list[str]:
    if mask is None or place is None:
        return []
    return [shorten(place(int(row)), 256) for row in np.flatnonzero(mask)[:EXAMPLES]]


def _result(check: Check, verdict: Verdict, examples: list[str]) -> ExpectationResult:
    return ExpectationResult(
        expectation=check.type,
        column=", ".join(check.columns)[:253] or None,
        severity="critical" if check.critical else "warning",
        success=verdict.success,
        observed=verdict.observed[:256],
        failed=verdict.unexpected,
        examples=examples,
    )


def _message(check: Check, result: ExpectationResult) -> str:
    where = f", for example {'; '.join(result.examples[:3])}" if result.examples else ""
    limits = ", ".join(f"{key}={value}" for key, value in check.kwargs.items() if not key.startswith("column"))
    wanted = f" [{limits[:200]}]" if limits else ""
    return f"{check.label}{wanted} failed: observed {result.observed or 'nothing'}{where}"
