"""Checkpoints of a Run that is done: they go, unless another process has taken the Run over."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.workload_runs import DatasetRun

from gradatim.api.run import ProgressDocument, Stamp
from gradatim.api.runstatus import Progress
from gradatim.workloads.context import timestamp
from gradatim.workloads.index.build import Build


@pytest.mark.parametrize("superseded", [False, True], ids=["nobody", "a later attempt"])
def test_checkpoints_go_unless_another_process_continues_from_them(tmp_path: Path, *, superseded: bool) -> None:
    run = DatasetRun(tmp_path, {})
    build = Build(run.context(), *[None] * 7)
    run.store.write(build.checkpoint("chunks-1.parquet"), b"rows")
    if superseded:
        later = run.but(number=2).config
        document = ProgressDocument(stamp=Stamp.of(later), heartbeat=timestamp(), progress=Progress(stage="Load"))
        run.store.write(f"{later.attempt_path}/progress.json", document.model_dump_json(by_alias=True).encode())
    build.drop_checkpoints()
    assert run.store.exists(build.checkpoint("chunks-1.parquet")) is superseded
