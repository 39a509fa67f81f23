"""How a Run ended, told in the pass that ends it.

Called by `running`, which counts it. Pure. It goes by the record and not by a result: a Run whose node, image, memory or time ran out leaves
none, and is a failure all the same.
"""

from __future__ import annotations

from gradatim.api.runstatus import Outcome, RunStatus
from gradatim.operator.runs.model import Step

ENDINGS = (Outcome.SUCCEEDED, Outcome.UNCHANGED, Outcome.FAILED, Outcome.STOPPED)


def ending(before: RunStatus | None, step: Step) -> Outcome | None:
    """Return one of `ENDINGS` if this step ends the Run that status named before, else None.

    Stopped is a Run that was ended because the spec has changed; a suspended one is not over.
    """
    run = step.run
    if before is None or run is None or before.name != run.name or before.done or not run.done:
        return None
    if run.succeeded:
        return run.attempts[-1].outcome
    return Outcome.STOPPED if step.failure is None else Outcome.FAILED
