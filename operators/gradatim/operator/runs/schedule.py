"""Cron ticks: which one is due, which one comes next.

Called by `triggers` and by status. Pure over `cronsim`, which handles time zones and daylight saving. A tick during a Run is dropped; after an
outage the newest missed tick is caught up once, and only within its starting deadline.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

from gradatim.api.common import Schedule
from gradatim.operator.naming import short_hash

LOOKBACK = timedelta(days=366)


class ScheduleError(ValueError):
    """The cron line or the time zone cannot be understood."""


def _cron(schedule: Schedule, after: datetime, *, reverse: bool = False) -> CronSim:
    line = schedule.schedule or ""
    refused = f"refresh.schedule {line!r} is not a cron line of five fields"
    if len(line.split()) != 5:  # cronsim would take a sixth for seconds
        raise ScheduleError(refused)
    try:
        zone = zoneinfo.ZoneInfo(schedule.time_zone)
        return CronSim(line, after.astimezone(zone), reverse=reverse)
    except CronSimError as error:
        raise ScheduleError(f"{refused}: {error}") from error
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder of zones
        raise ScheduleError(f"refresh.timeZone {schedule.time_zone!r} is not an IANA time zone") from error


def understood(schedule: Schedule | None, now: datetime) -> tuple[Schedule | None, str | None]:
    """Return the schedule, or None and what is wrong with it: a wrong line stops nothing that runs, and starts nothing either."""
    if schedule is None or schedule.schedule is None:
        return schedule, None
    try:
        _cron(schedule, now)
    except ScheduleError as error:
        return None, str(error)
    return schedule, None


def jitter(schedule: Schedule, uid: str) -> timedelta:
    """Return this object's fixed share of `jitterSeconds`."""
    return timedelta(seconds=int(short_hash(uid, "jitter"), 16) % (schedule.jitter_seconds + 1))


def next_tick(schedule: Schedule | None, uid: str, after: datetime) -> datetime | None:
    """Return the first tick after `after`, jitter included; None without a schedule or when there is none."""
    if schedule is None or schedule.schedule is None:
        return None
    shift = jitter(schedule, uid)
    found = next(_cron(schedule, after - shift), None)
    return None if found is None else found.astimezone(UTC) + shift


def due_tick(schedule: Schedule | None, uid: str, last: datetime, now: datetime) -> datetime | None:
    """Return the newest tick in (last, now] that may still start, or None."""
    if schedule is None or schedule.schedule is None:
        return None
    shift = jitter(schedule, uid)
    base = now - shift + timedelta(seconds=1)
    found = next(_cron(schedule, base, reverse=True), None)
    if found is None:
        return None
    tick = found.astimezone(UTC) + shift
    started_late = now - tick > timedelta(seconds=schedule.starting_deadline_seconds)
    return None if tick <= last or started_late or now - tick > LOOKBACK else tick
