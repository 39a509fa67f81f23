"""The `index` workload: from sources to an evaluated collection in Weaviate.

`python -m gradatim.workloads index` calls `run`; the stages are in `main`. Nothing heavy is imported before a Run begins.
"""

from __future__ import annotations

from gradatim.api.run import RunResult
from gradatim.workloads.context import RunContext


def run(ctx: RunContext) -> RunResult:
    """Build the index of a RunConfig. Raises WorkloadError with its failure class, or StopRequested."""
    from gradatim.workloads.index.main import build_index

    return build_index(ctx)
