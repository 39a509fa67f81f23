"""The base install stays light: types, client and command line load nothing heavy, and little altogether. So does the start of a build."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(60)  # starts interpreters, slowly on a busy machine
HEAVY = {
    "torch",
    "ray",
    "kubernetes",
    "pandas",
    "numpy",
    "weaviate",
    "kopf",
    "pyarrow",
    "transformers",
    "matplotlib",
    "httpx",
    "rich",
}
PROBE = """
import json, sys, time
before = time.process_time()
import pydantic, click
base = time.process_time() - before
import gradatim.client, gradatim.cli.main
total = time.process_time() - before
print(json.dumps({"modules": sorted({m.split(".")[0] for m in sys.modules}), "base": base, "total": total}))
"""


def probe(script: str = PROBE) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_importing_client_and_command_line_loads_nothing_heavy() -> None:
    modules = probe()["modules"]
    assert isinstance(modules, list)
    assert HEAVY & set(modules) == set()
    assert {"gradatim", "pydantic", "click"} <= set(modules)


def test_importing_costs_little_more_than_what_it_is_built_on() -> None:
    """Half a second of processor time, or on a slow machine a small multiple of pydantic and click alone."""
    runs = [probe() for _ in range(3)]
    total = min(float(str(run["total"])) for run in runs)
    base = min(float(str(run["base"])) for run in runs)
    assert total < max(0.5, 5 * base)


def test_starting_the_index_workload_loads_neither_models_nor_the_client_of_the_vector_store() -> None:
    """A Run over unchanged sources is mostly its start."""
    modules = probe(
        "import json, sys, gradatim.workloads.__main__, gradatim.workloads.index.main\n"
        "print(json.dumps({'modules': sorted({m.split('.')[0] for m in sys.modules})}))"
    )["modules"]
    assert isinstance(modules, list)
    assert (HEAVY - {"numpy", "pyarrow"} | {"grpc", "great_expectations", "datasets"}) & set(modules) == set()
    assert {"gradatim", "numpy", "pyarrow"} <= set(modules)
