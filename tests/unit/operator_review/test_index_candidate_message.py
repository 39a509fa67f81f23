"""What a workload says about its failure may be as long as the contract allows, and must not keep status from being written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Attempt, Failure, Outcome, RunStatus
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import plan
from gradatim.operator.ragindex.status import status
from gradatim.operator.settings import RunSettings


def test_the_longest_message_of_an_attempt_that_is_tried_again_fits_into_status(world: Callable[..., World]) -> None:
    seen = world()
    assert seen.status.run is not None
    failed = Attempt(
        number=1,
        outcome=Outcome.FAILED,
        failure=Failure.DEPENDENCY,
        reason=Reason.SOURCE_UNREACHABLE.value,
        message="x" * 1024,
        finished_at="2026-03-01T12:00:00Z",
    )
    run = RunStatus.model_validate(seen.status.run.model_dump() | {"done": False, "succeeded": False})
    run = run.model_copy(update={"attempts": [failed]})
    seen = dataclasses.replace(seen, status=seen.status.model_copy(update={"run": run}))
    seen = dataclasses.replace(seen, around=dataclasses.replace(seen.around, profile=None))  # inputs stay as they are
    new = status(seen, plan(seen, RunSettings()), RunSettings(), identity=seen.status.store)
    assert new.candidate is not None
    assert (len(new.candidate.message), new.candidate.message[:16]) == (1024, "attempt 1 failed")
