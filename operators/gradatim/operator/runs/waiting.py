"""Time that an attempt spends in a queue: it is counted, bounded by itself, and never charged to the attempt's own deadlines.

Called by `attempts`. Pure. A queue may also take an admitted attempt off its nodes again; that is neither a failure nor a retry.
"""

from __future__ import annotations

from datetime import datetime

from gradatim.api.runstatus import Attempt
from gradatim.operator.clock import parsed, rfc3339, since
from gradatim.operator.runtimes.base import Observed


def followed(attempt: Attempt, observed: Observed | None, now: datetime) -> Attempt:
    """Return the attempt with its time in the queue begun or ended; one that cannot be seen stays as it is."""
    if observed is None or observed.waiting == (attempt.waiting_since is not None):
        return attempt
    if observed.waiting:
        return attempt.model_copy(update={"waiting_since": rfc3339(now)})
    update = {"waiting_since": None, "waited_seconds": int(waited(attempt, now)), "resumed_at": rfc3339(now)}
    return attempt.model_copy(update=update)


def waited(attempt: Attempt, now: datetime) -> float:
    """Return the seconds that the attempt has waited in all, up to now."""
    return attempt.waited_seconds + max(since(attempt.waiting_since, now), 0.0)


def elapsed(attempt: Attempt, now: datetime) -> float:
    """Return the seconds that count for the attempt's deadlines."""
    return since(attempt.started_at or attempt.recorded_at, now) - waited(attempt, now)


def quiet_for(attempt: Attempt, heartbeat: str | None, observed: Observed, now: datetime) -> float:
    """Return the seconds since the last sign of life, or since the process could first give one."""
    signs = (heartbeat, attempt.started_at, attempt.resumed_at, observed.started_at)
    moments = [moment for text in signs if (moment := parsed(text)) is not None]
    return (now - max(moments)).total_seconds() if moments else 0.0


def heard(attempt: Attempt, heartbeat: str | None) -> bool:
    """Return whether the process has given a sign of life since it last began."""
    last, began = parsed(heartbeat), parsed(attempt.resumed_at)
    return last is not None and (began is None or last > began)
