"""How many processors this process may use: those of its container, not of the whole machine.

Used for workers in Ray actors, whose libraries Ray would otherwise hold to one thread each.
"""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable(cgroup: Path = CGROUP) -> int:
    """Return how many processors affinity and cgroup (either version) leave to this process, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def share(processors: int, places: float) -> int:
    """Return the threads of one worker on a machine that offers `places` to workers.

    >>> share(8, 1), share(8, 8), share(2, 4), share(8, 3)
    (8, 1, 1, 2)
    """
    return max(1, int(processors / max(1.0, places)))


def _quota(cgroup: Path) -> float | None:
    try:
        limit, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()[:2]
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit, period = ((cgroup / "cpu" / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
