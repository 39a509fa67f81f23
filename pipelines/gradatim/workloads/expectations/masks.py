"""Which rows fail an expectation: our own vectorised twin of the row expectations of Great Expectations.

Pure pandas and numpy. Used for quarantine and for examples, never for the verdict. As there, a null row fails only what is about nulls.
Tests hold every mask against the counts of Great Expectations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Mask = npt.NDArray[np.bool_]
Kwargs = Mapping[str, Any]
_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (float,), "bool": (bool,), "list": (list,), "dict": (dict,), "bytes": (bytes,),
}  # fmt: skip


def bad_rows(kind: str, kwargs: Kwargs, frame: pd.DataFrame) -> Mask | None:
    """Return which rows of `frame` fail the expectation; None when it is not about rows or has no twin here."""
    if kind in _SINGLE and kwargs.get("column") in frame.columns:
        values = frame[kwargs["column"]]
        return _SINGLE[kind](values, kwargs)
    if kind in _PAIR:
        left, right = frame[kwargs["column_A"]], frame[kwargs["column_B"]]
        return _PAIR[kind](left, right, kwargs)
    if kind in _MULTI:
        return _MULTI[kind](frame[list(kwargs["column_list"])], kwargs)
    return None


def _present(values: pd.Series, good: Callable[[pd.Series], Any]) -> Mask:
    """Rows that are not null and not good; `good` sees the rows that are not null."""
    there = values.notna().to_numpy(dtype=bool)
    bad = np.zeros(len(values), dtype=bool)
    if there.any():
        bad[there] = ~np.asarray(good(values[there]), dtype=bool)
    return bad


def _not_null(values: pd.Series, _: Kwargs) -> Mask:
    return np.asarray(values.isna(), dtype=bool)


def _null(values: pd.Series, _: Kwargs) -> Mask:
    return np.asarray(values.notna(), dtype=bool)


def _unique(values: pd.Series, _: Kwargs) -> Mask:
    return _present(values, lambda v: ~v.duplicated(keep=False))


def _in_set(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: v.isin(list(kwargs["value_set"])))


def _not_in_set(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: ~v.isin(list(kwargs["value_set"])))


def _contains(values: pd.Series, regex: str) -> Mask:
    return np.asarray(values.astype(str).str.contains(regex, regex=True), dtype=bool)


def _regex(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: _contains(v, kwargs["regex"]))


def _not_regex(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: ~_contains(v, kwargs["regex"]))


def _regex_list(values: pd.Series, kwargs: Kwargs) -> Mask:
    join = np.all if kwargs.get("match_on") == "all" else np.any
    return _present(values, lambda v: join([_contains(v, regex) for regex in kwargs["regex_list"]], axis=0))


def _not_regex_list(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: ~np.any([_contains(v, regex) for regex in kwargs["regex_list"]], axis=0))


def _between(numbers: Any, kwargs: Kwargs) -> Mask:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    good = np.ones(len(numbers), dtype=bool)
    if low is not None:
        good &= np.asarray(numbers > low if kwargs.get("strict_min") else numbers >= low, dtype=bool)
    if high is not None:
        good &= np.asarray(numbers < high if kwargs.get("strict_max") else numbers <= high, dtype=bool)
    return good


def _values_between(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: _between(v, kwargs))


def _lengths_between(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: _between(v.astype(str).str.len(), kwargs))


def _lengths_equal(values: pd.Series, kwargs: Kwargs) -> Mask:
    return _present(values, lambda v: v.astype(str).str.len() == kwargs["value"])


def _of_type(values: pd.Series, kwargs: Kwargs) -> Mask | None:
    return _of_types(values, [kwargs["type_"]])


def _in_types(values: pd.Series, kwargs: Kwargs) -> Mask | None:
    return _of_types(values, list(kwargs["type_list"]))


def _of_types(values: pd.Series, names: list[str]) -> Mask | None:
    """Only object columns are judged by row; a typed column has one type, right or wrong as a whole."""
    if values.dtype != object or any(name not in _TYPES for name in names):
        return None
    wanted = tuple(kind for name in names for kind in _TYPES[name])
    return _present(values, lambda v: [isinstance(value, wanted) for value in v])


def _json(values: pd.Series, _: Kwargs) -> Mask:
    return _present(values, lambda v: [_parses(json.loads, value) for value in v])


def _strftime(values: pd.Series, kwargs: Kwargs) -> Mask:
    pattern = kwargs["strftime_format"]
    return _present(values, lambda v: [_parses(lambda text: datetime.strptime(text, pattern), value) for value in v])  # noqa: DTZ007


def _parses(parse: Callable[[Any], Any], value: Any) -> bool:
    try:
        parse(value)
    except (ValueError, TypeError):
        return False
    return True


def _pair(left: pd.Series, right: pd.Series, kwargs: Kwargs, good: Callable[[pd.Series, pd.Series], Any]) -> Mask:
    rule = kwargs.get("ignore_row_if", "both_values_are_missing")
    if rule == "both_values_are_missing":
        ignored = left.isna() & right.isna()
    elif rule == "either_value_is_missing":
        ignored = left.isna() | right.isna()
    else:
        ignored = pd.Series(data=False, index=left.index)
    bad = np.zeros(len(left), dtype=bool)
    there = ~ignored.to_numpy(dtype=bool)
    bad[there] = ~np.asarray(good(left[there], right[there]), dtype=bool)
    return bad


def _pair_equal(left: pd.Series, right: pd.Series, kwargs: Kwargs) -> Mask:
    return _pair(left, right, kwargs, lambda a, b: a == b)


def _pair_greater(left: pd.Series, right: pd.Series, kwargs: Kwargs) -> Mask:
    return _pair(left, right, kwargs, lambda a, b: a >= b if kwargs.get("or_equal") else a > b)


def _compound_unique(frame: pd.DataFrame, kwargs: Kwargs) -> Mask:
    there = ~_ignored(frame, kwargs, "all_values_are_missing")
    bad = np.zeros(len(frame), dtype=bool)
    bad[there] = frame[there].duplicated(keep=False).to_numpy(dtype=bool)
    return bad


def _ignored(frame: pd.DataFrame, kwargs: Kwargs, default: str) -> Mask:
    rule = kwargs.get("ignore_row_if", default)
    if rule == "all_values_are_missing":
        return np.asarray(frame.isna().all(axis=1), dtype=bool)
    if rule == "any_value_is_missing":
        return np.asarray(frame.isna().any(axis=1), dtype=bool)
    return np.zeros(len(frame), dtype=bool)


_SINGLE: Mapping[str, Callable[[pd.Series, Kwargs], Mask | None]] = {
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_be_unique": _unique,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_values_to_match_regex": _regex,
    "expect_column_values_to_not_match_regex": _not_regex,
    "expect_column_values_to_match_regex_list": _regex_list,
    "expect_column_values_to_not_match_regex_list": _not_regex_list,
    "expect_column_values_to_be_between": _values_between,
    "expect_column_value_lengths_to_be_between": _lengths_between,
    "expect_column_value_lengths_to_equal": _lengths_equal,
    "expect_column_values_to_be_of_type": _of_type,
    "expect_column_values_to_be_in_type_list": _in_types,
    "expect_column_values_to_be_json_parseable": _json,
    "expect_column_values_to_match_strftime_format": _strftime,
}
_PAIR: Mapping[str, Callable[[pd.Series, pd.Series, Kwargs], Mask]] = {
    "expect_column_pair_values_to_be_equal": _pair_equal,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair_greater,
}
_MULTI: Mapping[str, Callable[[pd.DataFrame, Kwargs], Mask]] = {
    "expect_compound_columns_to_be_unique": _compound_unique,
}
