"""`python -m tests.benchmarks [name …] [options]`: runs benchmarks one after the other, each in a fresh process.

Without names it runs all of them; `--list` lists them. Options after the names go to every named benchmark. `make bench` calls it; it is
never part of a test run.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.options import ROOT

NAMES = (
    "ingestion",
    "refresh",
    "retrieval_quality",
    "query",
    "ocr",
    "control_plane",
    "kuberay_ladder",
    "cluster_ready",
)
USAGE = f"""usage: python -m tests.benchmarks [--list] [name …] [options of the named benchmarks]

Runs the named benchmarks, or all of them; each writes tests/benchmarks/results/<name>.json.
names: {", ".join(NAMES)}
`python -m tests.benchmarks <name> --help` shows the options of one.
"""


def main(arguments: list[str]) -> int:
    """Run what is named; returns the first exit status that is not 0."""
    if arguments and arguments[0] in {"--help", "-h"}:
        sys.stdout.write(USAGE)
        return 0
    if arguments == ["--list"]:
        sys.stdout.write("".join(f"{name}: {summary(name)}\n" for name in NAMES))
        return 0
    count = next((n for n, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    names, options = arguments[:count] or list(NAMES), arguments[count:]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.stderr.write(f"no benchmark is called {', '.join(unknown)}\n{USAGE}")
        return 2
    statuses = [run(name, options) for name in names]
    return next((status for status in statuses if status), 0)


def run(name: str, options: list[str]) -> int:
    """Run one benchmark in a process of its own; an interrupt reaches it too, and it cleans up."""
    sys.stderr.write(f"== {name}\n")
    with subprocess.Popen([sys.executable, "-m", f"tests.benchmarks.{name}", *options], cwd=ROOT) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            return child.wait()


def summary(name: str) -> str:
    """Return the first line of a benchmark's docstring, without importing it."""
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
