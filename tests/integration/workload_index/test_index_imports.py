"""What a Run loads: a refresh pays for its start however small the corpus is, so an unchanged one must load next to nothing.

Real processes, started as a pod starts them; the interpreter itself tells what they import.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.integration.workload_index.support import Bench, passage

from gradatim.api.run import RunConfig, RunResult

pytestmark = pytest.mark.timeout(180)
HEAVY = {"torch", "transformers", "weaviate", "grpc", "httpx", "pandas", "ray", "great_expectations", "datasets"}


def process(bench: Bench, config: RunConfig) -> tuple[RunResult, set[str]]:
    """Run one attempt in a process of its own; returns its result and the packages that it imported."""
    file = bench.root / "config.json"
    file.write_text(config.model_dump_json(by_alias=True, exclude_none=True), encoding="utf-8")
    argv = [sys.executable, "-X", "importtime", "-m", "gradatim.workloads", "index", "--config", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    result = RunResult.model_validate_json(bench.store.read(f"{config.attempt_path}/result.json", 1_000_000))
    return result, {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_an_unchanged_run_loads_neither_models_nor_the_client_of_the_vector_store(bench: Bench) -> None:
    first = bench.built()
    result, packages = process(bench, bench.config(previous=first))
    assert result.outcome == "Unchanged", result.message
    assert "gradatim" in packages
    assert packages & HEAVY == set()


def test_a_few_changed_chunks_are_embedded_without_torch_and_found(bench: Bench) -> None:
    first = bench.built()
    (bench.corpus / "added.md").write_text(passage("volcano", 5))
    result, packages = process(bench, bench.config(previous=first))
    assert (result.outcome, result.index and 0 < result.index.embedded <= 16) == ("Succeeded", True)
    assert packages & {"torch", "transformers", "ray", "great_expectations", "datasets"} == set()
    assert "weaviate" in packages
    same = bench.run(previous=result)
    assert same.outcome == "Unchanged"
