"""The parts of `validate` that keep its result apart from how rows come: rejects on disk, duplicates by hash, row groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.workload_runs import DatasetRun

from gradatim.workloads.tables import artifact
from gradatim.workloads.tables.artifact import GroupWriter
from gradatim.workloads.tables.dedup import as_digests, repeats
from gradatim.workloads.tables.rejects import RejectLog
from gradatim.workloads.tables.schema import Place, Reject


def test_many_rejects_are_kept_on_disk_in_their_order(tmp_path: Path) -> None:
    store = DatasetRun(tmp_path, {"schemaKind": "text"}).store
    logs = [RejectLog(store, "x/much", in_memory=4), RejectLog(store, "x/little", in_memory=1000)]
    for log in logs:
        for n in range(25):
            log.add("late" if n % 3 else "early", [Reject(Place("data", "f", n), f"R{n % 2}", f"m{n}")])
    much, little = (pa.concat_tables(list(log.tables())).to_pylist() for log in logs)
    assert much == little
    assert [row["row"] for row in much][:4] == [0, 3, 6, 9]
    assert (logs[0].counts(), logs[0].total, logs[0].count("R1")) == (logs[1].counts(), 25, 12)
    assert logs[0].counts()[0].examples[0] == "data:f:0: m0"
    assert (len(store.list("x/much")), store.list("x/little")) == (12, [])


@given(st.lists(st.integers(0, 6), max_size=40))
def test_a_row_repeats_the_first_of_its_group(values: list[int]) -> None:
    hashes = as_digests([value.to_bytes(32, "little") for value in values])
    assert repeats(hashes).tolist() == [
        -1 if values.index(value) == n else values.index(value) for n, value in enumerate(values)
    ]


@pytest.mark.parametrize("cut", [1, 4, 100])
def test_row_groups_depend_on_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setattr(artifact, "ROW_GROUP", 10)
    lengths = np.array([1] * 25 + [60, 60] + [1] * 5, dtype=np.int64)
    table = pa.table({"n": list(range(len(lengths)))})
    with pq.ParquetWriter(tmp_path / "x.parquet", table.schema) as parquet:
        writer = GroupWriter(parquet, 50)
        for start in range(0, len(lengths), cut):
            writer.add(table.slice(start, cut), lengths[start : start + cut])
        writer.flush()
    found = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [found.row_group(n).num_rows for n in range(found.num_row_groups)] == [10, 10, 6, 1, 5]
    assert pq.read_table(tmp_path / "x.parquet") == table
