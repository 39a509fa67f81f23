"""The one place where the operator reads the time, and the RFC 3339 form it has in status.

`loop` reads `now()` once per pass and hands it down; the functions below it are pure.
"""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return seconds-precision RFC 3339 in UTC, the form Kubernetes uses."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text: str | None) -> datetime | None:
    """Return the moment in `text`, or None for None. Raises `ValueError` for anything but RFC 3339."""
    return None if text is None else datetime.fromisoformat(text)


def within(text: str, first: str | None, last: datetime) -> str:
    """Return `text`, or the bound that it lies beyond: a time that somebody else has written is bounded, not believed.

    What schedules, staleness and pauses count from must neither lie in the future nor where no calendar reaches.
    """
    moment, least = parsed(text), parsed(first)
    if moment is None or moment > last:
        return rfc3339(last)
    return text if least is None or moment >= least else rfc3339(min(least, last))


def since(text: str | None, moment: datetime) -> float:
    """Return the seconds from `text` to `moment`; 0 when nothing was recorded."""
    found = parsed(text)
    return 0.0 if found is None else (moment - found).total_seconds()
