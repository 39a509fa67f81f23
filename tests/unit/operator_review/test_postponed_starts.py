"""A Run that is due and cannot be started in this pass: status tells what is waited for, and neither an old end nor a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import DatasetSpec
from gradatim.api.meta import Condition
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import RunStatus
from gradatim.operator import dataset
from gradatim.operator.dataset.plan import IGNORED
from gradatim.operator.dependents import Dependents
from gradatim.operator.errors import DependencyError, TryLater
from gradatim.operator.kube import Body
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context
from gradatim.operator.profiles import identity_of
from gradatim.operator.queue import Key
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import plan
from gradatim.operator.ragindex.status import status
from gradatim.operator.runs.lifecycle import postponed
from gradatim.operator.runs.triggers import spec_digest
from gradatim.operator.settings import RunSettings, Settings
from gradatim.operator.slots import Slots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("datasets", "team", "one")
AT = "2026-03-01T10:00:00Z"
SPEC: Body = {"source": {"path": "file:///data/rows.jsonl"}, "suspend": False}
PROFILE: Body = {
    "metadata": {"name": "default", "uid": "p"},
    "spec": {
        "runtime": {"rayCluster": {"address": "http://ray:8265", "sharedTrust": True}},
        "artifactStore": {"root": "file:///store/{namespace}/"},
    },
    "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": AT}]},
}
STORE = identity_of(ComputeProfile.model_validate(PROFILE)).to_manifest()
VERSION = {"digest": "sha256:" + "1" * 64, "uri": "file:///store/team/dataset/one/u/snapshots/1/", "rows": 1}
OURS = spec_digest(DatasetSpec.model_validate(SPEC), IGNORED)
AWAY = DependencyError("runtime", "the Ray dashboard cannot be reached")


def condition(kind: str, value: str, reason: str) -> Body:
    """Return a condition of the first generation."""
    return {"type": kind, "status": value, "reason": reason, "lastTransitionTime": AT, "observedGeneration": 1}


def ended(spec: str, *, succeeded: bool, trigger: str = "generation") -> Body:
    """Return the status after a Run that was made for this digest of a spec."""
    attempt = {"number": 1, "outcome": "Succeeded" if succeeded else "Failed", "finishedAt": AT}
    run = {"name": "one-1", "trigger": trigger, "generation": 1, "specDigest": spec, "attempts": [attempt]}
    found: Body = {"store": STORE, "run": run | {"done": True, "succeeded": succeeded}}
    if succeeded:
        told = [condition("Ready", "True", "Succeeded"), condition("Current", "True", "Succeeded")]
        return found | {"active": VERSION, "history": [VERSION], "conditions": told}
    told = [condition(kind, value, "UserError") for kind, value in (("Current", "False"), ("Stalled", "True"))]
    return found | {"conditions": told}


class Server:
    """Holds one Dataset and its profile, and takes a status."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def recent(self, resource: Any, *_: Any) -> Body | None:
        """Return the profile."""
        return PROFILE if resource.plural == "computeprofiles" else None

    async def find(self, *_: Any) -> None:
        """Hold no inputs."""

    async def create(self, *_: Any) -> None:
        """Refuse inputs for now."""
        raise TryLater("ConfigMap 'one-1' vanished between two reads")

    async def put_status(self, _: Any, body: Body) -> Body:
        """Take a status."""
        self.body = body
        found: Body = body["metadata"]
        return found


async def passed(status: Body, **metadata: Any) -> Body:
    """Return the status after one pass over the second generation, an hour after the runtime went away."""

    async def runtime(*_: Any) -> Any:
        raise AWAY

    named = {"name": "one", "namespace": "team", "uid": "u", "generation": 2, "resourceVersion": "1"}
    named |= {"finalizers": ["gradatim.dev/cleanup"], "creationTimestamp": AT} | metadata
    server: Any = Server({"kind": "Dataset", "metadata": named, "spec": SPEC, "status": status})
    edges: Any = SimpleNamespace(runtime=runtime)
    context = Context(server, edges, Settings(), Metrics(), Slots(primed=True), Dependents())
    context.unreachable_since[KEY] = NOW - timedelta(minutes=1)
    await dataset.reconcile(context, KEY, server.body, NOW)
    found: Body = server.body["status"]
    return found


def told(status: Body) -> dict[str, tuple[str, str, int]]:
    """Return status, reason and observed generation of the conditions that say how it stands."""
    kinds = ("Ready", "Reconciling", "Stalled", "Current")
    return {
        c["type"]: (c["status"], c["reason"], c["observedGeneration"])
        for c in status["conditions"]
        if c["type"] in kinds
    }


REQUEST = {"annotations": {"gradatim.dev/requested-at": "now"}}
WAITS = {"Reconciling": ("True", "RuntimeUnreachable", 2), "Stalled": ("False", "Succeeded", 2)}
FAILED = WAITS | {"Ready": ("Unknown", "RuntimeUnreachable", 2), "Current": ("False", "UserError", 1)}
SERVES = WAITS | {"Ready": ("True", "Succeeded", 2)}
CASES: list[tuple[str, Body, Body, dict[str, tuple[str, str, int]]]] = [
    ("a spec that failed and was put right", ended("sha256:old", succeeded=False), {}, FAILED),
    ("a spec that is not built yet", ended("sha256:old", succeeded=True), {}, SERVES | {"Current": ("True", "Succeeded", 1)}),
    ("a failure that somebody wants tried again", ended(OURS, succeeded=False), REQUEST, FAILED),
    ("a good Run that somebody wants again", ended(OURS, succeeded=True), REQUEST, SERVES | {"Current": ("True", "Succeeded", 1)}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "metadata", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_while_the_runtime_is_away(
    before: Body, metadata: Body, expected: dict[str, tuple[str, str, int]]
) -> None:
    after = await passed(before, **metadata)
    assert told(after) == expected
    assert (after["observedGeneration"], after["run"]["name"], after.get("lastRequested")) == (2, "one-1", None)


async def test_inputs_that_cannot_be_frozen_again_make_nobody_forget_the_run() -> None:
    run = {"name": "one-1", "trigger": "generation", "generation": 1, "specDigest": OURS, "configDigest": "sha256:gone"}
    run |= {"attempts": [{"number": 1, "outcome": "Running", "recordedAt": AT, "startedAt": AT}]}
    after = await passed({"store": STORE, "run": run})
    assert RunStatus.model_validate(after["run"]) == RunStatus.model_validate(run)
    assert told(after)["Reconciling"] == ("True", "Retrying", 2)


@pytest.mark.parametrize(
    "current",
    [condition("Current", "True", "Succeeded"), condition("Current", "False", "UserError")],
    ids=["after a success", "after a failure"],
)
def test_an_index_that_is_behind_its_spec_is_neither_current_nor_stalled(
    world: Callable[..., World], current: Body
) -> None:
    old = world().status.run
    assert old is not None
    old = old.model_copy(update={"spec_digest": "sha256:old", "succeeded": current["status"] == "True"})
    seen = world(status={"run": old, "conditions": [Condition.model_validate(current)]})
    planned = plan(seen, RunSettings())
    assert planned.decision.start is not None
    late = dataclasses.replace(planned, decision=postponed(planned.decision))
    trouble = ((Reason.RUNTIME_UNREACHABLE, "away"),)
    after = status(seen, late, RunSettings(), identity=seen.status.store, troubles=trouble)
    assert after.run == old
    found = {c.type: (c.status, c.reason) for c in after.conditions}
    assert (found["Reconciling"], found["Stalled"][0]) == (("True", "RuntimeUnreachable"), "False")
    assert Condition.model_validate(current) in after.conditions
