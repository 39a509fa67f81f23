"""A step that has to wait says why in status once it lasts, and which passes count as having seen their object."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Attempt, RunStatus, StoreIdentity
from gradatim.operator import running
from gradatim.operator.errors import DependencyError, OperatorError, TryLater
from gradatim.operator.kube import ApiUnreachable, Body, Conflict, KubeError
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key, WorkQueue
from gradatim.operator.runs.lifecycle import Decision
from gradatim.operator.runs.model import Evidence, Step
from gradatim.operator.slots import Slots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("datasets", "team", "one")
BODY: Body = {"kind": "Dataset", "metadata": {"name": "one", "namespace": "team", "uid": "u"}}
IDENTITY = StoreIdentity(profile="p", profile_uid="p", artifact_root="file:///s/{namespace}/")
OLD = RunStatus(name="one-1", trigger="generation", attempts=[Attempt(number=1)], done=True)
NEW = RunStatus(name="one-2", trigger="request", attempts=[Attempt(number=1)])


async def start(since: dict[Key, datetime], after: float, error: OperatorError) -> tuple[Decision, list[Any]]:
    """Try to replace the old Run by the new one, whose runtime answers with an error."""

    async def delete(name: str) -> None:
        assert name == "one-1-a1"
        raise error

    async def runtime(*_: Any) -> Any:
        return SimpleNamespace(delete=delete)

    async def put_status(*_: Any) -> None:
        return None

    context: Any = SimpleNamespace(
        kube=SimpleNamespace(put_status=put_status),
        edges=SimpleNamespace(runtime=runtime),
        unreachable_since=since,
        metrics=Metrics(),
    )
    config: Any = SimpleNamespace()
    decision = Decision(Step(run=NEW), start=config, replaced=OLD)
    return await running.act(context, KEY, BODY, IDENTITY, decision, Evidence(), now=NOW + timedelta(seconds=after))


async def test_a_run_that_waits_for_the_end_of_the_old_one_says_so_once_it_lasts() -> None:
    still, since = TryLater("submission one-1-a1 is being stopped", 3.0, Reason.TERMINATING), dict[Key, datetime]()
    for after in (0, 2.9):
        with pytest.raises(TryLater, match="being stopped"):
            await start(since, after, still)
    decision, troubles = await start(since, 3.1, still)
    assert troubles == [(Reason.TERMINATING, "submission one-1-a1 is being stopped")]
    assert (decision.step.run, decision.start) == (OLD, None)


async def test_a_silent_dependency_is_told_at_once_and_a_silent_api_server_cannot_be() -> None:
    _, troubles = await start({}, 0, DependencyError("runtime", "the Ray dashboard cannot be reached"))
    assert troubles == [(Reason.RUNTIME_UNREACHABLE, "the Ray dashboard cannot be reached")]
    with pytest.raises(ApiUnreachable):
        await start({KEY: NOW - timedelta(hours=1)}, 0, ApiUnreachable("no answer"))


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        pytest.param(None, True, id="a good pass"),
        pytest.param(DependencyError("vectorStore", "Weaviate cannot be reached"), True, id="a dependency is down"),
        pytest.param(TryLater("not yet"), True, id="it has to wait"),
        pytest.param(RuntimeError("a surprise"), True, id="a surprise"),
        pytest.param(KubeError(422, "Invalid", "status is refused"), True, id="its status is refused"),
        pytest.param(ApiUnreachable("no answer"), True, id="the API server does not answer a later call"),
        pytest.param(Conflict(409, "Conflict", "written since"), True, id="somebody has written since"),
    ],
)
async def test_an_object_counts_as_seen_after(error: Exception | None, seen: bool) -> None:
    async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        if error is not None:
            raise error
        return Outcome()

    async def find(*_: Any) -> Body:
        return {"metadata": {"name": "one", "namespace": "team", "uid": "u", "resourceVersion": "1"}}

    context: Any = SimpleNamespace(wake=[], slots=Slots(), kube=SimpleNamespace(find=find), metrics=Metrics())
    loop = Loop(context, WorkQueue(), {"datasets": reconcile})
    loop.queue.add(KEY)
    worker = asyncio.create_task(loop.work())
    while not loop.queue.quiescent():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (loop.looked == {KEY}) is seen
    loop.queue.close()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
