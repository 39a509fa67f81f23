"""Expectations on rows, judged by Great Expectations, with the rows that fail them.

`validate_table` serves the `index` workload (parsed documents) with one table; the `validate` workload judges blocks: `plan_of`, `judge_block` for
each, a `Merger`, then `judged`. A verdict never comes from our own checks: they only say which rows a failed expectation means.
"""

from gradatim.workloads.expectations.blocks import BlockVerdicts, Plan, judge_block, plan_of
from gradatim.workloads.expectations.judge import Judged, judged, validate_table
from gradatim.workloads.expectations.merge import Merger

__all__ = ["BlockVerdicts", "Judged", "Merger", "Plan", "judge_block", "judged", "plan_of", "validate_table"]
