"""Recency: scores halve with every half-life of a date field.

Called by the retriever when the index asks for it. Pure: the time is an argument.
"""

from __future__ import annotations

from datetime import UTC, datetime

SECONDS_PER_DAY = 86_400.0
UNDATED = 0.5


def decay(published: datetime | None, now: datetime, half_life_days: float) -> float:
    """Return the factor from 0 to 1 for a document's date.

    A date in the future counts as today. A document without date counts as one half-life old: neither favoured over dated ones nor lost.
    """
    if published is None:
        return UNDATED
    when = published.replace(tzinfo=UTC) if published.tzinfo is None else published
    age = max(0.0, (now - when).total_seconds() / SECONDS_PER_DAY)
    return float(0.5 ** (age / half_life_days))
