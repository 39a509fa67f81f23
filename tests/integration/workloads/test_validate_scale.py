"""`validate` on more data than it may hold at once: memory is bounded by blocks, not by the data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.workload_runs import DatasetRun

EXPECTATIONS = [
    {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "min_value": 3}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "text"}},
    {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "n", "min_value": 0}},
]
SPEC: dict[str, Any] = {"schemaKind": "text", "validation": {"expectations": EXPECTATIONS}}
ROW_CHARS = 2000
MEASURED = """
import json, resource, sys
from pathlib import Path
from gradatim.api.run import RunConfig
from gradatim.workloads import validate
from gradatim.workloads.context import RunContext
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.reader import BlockSize
from gradatim.workloads.tables.rows import PassSize

config = RunConfig.model_validate_json(Path(sys.argv[1]).read_text(), strict=True)
with RunContext(config, ArtifactStore.open(config.store, SecretFolder(None)), SecretFolder(None)) as ctx:
    sizes = validate.Sizes(BlockSize(chars=4 << 20), PassSize(bytes=4 << 20))
    result = validate.run(ctx, sizes)
print(json.dumps([result.dataset.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def _dataset(folder: Path, rows: int) -> DatasetRun:
    run = DatasetRun(folder, SPEC)
    run.data.mkdir(parents=True)
    with (run.data / "a.jsonl").open("w") as stream:
        for number in range(rows):
            text = " ".join(f"{number * 31 + part:x}" for part in range(ROW_CHARS // 6))[:ROW_CHARS]
            stream.write(json.dumps({"text": text, "n": number}) + "\n")
    return run


def _measured(run: DatasetRun, folder: Path) -> tuple[int, int]:
    file = folder / "config.json"
    file.write_text(run.config.model_dump_json(by_alias=True, exclude_none=True))
    done = subprocess.run([sys.executable, "-c", MEASURED, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows, peak = json.loads(done.stdout)
    return rows, peak


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    small, large = 20_000, 52_000  # the smaller one fills a block already
    peaks = []
    for name, rows in (("small", small), ("large", large)):
        found, peak = _measured(_dataset(tmp_path / name, rows), tmp_path)
        assert found == rows
        peaks.append(peak)
    more_data = (large - small) * ROW_CHARS
    # What stays per row is 120 bytes; the other data, in memory once and as objects, would be five times this.
    assert peaks[1] - peaks[0] < more_data / 2, peaks
