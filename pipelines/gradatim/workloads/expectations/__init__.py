"""Expectations on tables, judged by Great Expectations, with the rows that fail them.

`validate_table` serves the `validate` workload (rows of a Dataset) and the `index` workload (parsed documents). A verdict never comes from our
own checks: they only say which rows a failed expectation means.
"""

from gradatim.workloads.expectations.judge import Judged, validate_table

__all__ = ["Judged", "validate_table"]
