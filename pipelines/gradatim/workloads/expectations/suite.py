"""Turns a Validation block and a suite document into a list of checks, refusing what cannot be evaluated safely.

Pure. Expectations with a row condition are refused: pandas would evaluate it as code. So are those that run queries.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gradatim.api.common import Severity, Validation
from gradatim.api.reasons import Reason
from gradatim.api.run import SuiteDocument
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.tables.schema import resolve_column

MAX_CHECKS = 256
_REFUSED_KWARGS = ("row_condition", "condition_parser", "unexpected_rows_query")
_COLUMN_KWARGS = ("column", "column_A", "column_B")
# These ask whether a column is there, so its absence is an answer and no mistake.
WHOLE_TABLE = frozenset(
    {
        "expect_column_to_exist", "expect_table_column_count_to_be_between", "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list", "expect_table_columns_to_match_set",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation by its GX name. `critical` ones decide."""

    type: str
    kwargs: Mapping[str, Any]
    critical: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names, as the user wrote them."""
        single = [str(self.kwargs[name]) for name in _COLUMN_KWARGS if self.kwargs.get(name) is not None]
        several = self.kwargs.get("column_list")
        return (*single, *(map(str, several) if isinstance(several, list) else ()))

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.type}({', '.join(self.columns)})"


def checks_of(validation: Validation, suite: SuiteDocument | None) -> list[Check]:
    """Return inline expectations, then those of the suite. Raises WorkloadError User/InvalidSpec."""
    inline = [Check(item.type, item.kwargs, item.severity is Severity.CRITICAL) for item in validation.expectations]
    found = inline + (_suite(suite) if suite is not None else [])
    if len(found) > MAX_CHECKS:
        raise invalid(f"there are {len(found)} expectations, more than {MAX_CHECKS}")
    for check in found:
        bad = [name for name in _REFUSED_KWARGS if check.kwargs.get(name) is not None]
        if bad:
            raise invalid(f"{check.label}: {bad[0]} is not supported; filter the data at its source instead")
    return found


def resolved(check: Check, names: Iterable[str]) -> Check:
    """Return the check with each column under the table's own name. Raises WorkloadError for a column that is not there."""
    known = list(names)
    if check.type in WHOLE_TABLE:
        return check
    renamed = dict(check.kwargs)
    for key in _COLUMN_KWARGS:
        if renamed.get(key) is not None:
            renamed[key] = _column(check, str(renamed[key]), known)
    if isinstance(renamed.get("column_list"), list):
        renamed["column_list"] = [_column(check, str(name), known) for name in renamed["column_list"]]
    return Check(check.type, renamed, check.critical)


def invalid(text: str) -> WorkloadError:
    """Return the error of an expectation that cannot be evaluated."""
    return WorkloadError(Failure.USER, Reason.INVALID_SPEC, f"validation: {text}")


def _column(check: Check, wanted: str, known: list[str]) -> str:
    found = resolve_column(known, wanted)
    if found is None:
        raise invalid(f"{check.label}: there is no column {wanted}; the columns are {', '.join(known[:30])}")
    return found


def _suite(suite: SuiteDocument) -> list[Check]:
    try:
        document = json.loads(suite.document)
        return [_entry(suite.name, item) for item in document["expectations"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        text = f"suite {suite.name} is not a Great Expectations suite in JSON ({type(error).__name__}: {error})"
        raise invalid(text) from error


def _entry(name: str, item: dict[str, Any]) -> Check:
    kind = item.get("type") or item.get("expectation_type")
    kwargs = {key: value for key, value in (item.get("kwargs") or {}).items() if key != "batch_id"}
    severity = item.get("severity") or (item.get("meta") or {}).get("severity") or "critical"
    if not isinstance(kind, str):
        raise invalid(f"suite {name} has an entry without a type")
    return Check(kind, kwargs, critical=str(severity).lower() == "critical")
