"""The runtime of the fault matrices keeps the Protocol's promises, also across restarts of the operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig, RunObject, Stamp, StopRequest, StoreConfig, control_path
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.runtimes.base import Launch, Observed, Phase, Runtime
from gradatim.operator.runtimes.instant import InstantRuntime
from gradatim.operator.stores.documents import parse_progress, parse_result

NAME = "papers-abc-a1"


class World:
    """A runtime with its folder, its store and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        """Make a Dataset's first attempt."""
        self.folder = folder
        self.now = 1_800_000_000.0
        self.store = folder / "store"
        self.config = RunConfig(
            workload="validate",
            object=RunObject(kind="Dataset", namespace="team", name="papers", uid="u-1"),
            run="papers-abc",
            attempt=1,
            store=StoreConfig(root=f"file://{self.store}/"),
        ).sealed()

    @property
    def runtime(self) -> Runtime:
        """Return a new runtime each time, as a restarted operator would."""
        return InstantRuntime(self.folder / "runtime", clock=lambda: self.now)

    def launch(self, uid: str = "u-1") -> Launch:
        """Return the attempt."""
        return Launch(NAME, "team", self.config.model_dump_json(by_alias=True), self.config.digest, uid, 1)

    def script(self, key: str = "default", **members: Any) -> None:
        """Write a script."""
        path = self.folder / "runtime" / "scripts" / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(members))

    def fault(self, **members: bool) -> None:
        """Change what is wrong."""
        (self.folder / "runtime").mkdir(exist_ok=True)
        (self.folder / "runtime" / "faults.json").write_text(json.dumps(members))

    def read(self, name: str) -> bytes:
        """Return a document of the attempt."""
        return (self.store / self.config.attempt_path / name).read_bytes()

    def calls(self) -> list[tuple[str, bool | None]]:
        """Return the logged calls."""
        lines = (self.folder / "runtime" / "log.jsonl").read_text().splitlines()
        return [(entry["op"], entry.get("created")) for entry in map(json.loads, lines)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a fresh world."""
    return World(tmp_path)


async def test_an_attempt_ends_at_once_with_a_valid_result(world: World) -> None:
    await world.runtime.submit(world.launch())
    assert await world.runtime.observe(NAME) == Observed(
        Phase.SUCCEEDED, "", "2027-01-15T08:00:00Z", "2027-01-15T08:00:00Z"
    )
    result = parse_result(world.read("result.json"), world.config)
    assert result.outcome == "Succeeded"
    assert result.dataset is not None
    assert result.dataset.rows == 100


async def test_a_second_submission_is_success_and_seen_in_the_log(world: World) -> None:
    await world.runtime.submit(world.launch())
    await world.runtime.submit(world.launch())
    assert world.calls() == [("submit", True), ("submit", False)]


async def test_a_submission_of_another_object_is_a_conflict(world: World) -> None:
    await world.runtime.submit(world.launch())
    with pytest.raises(WillNeverWork) as caught:
        await world.runtime.submit(world.launch(uid="u-2"))
    assert caught.value.reason == Reason.NAME_CONFLICT


async def test_an_attempt_runs_with_heartbeats_until_its_time_has_come(world: World) -> None:
    world.script("Dataset", afterSeconds=60, percent=30)
    await world.runtime.submit(world.launch())
    assert (await world.runtime.observe(NAME)).phase is Phase.RUNNING
    progress = parse_progress(world.read("progress.json"), Stamp.of(world.config))
    assert progress is not None
    assert progress.progress.percent == 30
    with pytest.raises(FileNotFoundError):
        world.read("result.json")
    world.now += 60
    assert (await world.runtime.observe(NAME)).phase is Phase.SUCCEEDED
    assert parse_result(world.read("result.json"), world.config).outcome == "Succeeded"


async def test_the_most_specific_script_counts(world: World) -> None:
    world.script(phase="Failed", writesResult=False)
    world.script("Dataset", phase="Failed", writesResult=False)
    world.script("team.papers", phase="Stopped", writesResult=False)
    await world.runtime.submit(world.launch())
    assert (await world.runtime.observe(NAME)).phase is Phase.STOPPED


async def test_a_stop_request_in_the_store_ends_it_with_a_result(world: World) -> None:
    world.script(afterSeconds=None)
    await world.runtime.submit(world.launch())
    path = world.store / control_path(world.config.run)
    path.parent.mkdir(parents=True)
    path.write_text(StopRequest(run=world.config.run, requested="2027-01-15T08:00:00Z").model_dump_json())
    assert (await world.runtime.observe(NAME)).phase is Phase.SUCCEEDED
    assert parse_result(world.read("result.json"), world.config).outcome == "Stopped"


async def test_deletion_stops_first_and_forgets_then(world: World) -> None:
    world.script(afterSeconds=None)
    await world.runtime.submit(world.launch())
    with pytest.raises(TryLater):
        await world.runtime.delete(NAME)
    assert (await world.runtime.observe(NAME)).phase is Phase.STOPPED
    await world.runtime.delete(NAME)
    await world.runtime.delete(NAME)
    await world.runtime.stop(NAME)
    assert (await world.runtime.observe(NAME)).phase is Phase.ABSENT


async def test_a_lost_answer_leaves_exactly_one_start(world: World) -> None:
    world.fault(loseAnswer=True)
    with pytest.raises(DependencyError):
        await world.runtime.submit(world.launch())
    world.fault()
    await world.runtime.submit(world.launch())
    assert world.calls() == [("submit", True), ("submit", False)]


async def test_a_runtime_that_cannot_be_reached_says_nothing(world: World) -> None:
    await world.runtime.submit(world.launch())
    world.fault(unreachable=True)
    for call in (world.runtime.observe(NAME), world.runtime.stop(NAME), world.runtime.version()):
        with pytest.raises(DependencyError):
            await call
    world.fault(forget=True)
    assert (await world.runtime.observe(NAME)).phase is Phase.ABSENT
