"""Judges a table and says what the verdict means: which rows go, or why the data is refused.

Used by both workloads through `validate_table`. It decides nothing about the Run: the caller reads `Judged`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from gradatim.api.common import OnFailure, Validation
from gradatim.api.reasons import Reason
from gradatim.api.run import SuiteDocument
from gradatim.api.runstatus import ExpectationResult, Failure, ValidationSummary
from gradatim.workloads.errors import WorkloadError, shorten
from gradatim.workloads.expectations.engine import Verdict, evaluate
from gradatim.workloads.expectations.masks import Mask, bad_rows
from gradatim.workloads.expectations.suite import WHOLE_TABLE, Check, checks_of, resolved
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
    """Judge a table that has the columns source and file, or none of the locators.

    Under `block` every failed critical expectation blocks. Under `quarantine` it takes out the rows that fail it, and blocks only where it is
    not about rows or no row check is known for it. Warnings never block. Raises WorkloadError User/InvalidSpec for expectations that cannot
    be evaluated.
    """
    checks = [resolved(check, table.column_names) for check in checks_of(validation, suite)]
    rows = table.num_rows
    bad, reasons = np.zeros(rows, dtype=bool), np.full(rows, -1, dtype=np.int64)
    if not checks:
        return Judged(ValidationSummary(success=True, rows=rows), bad, (), ())
    frame = _frame(table, checks)
    verdicts = evaluate(checks, frame)
    results: list[ExpectationResult] = []
    blocking: list[str] = []
    for number, (check, verdict) in enumerate(zip(checks, verdicts, strict=True)):
        mask = None if verdict.success else bad_rows(check.type, check.kwargs, frame)
        result = _result(check, verdict, _examples(table, mask))
        results.append(result)
        if verdict.success or not check.critical:
            continue
        if validation.on_failure is OnFailure.QUARANTINE and mask is not None:
            reasons[mask & ~bad] = number
            bad |= mask
        else:
            blocking.append(_message(check, result))
    failed = [check for check, verdict in zip(checks, verdicts, strict=True) if not verdict.success]
    summary = ValidationSummary(
        success=not any(check.critical for check in failed),
        evaluated=len(checks),
        failed=len(failed),
        rows=rows,
        rejected=int(bad.sum()),
        results=sorted(results, key=lambda item: item.success)[:MAX_RESULTS],
    )
    why = tuple(checks[number].label for number in reasons[bad])
    return Judged(summary, bad, why, tuple(blocking))


def _frame(table: pa.Table, checks: list[Check]) -> pd.DataFrame:
    """Only the columns in use become pandas, with plain Python text so that types are judged by row."""
    if any(check.type in WHOLE_TABLE for check in checks):
        names = table.column_names
    else:
        names = list(dict.fromkeys(name for check in checks for name in check.columns)) or table.column_names[:1]
    return pd.DataFrame({name: _series(table.column(name)) for name in names})


def _series(column: pa.ChunkedArray) -> pd.Series:
    kind = column.type
    if (pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind)) and not column.null_count:
        return pd.Series(column.to_numpy())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pd.Series(column.to_pandas(integer_object_nulls=False).astype("float64"))
    return pd.Series(column.to_pylist(), dtype=object)


def _examples(table: pa.Table, mask: Mask | None) -> list[str]:
    if mask is None or not set(LOCATORS) & set(table.column_names):
        return []
    names = [name for name in LOCATORS if name in table.column_names]
    found = table.select(names).take(pa.array(np.flatnonzero(mask)[:EXAMPLES])).to_pylist()
    places = [
        Place(str(row.get("source") or ""), str(row.get("file") or ""), row.get("row"), row.get("page"))
        for row in found
    ]
    return [shorten(str(place), 256) for place in places]


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
