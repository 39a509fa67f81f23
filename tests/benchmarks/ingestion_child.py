"""One measurement of the ingestion benchmark: a fresh process, one thread on one core, one system.

Started by `ingestion`, never by hand. Prints one JSON line with CPU seconds of import and load, of ingestion, and peak memory; writes chunks
and vectors for the quality check, which is measured by none of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

# Before anything that starts threads.
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np  # noqa: E402 - after the threads are bounded
from tests.benchmarks.corpora import Text  # noqa: E402
from tests.benchmarks.ingestion_systems import SYSTEMS, Sizes  # noqa: E402


def cpu() -> float:
    """Return the CPU seconds of this process so far, system time included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("input", type=Path, help="JSON with sizes, documents and questions")
    parser.add_argument("output", type=Path, help="where chunks and vectors go")
    options = parser.parse_args()
    given = json.loads(options.input.read_text(encoding="utf-8"))
    documents = [Text(name, text) for name, text in given["documents"]]
    system = SYSTEMS[options.system](Sizes(**given["sizes"]))
    start = cpu()
    system.load()
    # One text before the clock starts: libraries choose their kernels at the first call.
    system.ingest([Text("warm-up.md", documents[0].text[:2000])])
    loaded, wall = cpu(), time.perf_counter()
    found = system.ingest(documents)
    done, elapsed = cpu(), time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.savez(options.output, vectors=found.vectors, questions=system.questions(given["questions"]))
    options.output.with_suffix(".json").write_text(json.dumps([found.documents, found.texts]), encoding="utf-8")
    measured = {
        "chunks": len(found.texts),
        "cpu_s": done - loaded,
        "wall_s": elapsed,
        "import_and_load_cpu_s": loaded - start,
        "peak_rss_mb": peak / 1024,
    }
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
