"""Whole attempts of `validate` in blocks of a few rows: the same result and files as with all rows at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.workload_runs import DatasetRun

from gradatim.api.common import Validation
from gradatim.api.run import RunResult, Stamp
from gradatim.workloads import validate
from gradatim.workloads.expectations import Merger, judge_block, judged, plan_of
from gradatim.workloads.tables.reader import BlockSize
from gradatim.workloads.tables.rows import PassSize

SEVEN = validate.Sizes(BlockSize(rows=3), PassSize(rows=7))
ALL = validate.Sizes(BlockSize(rows=10_000), PassSize(rows=100_000))
EXPECTATIONS = [
    {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "min_value": 3}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "n"}, "severity": "warning"},
    {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "n", "max_value": 1e9}},
]
SPEC: dict[str, Any] = {
    "schemaKind": "text",
    "validation": {"expectations": EXPECTATIONS, "onFailure": "quarantine", "maxRejectedFraction": 0.9},
    "dedup": {"near": {"threshold": 0.7, "shingle": 2, "permutations": 32}},
    "splits": {"column": "fold"},
}


def _lines(number: int) -> list[str]:
    base = " ".join(f"word{n}" for n in range(30))
    rows: list[dict[str, Any]] = []
    for n in range(number):
        text = {0: f"row {n} says this", 1: f"{base} {n}", 2: "x", 3: "the same", 4: f"quiz question number one {n}"}[
            n % 5
        ]
        rows.append({"text": text, "n": n if n % 3 else None, "fold": ["train", "test", "../x"][n % 17 % 3]})
        if n % 11 == 0:
            rows[-1]["odd"] = [n, n / 2, "odd", True][n % 4]
    rows[number // 2]["text"] = None
    return [*map(json.dumps, rows), "{"]


def _attempt(folder: Path, run: DatasetRun, sizes: validate.Sizes) -> tuple[RunResult, dict[str, Any]]:
    context = run.but(folder=folder).context()
    # The source stays where it is: its path is a part of the digest.
    context = type(context)(run.config.model_copy(update={"store": context.config.store}).sealed(), context.store)
    with context:
        result = validate.run(context, sizes)
    assert result.dataset is not None
    path = context.store.path_of(result.dataset.uri)
    files = {name.removeprefix(path): context.store.read(name) for name in context.store.list(path)}
    result = result.model_copy(
        update={
            "stamp": Stamp.of(run.config),
            "finished": "",
            "timings": {},
            "dataset": result.dataset.model_copy(update={"uri": ""}),
        }
    )
    return result, files


def test_blocks_of_seven_rows_give_what_all_rows_at_once_give(tmp_path: Path) -> None:
    lines = _lines(400)
    run = DatasetRun(tmp_path, SPEC).with_files(
        {"a.jsonl": "\n".join(lines[:90]), "b.jsonl": "\n".join(lines[90:91]), "c/d.jsonl": "\n".join(lines[91:])}
    )
    run.with_files({"quiz.jsonl": [{"q": "quiz question number one"}]})
    (tmp_path / "quiz").mkdir()
    (tmp_path / "data" / "quiz.jsonl").rename(tmp_path / "quiz" / "quiz.jsonl")
    source = {"path": f"file://{tmp_path}/quiz"}
    run = run.with_spec(decontaminate=[{"name": "quiz", "ngram": 4, "source": source}])
    run = run.but(limits={"allowedSourceRoots": [str(tmp_path)]})
    seven, all_rows = (_attempt(tmp_path / name, run, size) for name, size in (("seven", SEVEN), ("all", ALL)))
    assert seven == all_rows
    result = seven[0]
    assert result.dataset is not None
    found = result.dataset
    assert [split.name for split in found.splits] == ["test", "train"]
    assert min(found.rows, found.rejected, found.duplicates, found.contaminated) > 0
    assert {count.name.partition("(")[0] for count in result.rejections} == {
        "BadJson", "BadSplit", "MissingValue", "expect_column_value_lengths_to_be_between",
    }  # fmt: skip


_ROW = st.fixed_dictionaries(
    {"text": st.sampled_from(["a b c", "a b d", "one", "two", ""]) | st.none() | st.text("abc ", max_size=12)},
    optional={
        "n": st.integers(0, 5) | st.floats(0, 5) | st.text("x1", max_size=2),
        "fold": st.sampled_from(["train", "..", "dev"]),
    },
)


@settings(max_examples=20, deadline=None)
@given(st.lists(_ROW, min_size=1, max_size=40), st.integers(1, 9))
def test_cutting_never_changes_what_comes_out(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], size: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    spec = {
        "schemaKind": "text",
        "validation": {"maxRejectedFraction": 1.0},
        "dedup": {"near": {"threshold": 0.6, "shingle": 1, "permutations": 16}},
        "sampling": {"limit": 10},
        "splits": {"fractions": [{"name": "train", "fraction": 0.5}, {"name": "test", "fraction": 0.5}]},
    }
    run = DatasetRun(folder, spec).with_files(
        {"a.jsonl": [{"text": "always"}, *rows[:5]], "b.jsonl": [{"text": "too"}, *rows[5:]]}
    )
    small = validate.Sizes(BlockSize(rows=size), PassSize(rows=size))
    assert _attempt(folder / "small", run, small) == _attempt(folder / "all", run, ALL)


def test_a_block_is_full_by_its_characters_too(tmp_path: Path) -> None:
    run = DatasetRun(tmp_path, {"schemaKind": "text"}).with_files(
        {"a.jsonl": [{"text": f"{n} " * 500} for n in range(9)]}
    )
    sizes = validate.Sizes(BlockSize(chars=2500), PassSize(bytes=2500))
    assert _attempt(tmp_path / "small", run, sizes) == _attempt(tmp_path / "all", run, ALL)


def _verdicts(table: pa.Table, validation: Validation, rows: int) -> tuple[object, ...]:
    nullable = frozenset(name for name in table.column_names if table.column(name).null_count)
    plan = plan_of(validation, None, table.column_names, nullable)
    merger = Merger(plan)
    for start in range(0, table.num_rows, rows):
        merger.add(judge_block(plan, table.slice(start, rows), first=start == 0))
    found = judged(merger, validation, str)
    return found.summary, found.bad.tolist(), found.why, found.blocking


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "", None]), st.integers(0, 3) | st.none()), min_size=1, max_size=25),
    st.integers(1, 8),
    st.sampled_from([0.2, 0.5, 0.75, 1.0]),
)
def test_cutting_never_changes_a_verdict(rows: list[tuple[str | None, int | None]], size: int, mostly: float) -> None:
    table = pa.table(
        {"text": pa.array([row[0] for row in rows], pa.string()), "n": pa.array([row[1] for row in rows], pa.int64())}
    )
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("expect_column_values_to_not_be_null", {"column": "text", "mostly": mostly}),
        ("expect_column_values_to_be_unique", {"column": "text", "mostly": mostly}),
        ("expect_column_values_to_be_between", {"column": "n", "min_value": 1, "mostly": mostly}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["text", "n"], "mostly": mostly}),
    ]
    validation = Validation.model_validate(
        {"expectations": [{"type": kind, "kwargs": kwargs} for kind, kwargs in kinds], "onFailure": "quarantine"}
    )
    assert _verdicts(table, validation, size) == _verdicts(table, validation, 100)
