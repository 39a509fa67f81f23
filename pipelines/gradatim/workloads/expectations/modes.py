"""How each core expectation of Great Expectations is judged when no table holds all rows.

Pure. Read by `blocks.py` and `merge.py`. What is not named here needs the values of its columns at once, for which there is a bound.
"""

from __future__ import annotations

from enum import Enum

from gradatim.workloads.expectations.suite import WHOLE_TABLE


class Mode(Enum):
    """Where an expectation sees the rows."""

    ROWS = "judged block by block; counts of unexpected rows add up"
    FIRST = "about names or types of columns, which are the same in every block"
    COUNT = "about the number of rows"
    IDENTITY = "about which values are equal or missing; numbers stand for them"
    WHOLE = "about all values of its columns at once"


_VALUES = "expect_column_values_to_"
_ROWS = frozenset(
    {
        "expect_column_value_lengths_to_be_between", "expect_column_value_lengths_to_equal",
        "expect_column_pair_values_a_to_be_greater_than_b", "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set", "expect_multicolumn_sum_to_equal", "expect_multicolumn_values_to_be_equal",
        "expect_multicolumn_values_to_be_unique", "expect_select_column_values_to_be_unique_within_record",
    }
    | {
        _VALUES + name
        for name in (
            "be_between", "be_dateutil_parseable", "be_in_set", "be_in_type_list", "be_json_parseable", "be_null", "be_of_type",
            "match_json_schema", "match_like_pattern", "match_like_pattern_list", "match_regex", "match_regex_list",
            "match_strftime_format", "not_be_in_set", "not_be_null", "not_match_like_pattern", "not_match_like_pattern_list",
            "not_match_regex", "not_match_regex_list",
        )
    }
)  # fmt: skip
_FIRST = WHOLE_TABLE | {"expect_column_type_to_be"}
_COUNT = frozenset({"expect_table_row_count_to_be_between", "expect_table_row_count_to_equal"})
_IDENTITY = frozenset(
    {
        "expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique", "expect_column_unique_value_count_to_be_between",
        "expect_column_proportion_of_unique_values_to_be_between", "expect_column_proportion_of_non_null_values_to_be_between",
    }
)  # fmt: skip


def mode_of(kind: str) -> Mode:
    """Return how the expectation of this name is judged."""
    for names, mode in ((_ROWS, Mode.ROWS), (_FIRST, Mode.FIRST), (_COUNT, Mode.COUNT), (_IDENTITY, Mode.IDENTITY)):
        if kind in names:
            return mode
    return Mode.WHOLE
