"""`validate` with workers on two nodes of a real Ray cluster: what one worker gives, whoever is lost on the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.raynodes import Attempt, RayNodes, gone, kill
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


async def test_a_worker_that_is_killed_changes_nothing_about_the_result(
    corpus: DatasetRun, alone: Outcome, ray_nodes: RayNodes, tmp_path: Path
) -> None:
    run = _shared(corpus, tmp_path)
    attempt = await _attempt(run, ray_nodes).submit()
    victim, other = await attempt.caught()
    await attempt.half_way(victim, other, lambda: bool(attempt.calls()))
    kill(victim)
    assert await attempt.ended() is Phase.SUCCEEDED, await attempt.log()
    assert _outcome(run, run.written()) == alone
    assert "is lost, ActorDiedError" in await attempt.log()
    assert other in attempt.worked()
    assert any("1 of 2 workers at work" in seen.progress.message for seen in attempt.heartbeats)
    percents = [seen.progress.percent for seen in attempt.heartbeats]
    assert percents == sorted(percents)


async def test_a_driver_that_is_killed_is_followed_by_an_attempt_that_resumes(
    corpus: DatasetRun, alone: Outcome, ray_nodes: RayNodes, tmp_path: Path
) -> None:
    run = _shared(corpus, tmp_path)
    first = await _attempt(run, ray_nodes).submit()
    workers = await first.caught()
    await _all_read(first)
    kill(first.driver())
    assert await first.ended() is Phase.FAILED
    assert first.written() is None
    assert not [path for path in run.store.list(run.config.object_path) if path.endswith("manifest.json")]
    await gone(workers)
    again = run.but(number=2)
    second = await _attempt(again, ray_nodes).submit()
    assert await second.ended() is Phase.SUCCEEDED, await second.log()
    assert _outcome(again, again.written()) == alone
    assert f"{FILES} files from the cache" in await second.log()
    assert run.store.list(f"{run.config.run_path}/work") == []


async def test_an_attempt_that_is_stopped_says_so_although_ray_has_handlers_of_its_own(
    corpus: DatasetRun, ray_nodes: RayNodes, tmp_path: Path
) -> None:
    run = _shared(corpus, tmp_path)
    attempt = await _attempt(run, ray_nodes).submit()
    workers = await attempt.caught()
    await _all_read(attempt)
    await attempt.stop()
    assert await attempt.ended() is Phase.STOPPED
    assert run.written().message == "stopped: signal SIGTERM", await attempt.log()
    assert run.store.list(f"{run.config.object_path}/versions") == []
    await gone(workers)


async def _all_read(attempt: Attempt) -> None:
    """Wait until the driver has read all files, which it does alone; what follows needs a worker."""
    async with asyncio.timeout(120):
        while "files from the cache" not in await attempt.log():
            await asyncio.sleep(0.1)


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
