"""A spec that becomes unusable while its Run is active: the Run goes on, and so does the slot that it holds."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.operator import dataset, ragindex
from gradatim.operator.events import EventQueue
from gradatim.operator.kube import Body
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Reconciler
from gradatim.operator.queue import Key
from gradatim.operator.slots import Slots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Server:
    """Takes a status and events."""

    async def put_status(self, _: Any, body: Body) -> Body:
        """Return the new metadata."""
        found: Body = body["metadata"]
        return found

    async def create(self, *_: Any) -> None:
        """Take an event."""


@pytest.mark.parametrize(("plural", "reconcile"), [("datasets", dataset.reconcile), ("ragindices", ragindex.reconcile)])
@pytest.mark.parametrize("done", [False, True], ids=["an active Run", "a finished Run"])
async def test_the_slot_goes_with_the_run(plural: str, reconcile: Reconciler, done: bool) -> None:
    key, slots = Key(plural, "team", "one"), Slots(primed=True)
    slots.take(key, "p")
    context: Any = SimpleNamespace(kube=Server(), slots=slots, wake=[], metrics=Metrics(), events=EventQueue())
    metadata = {"name": "one", "namespace": "team", "uid": "u", "generation": 2, "resourceVersion": "1"}
    run = {"name": "one-1", "trigger": "generation", "attempts": [{"number": 1}], "done": done}
    body = {"kind": "X", "metadata": metadata, "spec": {"nonsense": True}, "status": {"run": run}}
    await reconcile(context, key, body, NOW)
    assert slots.active("p") == (0 if done else 1)
