"""A slot goes with its Run: not with a profile that the spec names by now, and not with a Run that is suspended."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.computeprofile import ComputeProfile, ConcurrencyLimit
from gradatim.api.dataset import DatasetSpec
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator import dataset, running
from gradatim.operator.dataset.plan import IGNORED
from gradatim.operator.dependents import Dependents
from gradatim.operator.kube import Body
from gradatim.operator.loop import slot_of
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context
from gradatim.operator.profiles import identity_of
from gradatim.operator.queue import Key
from gradatim.operator.runs.lifecycle import Decision
from gradatim.operator.runs.model import Step, Trigger
from gradatim.operator.runs.triggers import spec_digest
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import Settings
from gradatim.operator.slots import Slots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = "2026-03-01T11:59:00Z"
ONE, TWO, OTHER = Key("datasets", "a", "one"), Key("datasets", "a", "two"), Key("datasets", "b", "other")
TIGHT = ConcurrencyLimit(total=1)


def profile(name: str, **limits: int) -> ComputeProfile:
    """Return a profile that is ready; all of them have the same stores."""
    ready = {"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": AT}
    spec = {
        "runtime": {"rayCluster": {"address": f"http://{name}:8265", "sharedTrust": True}},
        "artifactStore": {"root": "file:///store/{namespace}/"},
        "limits": {"maxConcurrentRuns": limits},
    }
    metadata = {"name": name, "uid": f"uid-{name}"}
    return ComputeProfile.model_validate({"metadata": metadata, "spec": spec, "status": {"conditions": [ready]}})


def full(*profiles: str) -> Slots:
    """Return slots of which another object holds the only one of each profile."""
    slots = Slots(primed=True)
    for name in profiles:
        holder = Key("ragindices", "z", f"holder-{name}")
        assert slots.may_start(holder, name, TIGHT)
        slots.take(holder, name)
    return slots


def test_who_starts_elsewhere_no_longer_waits_and_the_next_one_is_woken() -> None:
    slots = full("p")
    for key in (ONE, OTHER):
        assert not slots.may_start(key, "p", TIGHT)
    assert slots.release(Key("ragindices", "z", "holder-p")) == [ONE]
    assert slots.may_start(ONE, "q", TIGHT)
    assert slots.take(ONE, "q") == [OTHER], "the slot that it was woken for"
    assert (slots.waiting("p"), slots.active("q")) == ([OTHER], 1)


def test_who_waits_elsewhere_starves_nobody() -> None:
    slots, limit = full("q"), ConcurrencyLimit(total=2)
    slots.take(Key("ragindices", "b", "holder-p"), "p")
    slots.take(Key("ragindices", "b", "holder-p-2"), "p")
    for key in (ONE, OTHER):
        assert not slots.may_start(key, "p", limit)
    assert not slots.may_start(ONE, "q", TIGHT)
    assert slots.wait(ONE, "q") == []
    assert slots.release(Key("ragindices", "b", "holder-p")) == [OTHER], "its rival has no Run and waits elsewhere"
    assert slots.may_start(OTHER, "p", limit)
    assert slots.waiting("q") == [ONE]


def test_a_run_is_counted_once() -> None:
    slots = Slots(primed=True)
    slots.take(ONE, "p")
    assert not slots.may_start(TWO, "p", TIGHT)
    assert slots.take(ONE, "q") == [TWO]
    assert (slots.active("p"), slots.active("q")) == (0, 1)


def test_without_a_profile_to_read_its_last_limit_counts() -> None:
    slots = full("p")
    assert not slots.may_start(ONE, "p", None)
    assert slots.may_start(ONE, "never heard of", None)


ACTIVE = RunStatus(name="one-1", trigger="generation", attempts=[])
HOME: StoreIdentity = identity_of(profile("p"))
FRESH = Trigger("generation/2/x", "generation")
COUNTED: list[tuple[str, ComputeProfile | None, Decision, str]] = [
    ("a Run that goes on counts where it began", profile("q"), Decision(Step(run=ACTIVE)), "p"),
    ("also where its profile is gone", None, Decision(Step(run=ACTIVE)), "p"),
    ("a new one where the spec points now", profile("q"), Decision(Step(run=ACTIVE), trigger=FRESH), "q"),
    ("a suspended one nowhere", profile("p"), Decision(Step(run=ACTIVE), paused=True), ""),
    ("one that waits to go on neither", profile("p"), Decision(Step(run=ACTIVE), wants_slot=True), ""),
    ("nor one that is over", profile("p"), Decision(Step(run=ACTIVE.model_copy(update={"done": True}))), ""),
]


@pytest.mark.parametrize(("seen", "decision", "where"), [c[1:] for c in COUNTED], ids=[c[0] for c in COUNTED])
def test_where_a_run_is_counted(seen: ComputeProfile | None, decision: Decision, where: str) -> None:
    context: Any = SimpleNamespace(slots=Slots(primed=True), wake=[])
    context.slots.take(ONE, "old")
    running.count(context, ONE, seen, HOME, decision)
    assert {name: context.slots.active(name) for name in ("old", "p", "q")} == {
        name: int(name == where) for name in ("old", "p", "q")
    }


def test_a_run_that_goes_on_asks_for_room_where_it_began() -> None:
    context: Any = SimpleNamespace(slots=full("p"), wake=[])
    assert not running.granted(context, ONE, profile("q"), HOME, ACTIVE)
    assert running.granted(context, TWO, profile("q"), HOME, None)


HELD: list[tuple[str, dict[str, Any], str, str]] = [
    ("an active Run", {}, "Running", "p"),
    ("a retry to come", {}, "Failed", "p"),
    ("a Run that is being suspended", {"suspend": True}, "Running", "p"),
    ("a suspended Run", {"suspend": True}, "Stopped", ""),
    ("one that failed before it could be stopped", {"suspend": True}, "Failed", ""),
    ("one that waits to go on", {}, "Stopped", ""),
]


@pytest.mark.parametrize(("spec", "outcome", "expected"), [c[1:] for c in HELD], ids=[c[0] for c in HELD])
def test_who_holds_a_slot_after_a_restart(spec: dict[str, Any], outcome: str, expected: str) -> None:
    run = {"name": "one-1", "attempts": [{"number": 1, "outcome": "Failed"}, {"number": 2, "outcome": outcome}]}
    assert slot_of({"spec": spec, "status": {"run": run, "store": {"profile": "p"}}}) == expected


class Server:
    """An API server and a runtime that runs whatever it is given. Every object has the same spec, but for `suspend`."""

    def __init__(self) -> None:
        self.bodies, self.maps = dict[Key, Body](), dict[str, Body]()

    async def recent(self, resource: Any, *_: Any) -> Body | None:
        """Return the profile."""
        return profile("p", perNamespace=1).to_manifest() if resource.plural == "computeprofiles" else None

    async def find(self, _: Any, __: str, name: str) -> Body | None:
        """Return a ConfigMap."""
        return self.maps.get(name)

    async def create(self, _: Any, __: str, body: Body) -> None:
        """Make one."""
        self.maps[body["metadata"]["name"]] = body

    async def put_status(self, _: Any, body: Body) -> Body:
        """Take a status."""
        self.bodies[Key("datasets", "a", body["metadata"]["name"])] = body
        found: Body = body["metadata"]
        return found

    async def observe(self, _: str) -> Observed:
        """See every attempt at work."""
        return Observed(Phase.RUNNING)

    async def read(self, _: str) -> None:
        """Hold no document."""


def made(key: Key, *outcomes: str, suspend: bool = False, **run: Any) -> Body:
    """Return a Dataset whose Run has had attempts with these outcomes."""
    spec = {"source": {"path": "file:///data/rows.jsonl"}, "compute": {"profileRef": {"name": "p"}}}
    spec |= {"suspend": suspend}
    metadata = {"name": key.name, "namespace": "a", "uid": key.name, "generation": 1, "resourceVersion": "1"}
    metadata |= {"finalizers": ["gradatim.dev/cleanup"], "creationTimestamp": AT}
    status: Body = {}
    if outcomes:
        tried = [{"number": n, "outcome": o, "recordedAt": AT} for n, o in enumerate(outcomes, 1)]
        digest = spec_digest(DatasetSpec.model_validate(spec), IGNORED)
        known = {"name": f"{key.name}-1", "trigger": "generation", "specDigest": digest, "attempts": tried} | run
        status = {"run": known, "store": HOME.to_manifest()}
    return {"kind": "Dataset", "metadata": metadata, "spec": spec, "status": status}


def attempts(server: Server, key: Key) -> list[str]:
    """Return the outcomes of the attempts of a Dataset's Run."""
    run = server.bodies[key]["status"].get("run", {"attempts": []})
    return [a["outcome"] for a in run["attempts"]]


