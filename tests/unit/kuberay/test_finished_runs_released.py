"""When a finished Run is asked about its pods: once its time is over, once in the life of the process, and to no harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.runstatus import Attempt, Outcome, RunStatus, StoreIdentity
from gradatim.operator.clock import rfc3339
from gradatim.operator.errors import DependencyError, TryLater
from gradatim.operator.queue import Key
from gradatim.operator.running import act
from gradatim.operator.runs.lifecycle import Decision
from gradatim.operator.runs.model import Discard, Evidence, Step

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("datasets", "team", "papers")
BODY: dict[str, Any] = {"metadata": {"namespace": "team", "uid": "u", "name": "papers"}}
WEEK = 7 * 86_400


class Pods:
    """A runtime that answers so, and remembers what it was asked."""

    def __init__(self, answer: float | Exception) -> None:
        """Take the answer."""
        self.answer, self.asked = answer, list[tuple[str, str | None]]()

    async def release(self, name: str, ended: str | None) -> float:
        """Answer."""
        self.asked.append((name, ended))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def delete(self, name: str) -> None:
        """Refuse to."""
        raise TryLater(f"{name} is not gone yet", 3.0)


def identity(runtime: str | None = "kuberay") -> StoreIdentity:
    """Return where an object's things are."""
    return StoreIdentity(profile="p", profile_uid="u", artifact_root="s3://s/{namespace}/", runtime_type=runtime)


def run(*, done: bool = True, ago: float = 100, number: int = 2) -> RunStatus:
    """Return a Run whose last attempt ended so long ago."""
    ended = rfc3339(NOW - timedelta(seconds=ago))
    last = Attempt(number=number, outcome=Outcome.SUCCEEDED, finished_at=ended)
    return RunStatus(name="papers-1", trigger="generation", attempts=[last], done=done, succeeded=done)


async def asked(pods: Pods, *runs: RunStatus, runtime: str | None = "kuberay") -> list[float | None]:
    """Return when each of successive passes wants the next one; nothing of the Run may have changed."""

    async def opened(*_: object) -> Pods:
        return pods

    context: Any = SimpleNamespace(edges=SimpleNamespace(runtime=opened), released={}, metrics=None)
    found: list[float | None] = []
    for one in runs:
        decision = Decision(Step(run=one))
        after, troubles = await act(context, KEY, BODY, identity(runtime), decision, Evidence(), now=NOW)
        assert (after.step.run, troubles) == (one, [])
        found.append(after.step.requeue)
    return found


async def test_it_is_asked_until_nothing_is_held_and_then_no_more() -> None:
    pods = Pods(200.0)
    assert await asked(pods, run(), run()) == [200.0, 200.0]
    assert pods.asked == [("papers-1-a2", "2026-03-01T11:58:20Z")] * 2
    pods = Pods(0.0)
    assert await asked(pods, run(), run()) == [None, None]
    assert len(pods.asked) == 1


@pytest.mark.parametrize(
    ("one", "runtime"),
    [
        pytest.param(run(done=False), "kuberay", id="one that goes on"),
        pytest.param(run(ago=WEEK + 3601), "kuberay", id="one that ended longer ago than any profile keeps pods"),
        pytest.param(run(), None, id="one on a standing cluster"),
        pytest.param(run().model_copy(update={"attempts": []}), "kuberay", id="one without attempts"),
    ],
)
async def test_a_run_is_not_asked_about(one: RunStatus, runtime: str | None) -> None:
    pods = Pods(5.0)
    assert await asked(pods, one, runtime=runtime) == [None]
    assert pods.asked == []


async def test_a_runtime_that_cannot_be_asked_changes_nothing_and_is_asked_again() -> None:
    pods = Pods(DependencyError("runtime", "away"))
    assert await asked(pods, run(), run()) == [30.0, 30.0]
    assert len(pods.asked) == 2


async def test_a_record_that_depends_on_an_action_is_not_written_before_it() -> None:
    async def opened(*_: object) -> Pods:
        return Pods(0.0)

    async def fresh(*_: object) -> dict[str, Any]:
        return BODY

    before, after = run(done=False), run(done=False, number=3)
    kube = SimpleNamespace(put_status=fresh)
    context: Any = SimpleNamespace(edges=SimpleNamespace(runtime=opened), kube=kube, released={}, unreachable_since={})
    context.unreachable_since[KEY] = NOW - timedelta(seconds=60)
    decision = Decision(Step(after, (Discard(1),), requeue=0.0, held=before))
    found, troubles = await act(context, KEY, BODY, identity(), decision, Evidence(), now=NOW)
    assert (found.step.run, found.step.requeue) == (before, 3.0)
    assert [message for _, message in troubles] == ["papers-1-a1 is not gone yet"]
