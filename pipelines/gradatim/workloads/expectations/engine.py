"""The only module that talks to Great Expectations: an ephemeral context, pandas batches, results in SUMMARY form.

Called by `blocks.py` and `merge.py`. The library is imported on first use (two seconds and 200 MB); its usage statistics are switched off
before that.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from gradatim.workloads.expectations.suite import Check, invalid

_SHOWN = 256


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Great Expectations said. `unexpected` is -1 for an expectation that is not about rows.

    `total` rows were seen, and of `considered` the share is taken that `mostly` speaks of: those that are not missing.
    """

    success: bool
    observed: str
    unexpected: int
    total: int = 0
    considered: int = 0


def refuse_invalid(checks: Sequence[Check]) -> None:
    """Raise WorkloadError User/InvalidSpec naming an expectation that does not exist or has wrong arguments."""
    if checks:
        gx = _library()
        for check in checks:
            _expectation(gx, check)


def evaluate(checks: Sequence[Check], frame: pd.DataFrame) -> list[Verdict]:
    """Judge every check on the whole frame, in order.

    Raises WorkloadError User/InvalidSpec naming the expectation that does not exist, has wrong arguments or cannot be evaluated.
    """
    gx = _library()
    expectations = [_expectation(gx, check) for check in checks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = _batch_definition().get_batch({"dataframe": frame})
        verdicts = []
        for check, expectation in zip(checks, expectations, strict=True):
            suite = gx.ExpectationSuite(name="checks", expectations=[expectation])
            result = batch.validate(suite, result_format="SUMMARY").results[0]
            verdicts.append(_verdict(check, result))
    return verdicts


@lru_cache(maxsize=1)
def _library() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
        import great_expectations.expectations.core
    for name in ("great_expectations", "great_expectations.data_context.types.base"):  # the second sets itself to INFO
        logging.getLogger(name).setLevel(logging.ERROR)
    return gx


@lru_cache(maxsize=1)
def _batch_definition() -> Any:
    context = _library().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return (
        context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("rows")
    )


def _expectation(gx: Any, check: Check) -> Any:
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl
    from pydantic.v1 import ValidationError

    try:
        implementation = get_expectation_impl(check.type)
    except ExpectationNotFoundError as error:
        raise invalid(f"{check.type} is not an expectation of Great Expectations {gx.__version__}") from error
    if not implementation.__module__.startswith("great_expectations.expectations.core."):
        raise invalid(f"{check.type} is not a core expectation")
    try:
        return implementation(**check.kwargs)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise invalid(f"{check.label}: {problems.replace('__root__: ', '')}") from error
    except (TypeError, ValueError) as error:
        raise invalid(f"{check.label}: {error}") from error


def _verdict(check: Check, result: Any) -> Verdict:
    problem = _exception(result.exception_info)
    if problem:
        raise invalid(f"{check.label} cannot be evaluated on these values: {problem[:300]}")
    details = dict(result.result)
    if "unexpected_count" in details:
        count, total = int(details["unexpected_count"]), int(details.get("element_count", 0))
        considered = total - int(details.get("missing_count") or 0)
        return Verdict(bool(result.success), f"{count} of {total} rows", count, total, considered)
    return Verdict(bool(result.success), _plain(details.get("observed_value")), -1)


def _plain(value: Any) -> str:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        value = f"{value:.6g}"
    return str(value)[:_SHOWN]


def _exception(info: Any) -> str:
    """The library reports either one exception or one per metric."""
    if not isinstance(info, dict):
        return ""
    if "raised_exception" in info:
        return str(info.get("exception_message") or "unknown") if info["raised_exception"] else ""
    for inner in info.values():
        if isinstance(inner, dict) and inner.get("raised_exception"):
            return str(inner.get("exception_message") or "unknown")
    return ""
