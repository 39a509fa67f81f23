"""Measurements against peers, run by hand; see docs/benchmarks.md."""

import os
import sys

# Users' Python keeps what it has compiled; without that every process of a benchmark, ours and the peers', would compile its imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