def said(server: Server, key: Key, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    conditions = server.bodies[key]["status"]["conditions"]
    return next((c["status"], c["reason"]) for c in conditions if c["type"] == kind)


def passes(server: Any) -> tuple[Context, Any]:
    """Return the context of a process, and a function that makes a pass over an object."""

    async def opened(*_: Any) -> Any:
        return server

    edges: Any = SimpleNamespace(runtime=opened, artifacts=opened)
    context = Context(server, edges, Settings(), Metrics(), Slots(primed=True), Dependents())
    return context, lambda key: dataset.reconcile(context, key, server.bodies[key], NOW)


@pytest.mark.parametrize("outcome", ["Stopped", "Failed"])
async def test_a_suspended_run_lets_another_go_and_waits_for_its_turn_to_go_on(outcome: str) -> None:
    server = Server()
    context, look = passes(server)
    failed = {"notBefore": "2026-03-01T11:00:00Z"} if outcome == "Failed" else {}
    server.bodies = {ONE: made(ONE, outcome, suspend=True, **failed), TWO: made(TWO)}
    if outcome == "Failed":
        server.bodies[ONE]["status"]["run"]["attempts"][0]["failure"] = "NodeLost"
    context.slots.take(ONE, "p")  # as it held until it was suspended
    await look(ONE)
    await look(TWO)
    assert attempts(server, TWO) == ["Recorded"]
    server.bodies[ONE]["spec"]["suspend"] = False
    await look(ONE)
    assert attempts(server, ONE) == [outcome], "there is no room for its next attempt"
    assert said(server, ONE, "Reconciling") == ("True", "ConcurrencyLimit")
    assert server.bodies[ONE]["status"]["state"] == "Queued"
    server.bodies[TWO]["spec"]["suspend"] = True
    server.bodies[TWO]["status"]["run"]["attempts"][0]["outcome"] = "Stopped"
    context.wake.clear()
    await look(TWO)
    assert context.wake == [ONE], "its turn has come"
    for _ in range(2):  # inputs that are not there are frozen first
        await look(ONE)
    assert len(attempts(server, ONE)) == 2
    assert context.slots.active("p") == 1


async def test_a_run_whose_retries_are_used_up_ends_without_a_slot() -> None:
    server = Server()
    context, look = passes(server)
    context.slots.take(TWO, "p")
    server.bodies = {ONE: made(ONE, "Failed")}
    server.bodies[ONE]["status"]["run"]["attempts"][0]["failure"] = "User"
    await look(ONE)
    assert server.bodies[ONE]["status"]["run"]["done"] is True


async def test_a_retry_keeps_the_slot_that_its_run_has() -> None:
    server = Server()
    context, look = passes(server)
    server.bodies = {ONE: made(ONE, "Failed", notBefore="2026-03-01T11:00:00Z")}
    server.bodies[ONE]["status"]["run"]["attempts"][0]["failure"] = "NodeLost"
    context.slots.take(ONE, "p")
    for _ in range(2):
        await look(ONE)
    assert attempts(server, ONE) == ["Failed", "Recorded"]


async def test_a_run_that_waits_to_go_on_and_whose_spec_breaks_holds_up_nobody() -> None:
    server = Server()
    context, look = passes(server)
    server.bodies = {ONE: made(ONE, "Stopped")}
    context.slots.take(TWO, "p")
    await look(ONE)
    assert context.slots.waiting("p") == [ONE]
    server.bodies[ONE]["spec"]["source"] = {}
    await look(ONE)
    assert context.slots.waiting("p") == []
