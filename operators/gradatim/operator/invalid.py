"""The status of an object whose spec this release cannot use.

Called by the kinds' reconcile. Pure. What serves keeps serving; nothing is started.
"""

from __future__ import annotations

from typing import TypeVar

from gradatim.api.base import ReadModel
from gradatim.api.meta import Condition, State
from gradatim.api.reasons import ConditionType, Reason
from gradatim.operator.conditions import Verdict, is_true, merged

S = TypeVar("S", bound=ReadModel)


def stalled(status: S, reason: Reason, message: str, *, generation: int, now: str) -> S:
    """Return `status` with Stalled set, and Ready left as it is where something serves."""
    known: list[Condition] = getattr(status, "conditions", [])
    verdicts = [
        Verdict(ConditionType.STALLED, True, reason, message),
        Verdict(ConditionType.RECONCILING, False, reason, ""),
    ]
    serving = is_true(known, ConditionType.READY)
    if serving:
        verdicts.append(Verdict(ConditionType.CURRENT, False, reason, message))
    else:
        verdicts.append(Verdict(ConditionType.READY, False, reason, message))
    return status.model_copy(
        update={
            "observed_generation": generation,
            "state": State.READY if serving else State.FAILED,
            "conditions": merged(known, verdicts, generation=generation, now=now),
            "reason_text": reason.value,
        }
    )
