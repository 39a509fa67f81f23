"""Setting conditions so that an unchanged status is recognised as no change at all.

Called by every kind's `status`. Pure: the clock is an argument, and a transition time is kept unless the status changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradatim.api.meta import Condition
from gradatim.api.reasons import ConditionType, Reason

MESSAGE_LIMIT = 1024
ORDINARY = frozenset(
    r.value for r in (Reason.PENDING, Reason.RECORDED, Reason.IN_PROGRESS, Reason.PROMOTING, Reason.SUCCEEDED)
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition should say; `status` None means Unknown."""

    type: ConditionType
    status: bool | None
    reason: Reason | str  # a text is a reason of somebody else's vocabulary, shown as it is
    message: str = ""


def merged(known: Sequence[Condition], verdicts: Iterable[Verdict], *, generation: int, now: str) -> list[Condition]:
    """Return the conditions after `verdicts`, in the order first seen. Conditions not judged stay as they are."""
    by_type = {c.type: c for c in known}
    for verdict in verdicts:
        status = "Unknown" if verdict.status is None else str(verdict.status)
        old = by_type.get(verdict.type.value)
        by_type[verdict.type.value] = Condition(
            type=verdict.type.value,
            status=status,
            observed_generation=generation,
            last_transition_time=old.last_transition_time if old is not None and old.status == status else now,
            reason=str(verdict.reason),
            message=clipped(verdict.message),
        )
    return list(by_type.values())


def find(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of that type, or None when it was never set."""
    return next((c for c in conditions if c.type == kind.value), None)


def is_true(conditions: Sequence[Condition], kind: ConditionType) -> bool:
    """Return whether the condition is set and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


SHORT_LIMIT = 253  # characters of a text for a printer column


def clipped(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return `text` cut to `limit` characters, with an ellipsis when cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def reason_of(text: str | None, default: Reason) -> Reason:
    """Return the reason called `text`, or `default` when the vocabulary does not know it."""
    try:
        return Reason(text) if text else default
    except ValueError:
        return default


def trouble(conditions: Sequence[Condition]) -> str | None:
    """Return the word for the column Reason: why the object is not well or what it waits for; None while all is well.

    What stalls comes first, then what is waited for, then what the last Run left behind: the order in which a person has to act.
    """
    by_type = {c.type: c for c in conditions}

    def word(kind: ConditionType, *bad: str) -> str | None:
        found = by_type.get(kind.value)
        return found.reason if found is not None and found.status in bad and found.reason not in ORDINARY else None

    if is_true(conditions, ConditionType.RECONCILING) and not is_true(conditions, ConditionType.STALLED):
        return word(ConditionType.RECONCILING, "True")
    return (
        word(ConditionType.STALLED, "True")
        or word(ConditionType.CURRENT, "False")
        or word(ConditionType.DEGRADED, "True")
        or word(ConditionType.READY, "False", "Unknown")
    )
