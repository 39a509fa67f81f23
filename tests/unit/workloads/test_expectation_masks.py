"""Our row masks against Great Expectations itself, and what its verdicts mean for the Run."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from gradatim.api.common import Validation
from gradatim.api.reasons import Reason
from gradatim.api.run import SuiteDocument
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.expectations import engine, validate_table
from gradatim.workloads.expectations.engine import evaluate
from gradatim.workloads.expectations.masks import bad_rows
from gradatim.workloads.expectations.suite import Check

engine._batch_definition()  # its import takes longer than a test may run

FRAME = pd.DataFrame(
    {
        "text": pd.Series(["alpha", None, "b", "alpha", "", "2024-01-05", '{"a": 1}', "Zeta"], dtype=object),
        "other": pd.Series(["alpha", None, "c", None, "", "x", "y", "Zeta"], dtype=object),
        "number": pd.Series([1.0, None, 3.0, 1.0, -5.0, 6.0, 7.0, 6.0]),
        "mixed": pd.Series(["a", 1, 2.5, None, True, "b", [1], "c"], dtype=object),
    }
)
CASES: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "text"}),
    ("expect_column_values_to_be_null", {"column": "text"}),
    ("expect_column_values_to_be_unique", {"column": "text"}),
    ("expect_column_values_to_be_in_set", {"column": "text", "value_set": ["alpha", "b"]}),
    ("expect_column_values_to_be_in_set", {"column": "number", "value_set": [1, 3]}),
    ("expect_column_values_to_not_be_in_set", {"column": "text", "value_set": ["alpha"]}),
    ("expect_column_values_to_match_regex", {"column": "text", "regex": "^[a-z]+$"}),
    ("expect_column_values_to_not_match_regex", {"column": "text", "regex": "a"}),
    ("expect_column_values_to_match_regex_list", {"column": "text", "regex_list": ["a", "b"]}),
    ("expect_column_values_to_match_regex_list", {"column": "text", "regex_list": ["a", "l"], "match_on": "all"}),
    ("expect_column_values_to_not_match_regex_list", {"column": "text", "regex_list": ["Z", "b"]}),
    ("expect_column_values_to_be_between", {"column": "number", "min_value": 1, "max_value": 6}),
    ("expect_column_values_to_be_between", {"column": "number", "min_value": 1, "max_value": 6, "strict_max": True}),
    ("expect_column_values_to_be_between", {"column": "number", "min_value": 1, "strict_min": True}),
    ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 2, "max_value": 5}),
    ("expect_column_value_lengths_to_equal", {"column": "text", "value": 5}),
    ("expect_column_values_to_be_of_type", {"column": "mixed", "type_": "str"}),
    ("expect_column_values_to_be_in_type_list", {"column": "mixed", "type_list": ["str", "float"]}),
    ("expect_column_values_to_be_json_parseable", {"column": "text"}),
    ("expect_column_values_to_match_strftime_format", {"column": "text", "strftime_format": "%Y-%m-%d"}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "text", "column_B": "other"}),
    ("expect_column_pair_values_to_be_equal",
     {"column_A": "text", "column_B": "other", "ignore_row_if": "either_value_is_missing"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["text", "number"]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "kwargs"), CASES, ids=[f"{kind[7:]}-{n}" for n, (kind, _) in enumerate(CASES)])
def test_a_mask_counts_what_great_expectations_counts(kind: str, kwargs: dict[str, Any]) -> None:
    (verdict,) = evaluate([Check(kind, kwargs)], FRAME)
    mask = bad_rows(kind, kwargs, FRAME)
    assert mask is not None
    assert 0 < verdict.unexpected == int(mask.sum()) < len(FRAME)


def _table(texts: list[str | None]) -> pa.Table:
    rows = range(1, len(texts) + 1)
    return pa.table(
        {
            "text": pa.array(texts, pa.string()), "source": ["data"] * len(texts), "file": ["a.jsonl"] * len(texts),
            "row": list(rows), "page": pa.nulls(len(texts), pa.int64()), "metadata.lang": ["en"] * len(texts),
        }
    )  # fmt: skip


def _validation(*expectations: dict[str, Any], **members: Any) -> Validation:
    return Validation.model_validate({"expectations": list(expectations), **members})


NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}}
LONG = {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "min_value": 3}}
MANY = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}}


def test_under_block_a_failure_names_expectation_column_observed_and_places() -> None:
    judged = validate_table(_table(["good", None, "x"]), _validation(NOT_NULL))
    with pytest.raises(WorkloadError) as caught:
        judged.raise_if_blocked()
    assert (caught.value.failure, caught.value.reason) == (Failure.DATA, Reason.DATA_INVALID)
    assert caught.value.message == (
        "expect_column_values_to_not_be_null(text) failed: observed 1 of 3 rows, for example data:a.jsonl:2"
    )
    assert judged.bad.tolist() == [False, False, False]


def test_under_quarantine_the_rows_go_and_each_knows_why() -> None:
    judged = validate_table(_table(["good", None, "x"]), _validation(NOT_NULL, LONG, onFailure="quarantine"))
    assert judged.blocking == ()
    assert judged.bad.tolist() == [False, True, True]
    assert judged.why == (
        "expect_column_values_to_not_be_null(text)", "expect_column_value_lengths_to_be_between(text)",
    )  # fmt: skip
    assert (judged.summary.success, judged.summary.failed, judged.summary.rejected) == (False, 2, 2)


def test_under_quarantine_what_is_not_about_rows_blocks() -> None:
    judged = validate_table(_table(["good"]), _validation(MANY, onFailure="quarantine"))
    assert judged.blocking == ("expect_table_row_count_to_be_between() [min_value=100] failed: observed 1",)


def test_warnings_are_reported_and_never_block() -> None:
    judged = validate_table(_table(["good", None]), _validation({**NOT_NULL, "severity": "warning"}))
    assert judged.blocking == ()
    assert judged.summary.success
    assert [(r.severity, r.success, r.failed, r.examples) for r in judged.summary.results] == [
        ("warning", False, 1, ["data:a.jsonl:2"])
    ]


def test_mostly_is_judged_by_great_expectations() -> None:
    mostly = {**NOT_NULL, "kwargs": {"column": "text", "mostly": 0.6}}
    judged = validate_table(_table(["good", None, "x"]), _validation(mostly, onFailure="quarantine"))
    assert (judged.summary.success, int(judged.bad.sum())) == (True, 0)


def test_a_suite_stands_beside_inline_expectations_and_metadata_has_short_names() -> None:
    suite = {
        "name": "corpus",
        "expectations": [
            {
                "type": "expect_column_values_to_be_in_set",
                "kwargs": {"column": "lang", "value_set": ["de"]},
                "severity": "warning",
            },
            {"expectation_type": "expect_column_to_exist", "kwargs": {"column": "text"}, "meta": {}},
        ],
    }
    judged = validate_table(
        _table(["good"]), _validation(NOT_NULL), SuiteDocument(name="c", document=json.dumps(suite))
    )
    assert [(r.expectation[7:], r.column, r.success) for r in judged.summary.results] == [
        ("column_values_to_be_in_set", "metadata.lang", False),
        ("column_values_to_not_be_null", "text", True),
        ("column_to_exist", "text", True),
    ]


@pytest.mark.parametrize(
    ("expectation", "says"),
    [
        ({"type": "expect_unicorns"}, "expect_unicorns is not an expectation of Great Expectations"),
        ({**NOT_NULL, "kwargs": {"column": "txt"}}, "there is no column txt; the columns are text"),
        ({**NOT_NULL, "kwargs": {"colum": "text"}}, "column: field required; colum: extra fields not permitted"),
        ({**LONG, "kwargs": {"column": "text"}}, "min_value and max_value cannot both be None"),
        ({**NOT_NULL, "kwargs": {"column": "text", "row_condition": "@pd.io"}}, "row_condition is not supported"),
        ({"type": "expect_column_mean_to_be_between", "kwargs": {"column": "text", "min_value": 1}}, "cannot be evaluated"),
        ({"type": "expect_column_values_to_match_regex", "kwargs": {"column": "text", "regex": "("}}, "cannot be evaluated"),
    ],
    ids=[
        "an unknown expectation", "an unknown column", "an unknown argument", "a missing argument", "a condition that is code",
        "a mean of text", "a broken pattern",
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_the_users_to_fix(expectation: dict[str, Any], says: str) -> None:
    with pytest.raises(WorkloadError, match="validation: ") as caught:
        validate_table(_table(["good", "better"]), _validation(expectation))
    assert (caught.value.failure, caught.value.reason) == (Failure.USER, Reason.INVALID_SPEC)
    assert says in caught.value.message


@pytest.mark.parametrize(
    "document", ["{", '{"name": "x"}', '{"expectations": [{"kwargs": {}}]}', '{"expectations": [3]}']
)
def test_a_suite_that_is_none_is_refused(document: str) -> None:
    with pytest.raises(WorkloadError, match="suite corpus"):
        validate_table(_table(["x"]), Validation(), SuiteDocument(name="corpus", document=document))


def test_an_empty_table_is_judged_too() -> None:
    judged = validate_table(_table([]), _validation(NOT_NULL, MANY))
    assert [result.success for result in judged.summary.results] == [False, True]
