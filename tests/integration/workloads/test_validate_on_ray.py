"""`validate` with workers on two nodes of a real Ray cluster: what one worker gives, whoever is lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.raynodes import Attempt, RayNodes
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.run import RunResult, StoreConfig
from gradatim.api.runstatus import Failure
from gradatim.operator.runtimes.base import Phase

FILES, ROWS = 4, 10_000  # a file's rows fill a block, which is a piece of work
SHORT = {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text", "min_value": 3}}
SPEC: dict[str, Any] = {
    "schemaKind": "text",
    "validation": {"expectations": [SHORT], "onFailure": "quarantine", "maxRejectedFraction": 0.5},
    "dedup": {"near": {"threshold": 0.8, "shingle": 3, "permutations": 64}},
    "splits": {"fractions": [{"name": "train", "fraction": 0.9}, {"name": "test", "fraction": 0.1}]},
}

Outcome = tuple[Any, ...]


def _lines(file: int) -> str:
    """Rows of which some are too short, repeat one another, or are no JSON."""
    rows = []
    for number in range(ROWS):
        words = " ".join(f"w{file}x{(number * 37 + part * part) % 9973}" for part in range(16))
        rows.append(json.dumps({"text": "x" if number % 1000 == 7 else "same" if number % 500 == 3 else words}))
    return "\n".join([*rows, "{"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> DatasetRun:
    """The data that all tests of this module read."""
    run = DatasetRun(tmp_path_factory.mktemp("corpus"), SPEC)
    return run.with_files({f"{n}.jsonl": _lines(n) for n in range(FILES)} | {"broken.parquet": b"PAR1 and no more"})


@pytest.fixture(scope="module")
def alone(corpus: DatasetRun) -> Outcome:
    """What one worker gives, with the files of the version."""
    run = corpus.but(store_config=StoreConfig(root=f"file://{corpus.folder}/alone/team/"))
    return _outcome(run, run.execute())


def _outcome(run: DatasetRun, result: RunResult) -> Outcome:
    """What a Run gave, but for where and when: its output, verdicts, rejects and the bytes of the version."""
    assert result.outcome == "Succeeded", result.message
    assert result.dataset is not None
    path = run.store.path_of(result.dataset.uri)
    files = {name.removeprefix(path): run.store.read(name) for name in run.store.list(path)}
    dataset = result.dataset.model_copy(update={"uri": ""})
    return dataset, result.validation, result.rejections, result.message, files


def _shared(corpus: DatasetRun, folder: Path, **changes: Any) -> DatasetRun:
    store = StoreConfig(root=f"file://{folder}/store/team/")
    return corpus.but(store_config=store, **changes).with_spec(compute={"workers": 2})


def _attempt(run: DatasetRun, nodes: RayNodes) -> Attempt:
    return Attempt(nodes, run.config, run.store)


async def test_workers_on_two_nodes_give_what_one_gives(
    corpus: DatasetRun, alone: Outcome, ray_nodes: RayNodes, tmp_path: Path
) -> None:
    run = _shared(corpus, tmp_path)
    attempt = await _attempt(run, ray_nodes).submit()
    assert await attempt.ended() is Phase.SUCCEEDED, await attempt.log()
    assert _outcome(run, run.written()) == alone
    worked = attempt.worked()
    assert len(worked) == 2
    assert min(worked.values()) >= 2
    assert len(set(attempt.workers("DEAD").values())) == 2, "one worker a node"
    places = {count.name: count.examples[0] for count in run.written().rejections}
    assert places["BadParquet"].startswith("data:broken.parquet: ")
    assert places["BadJson"].startswith(f"data:0.jsonl:{ROWS + 1}: ")
    assert places["expect_column_value_lengths_to_be_between(text)"].startswith("data:0.jsonl:8: ")


@pytest.mark.parametrize(
    ("files", "spec", "reason"),
    [
        (
            {"a.jsonl": [{"text": "long enough"}] * 3 + [{"text": "x"}]},
            {"validation": {"expectations": [SHORT]}},
            Reason.DATA_INVALID,
        ),
        ({"a.csv": "body\nx\n"}, {}, Reason.DATA_INVALID),
        ({"a.parquet": b"PAR1 and no more"}, {}, Reason.SOURCE_EMPTY),
    ],
    ids=["a row that breaks an expectation", "a missing column", "a broken file"],
)
async def test_bad_input_is_named_as_one_worker_names_it(
    ray_nodes: RayNodes, tmp_path: Path, files: dict[str, Any], spec: dict[str, Any], reason: Reason
) -> None:
    run = DatasetRun(tmp_path, {"schemaKind": "text", **spec}).with_files(files)
    one = run.but(run="d-r0").execute()
    many = run.with_spec(compute={"workers": 2})
    attempt = await _attempt(many, ray_nodes).submit()
    assert await attempt.ended() is Phase.FAILED
    found = many.written()
    assert (found.failure, found.reason) == (Failure.DATA, reason.value)
    assert (found.message, found.validation, found.rejections) == (one.message, one.validation, one.rejections)
    assert f"data:{next(iter(files))}" in found.message
    assert run.store.list(f"{run.config.object_path}/versions") == []
