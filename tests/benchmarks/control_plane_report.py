"""What every control-plane figure must be read with: the machine, the versions, the commit.

Used by the control-plane benchmarks; reads the machine, measures nothing.
"""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil


def environment() -> dict[str, Any]:
    """Return date, commit, machine and versions."""
    root = Path(__file__).parents[2]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        "machine": {"cpu": cpu, "cores": psutil.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9)},
        "versions": {name: version(name) for name in ("gradatim", "kopf", "aiohttp", "pydantic")},
        "load_at_start": psutil.getloadavg()[0],
    }
