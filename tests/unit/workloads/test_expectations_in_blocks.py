"""Verdicts over blocks against Great Expectations on the whole table, for every core expectation that a Dataset may use."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gradatim.api.common import Validation
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.expectations import Judged, Merger, engine, judge_block, judged, plan_of, validate_table, values
from gradatim.workloads.expectations.engine import evaluate
from gradatim.workloads.expectations.modes import Mode, mode_of
from gradatim.workloads.expectations.suite import Check

engine._batch_definition()  # its import takes longer than a test may run

TABLE = pa.table(
    {
        "text": ["alpha", None, "b", "alpha", "", "2024-01-05", '{"a": 1}', "Zeta", "b", "c", "c2", None],
        "lang": ["en", "en", "de", "en", "de", "en", None, "en", "de", "fr", "en", "en"],
        "late": [None, None, None, None, None, None, None, None, "x", "y", "x", "z"],
        "doc": ['{"a": 1}', None, '"x"', "{}", "1", "{}", "{}", None, "[]", "{}", "{}", "{}"],
        "chars": [5, 0, 1, 5, 0, 10, 8, 4, 1, 1, 2, 0],
        "score": [1.0, None, 3.0, 1.5, -5.0, 6.0, 7.0, 6.0, 2.0, 2.5, 9.0, None],
        "flag": [True, False, True, True, False, True, False, True, True, True, False, True],
        "maybe": [True, None, True, True, False, True, False, True, True, True, False, True],
    }
)
_V = "expect_column_values_to_"
_C = "expect_column_"
CASES: list[tuple[str, dict[str, Any]]] = [
    (_V + "not_be_null", {"column": "text"}),
    (_V + "not_be_null", {"column": "text", "mostly": 0.8}),
    (_V + "not_be_null", {"column": "text", "mostly": 0.9}),
    (_V + "be_null", {"column": "late"}),
    (_V + "be_null", {"column": "late", "mostly": 0.5}),
    (_V + "be_in_set", {"column": "lang", "value_set": ["en", "de"]}),
    (_V + "be_in_set", {"column": "lang", "value_set": ["en", "de"], "mostly": 0.9}),
    (_V + "be_in_set", {"column": "late", "value_set": ["x"], "mostly": 0.5}),
    (_V + "not_be_in_set", {"column": "flag", "value_set": [False]}),
    (_V + "match_regex", {"column": "text", "regex": "^[a-z]+$", "mostly": 0.5}),
    (_V + "not_match_regex", {"column": "late", "regex": "z"}),
    (_V + "match_regex_list", {"column": "text", "regex_list": ["a", "b"]}),
    (_V + "not_match_regex_list", {"column": "text", "regex_list": ["Z"]}),
    (_V + "be_between", {"column": "score", "min_value": 1, "max_value": 6}),
    (_V + "be_between", {"column": "chars", "min_value": 0}),
    (_C + "value_lengths_to_be_between", {"column": "text", "min_value": 1}),
    (_C + "value_lengths_to_equal", {"column": "lang", "value": 2}),
    (_V + "be_of_type", {"column": "text", "type_": "str"}),
    (_V + "be_of_type", {"column": "chars", "type_": "int64"}),
    (_V + "be_of_type", {"column": "score", "type_": "int64"}),
    (_V + "be_in_type_list", {"column": "maybe", "type_list": ["str"]}),
    (_V + "be_json_parseable", {"column": "text"}),
    (_V + "match_json_schema", {"column": "doc", "json_schema": {"type": "object"}}),
    (_V + "match_strftime_format", {"column": "text", "strftime_format": "%Y-%m-%d"}),
    (_V + "be_dateutil_parseable", {"column": "text"}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "text", "column_B": "late"}),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "chars", "column_B": "score", "mostly": 0.4, "ignore_row_if": "either_value_is_missing"},
    ),
    ("expect_column_pair_values_to_be_in_set", {"column_A": "lang", "column_B": "late", "value_pairs_set": [["de", "x"]]}),
    ("expect_multicolumn_sum_to_equal", {"column_list": ["chars", "chars"], "sum_total": 10}),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["text", "late"]}),
    (_V + "be_unique", {"column": "text"}),
    (_V + "be_unique", {"column": "text", "mostly": 0.5}),
    (_V + "be_unique", {"column": "chars"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["text", "lang"]}),
    (_C + "unique_value_count_to_be_between", {"column": "lang", "min_value": 3, "max_value": 3}),
    (_C + "proportion_of_unique_values_to_be_between", {"column": "text", "min_value": 0.8}),
    (_C + "proportion_of_non_null_values_to_be_between", {"column": "text", "min_value": 0.9}),
    (_C + "unique_value_count_to_be_between", {"column": "maybe", "min_value": 2}),
    (_C + "min_to_be_between", {"column": "score", "min_value": -5}),
    (_C + "max_to_be_between", {"column": "chars", "max_value": 9}),
    (_C + "mean_to_be_between", {"column": "score", "min_value": 3.2, "max_value": 3.4}),
    (_C + "median_to_be_between", {"column": "score", "max_value": 2}),
    (_C + "stdev_to_be_between", {"column": "chars", "max_value": 3}),
    (_C + "sum_to_be_between", {"column": "chars", "min_value": 37, "max_value": 37}),
    (_C + "quantile_values_to_be_between",
     {"column": "score", "quantile_ranges": {"quantiles": [0.1, 0.9], "value_ranges": [[-9, 0], [6, 9]]}}),
    (_C + "most_common_value_to_be_in_set", {"column": "lang", "value_set": ["en"]}),
    (_C + "distinct_values_to_be_in_set", {"column": "lang", "value_set": ["en", "de"]}),
    (_C + "distinct_values_to_contain_set", {"column": "lang", "value_set": ["fr"]}),
    (_C + "distinct_values_to_equal_set", {"column": "lang", "value_set": ["fr", "de", "en"]}),
    (_C + "value_z_scores_to_be_less_than", {"column": "chars", "threshold": 2, "double_sided": True}),
    (_V + "be_increasing", {"column": "chars"}),
    ("expect_table_row_count_to_be_between", {"min_value": 13}),
    ("expect_table_row_count_to_equal", {"value": 12}),
    ("expect_table_column_count_to_equal", {"value": 8}),
    ("expect_table_columns_to_match_set", {"column_set": ["text", "lang"], "exact_match": False}),
    (_C + "to_exist", {"column": "nothing"}),
    (_C + "type_to_be", {"column": "chars", "type_": "int64"}),
]  # fmt: skip


def _in_blocks(table: pa.Table, validation: Validation, rows: int) -> Judged:
    nullable = frozenset(name for name in table.column_names if table.column(name).null_count)
    plan = plan_of(validation, None, table.column_names, nullable)
    merger = Merger(plan)
    for start in range(0, table.num_rows, rows):
        merger.add(judge_block(plan, table.slice(start, rows), first=start == 0))
    return judged(merger, validation, lambda row: f"row {row}")


def _validation(kind: str, kwargs: dict[str, Any], on_failure: str = "quarantine") -> Validation:
    return Validation.model_validate({"expectations": [{"type": kind, "kwargs": kwargs}], "onFailure": on_failure})


def _told(found: Judged) -> tuple[object, ...]:
    return found.summary, found.bad.tolist(), found.why, found.blocking


@pytest.mark.parametrize(("kind", "kwargs"), CASES, ids=[f"{kind[7:]}-{n}" for n, (kind, _) in enumerate(CASES)])
def test_blocks_say_what_great_expectations_says_of_the_whole(kind: str, kwargs: dict[str, Any]) -> None:
    frame = pd.DataFrame(
        {
            name: values.series(TABLE.column(name), nullable=bool(TABLE.column(name).null_count))
            for name in TABLE.column_names
        }
    )
    (whole,) = evaluate([Check(kind, kwargs)], frame)
    found = _in_blocks(TABLE, _validation(kind, kwargs), 5)
    (result,) = found.summary.results
    assert (result.success, result.observed, result.failed) == (whole.success, whole.observed, whole.unexpected)
    assert _told(found) == _told(_in_blocks(TABLE, _validation(kind, kwargs), 100))


def test_every_core_expectation_has_a_mode_that_was_tried() -> None:
    tried = {mode_of(kind) for kind, _ in CASES}
    assert tried == set(Mode)


def test_each_failing_row_goes_with_its_first_reason_wherever_blocks_begin() -> None:
    expectations = [
        {"type": _V + "not_be_null", "kwargs": {"column": "text"}},
        {"type": _V + "be_unique", "kwargs": {"column": "text"}},
        {"type": _V + "be_in_set", "kwargs": {"column": "lang", "value_set": ["en"]}},
    ]
    validation = Validation.model_validate({"expectations": expectations, "onFailure": "quarantine"})
    found = _in_blocks(TABLE, validation, 5)
    assert np.flatnonzero(found.bad).tolist() == [0, 1, 2, 3, 4, 8, 9, 11]
    assert [label[24:].partition("(")[0] for label in found.why] == [
        "be_unique", "not_be_null", "be_unique", "be_unique", "be_in_set", "be_unique", "be_in_set", "not_be_null",
    ]  # fmt: skip
    assert [r.examples for r in found.summary.results] == [
        ["row 1", "row 11"], ["row 0", "row 2", "row 3", "row 8"], ["row 2", "row 4", "row 8", "row 9"],
    ]  # fmt: skip


def test_values_beyond_the_bound_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "WHOLE_BYTES", 300)
    distinct = _validation(_C + "distinct_values_to_be_in_set", {"column": "lang", "value_set": ["en"]})
    assert not _in_blocks(TABLE, distinct, 5).summary.success
    wide = _validation(_C + "most_common_value_to_be_in_set", {"column": "text", "value_set": ["b"]})
    with pytest.raises(WorkloadError, match="needs the values of text at once, and they exceed 256 MiB; leave it out"):
        _in_blocks(TABLE, wide, 5)
    assert _in_blocks(TABLE, _validation(_V + "be_unique", {"column": "text"}), 5).summary.failed == 1


def test_one_table_and_many_blocks_go_one_way() -> None:
    validation = _validation(_V + "not_be_null", {"column": "text"})
    whole = validate_table(TABLE, validation)
    assert (whole.bad.tolist(), whole.why) == _told(_in_blocks(TABLE, validation, 5))[1:3]


def test_great_expectations_tells_nothing_of_its_folders() -> None:
    assert not logging.getLogger("great_expectations.data_context.types.base").isEnabledFor(logging.WARNING)
