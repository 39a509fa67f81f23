"""The command-line options that all benchmarks share.

Every benchmark module builds its parser here and adds its own options, so that `--data`, `--repeats`, `--quick` and `--out` mean the same
everywhere. Reads the environment for GRADATIM_DATA, nothing else.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
DATA_ENV = "GRADATIM_DATA"


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the shared options for the benchmark `name`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = os.environ.get(DATA_ENV) or "../shared/data"
    parser.add_argument("--data", default=default, help="folder with chunking-evaluation; relative to the repository")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each system; the median counts")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny input, to try the benchmark; prints, writes nothing"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    return parser


def data_folder(options: argparse.Namespace) -> Path:
    """Return the data folder. Raises FileNotFoundError saying how to name it."""
    folder = (ROOT / options.data).resolve()
    if not (folder / "chunking-evaluation" / "questions.csv").is_file():
        raise FileNotFoundError(f"{folder} holds no chunking-evaluation/questions.csv; give --data or set {DATA_ENV}")
    return folder


def command(name: str) -> str:
    """Return the command line that this process was started with, as a person would repeat it."""
    return shlex.join(["python", "-m", "tests.benchmarks", name, *sys.argv[1:]])
