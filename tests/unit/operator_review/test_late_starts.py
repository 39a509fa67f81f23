"""An attempt that is handed to the runtime long after it was recorded: one process at a time, however late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.runstatus import Attempt, Outcome, RunStatus
from gradatim.operator import clock, dataset, ragindex
from gradatim.operator.clock import rfc3339
from gradatim.operator.dependents import Dependents
from gradatim.operator.errors import DependencyError
from gradatim.operator.kube import Body
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Reconciler
from gradatim.operator.queue import Key
from gradatim.operator.runs.engine import advance
from gradatim.operator.runs.model import Evidence, Policy, Submit
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings, Settings
from gradatim.operator.slots import Slots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = rfc3339(NOW - timedelta(hours=5))
POLICY = Policy(max_retries=3, deadline=600)
SETTINGS = RunSettings()
SLOW = 100.0  # seconds from the start of the pass until the submission is taken
FENCE = POLICY.deadline + SETTINGS.deadline_grace


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING, Phase.UNKNOWN])
def test_an_attempt_submitted_after_an_outage_is_not_given_up_while_it_runs(phase: Phase) -> None:
    run = RunStatus(name="one-1", trigger="generation", attempts=[Attempt(number=1, recorded_at=LONG_AGO)])
    first = advance(run, Evidence(observed=Observed(Phase.ABSENT)), POLICY, SETTINGS, NOW)
    assert first.actions == (Submit(1),)
    later = NOW + timedelta(seconds=1)
    assert first.run is not None
    second = advance(first.run, Evidence(observed=Observed(phase)), POLICY, SETTINGS, later)
    assert second.run is not None
    assert [(a.number, a.outcome, a.started_at) for a in second.run.attempts] == [(1, Outcome.RUNNING, rfc3339(later))]
    assert (second.actions, second.run.done) == ((), False)


@pytest.mark.parametrize(
    ("answered", "started", "outcome"),
    [
        pytest.param(FENCE, None, Outcome.RECORDED, id="may have been handed over until the runtime fell silent"),
        pytest.param(FENCE + 1, None, Outcome.GONE, id="is given up once what could have started has ended"),
        pytest.param(None, None, Outcome.GONE, id="counts from its record where nothing else is known"),
        pytest.param(1, LONG_AGO, Outcome.GONE, id="counts from its start where that was seen"),
    ],
)
def test_an_attempt_that_nobody_sees(answered: float | None, started: str | None, outcome: Outcome) -> None:
    begun = Outcome.RECORDED if started is None else Outcome.RUNNING
    attempt = Attempt(number=1, outcome=begun, recorded_at=LONG_AGO, started_at=started)
    run = RunStatus(name="one-1", trigger="generation", attempts=[attempt])
    last = None if answered is None else NOW - timedelta(seconds=answered)
    found = advance(run, Evidence(unknown=("no answer",), answered=last), POLICY, SETTINGS, NOW).run
    assert found is not None
    assert [a.outcome for a in found.attempts] == [outcome]


class Ray:
    """A runtime that starts what it is given and shows it only while it answers, and the API server with one object and its profile."""

    def __init__(self, body: Body) -> None:
        self.body, self.maps, self.started, self.answers = body, dict[str, Body](), list[str](), True

    async def recent(self, resource: Any, *_: Any) -> Body | None:
        """Return the profile."""
        ready = {"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        spec = {
            "runtime": {"rayCluster": {"address": "http://ray", "sharedTrust": True}},
            "artifactStore": {"root": "file:///s/{namespace}/"},
            "vectorStore": {"endpoint": "http://weaviate", "grpcEndpoint": "http://weaviate"},
        }
        found = {"metadata": {"name": "default", "uid": "p"}, "spec": spec, "status": {"conditions": [ready]}}
        return found if resource.plural == "computeprofiles" else None

    async def find(self, _: Any, __: str, name: str) -> Body | None:
        """Return a ConfigMap."""
        return self.maps.get(name)

    async def create(self, _: Any, __: str, body: Body) -> None:
        """Make one."""
        self.maps[body["metadata"]["name"]] = body

    async def put_status(self, _: Any, body: Body) -> Body:
        """Take a status."""
        self.body = body
        return dict(body["metadata"])

    async def observe(self, name: str) -> Observed:
        """Return how an attempt stands."""
        if not self.answers:
            raise DependencyError("runtime", "no answer")
        return Observed(Phase.RUNNING if name in self.started else Phase.ABSENT)

    async def submit(self, launch: Any) -> None:
        """Start an attempt, and say nothing any more."""
        self.started.append(launch.name)
        self.answers = False

    async def read(self, _: str) -> None:
        """Hold no document."""

    async def delete(self, *_: Any, **__: Any) -> None:
        """Hold nothing to delete."""


DATASET: Body = {"source": {"path": "file:///data/rows.jsonl"}, "activeDeadlineSeconds": POLICY.deadline}
INDEX: Body = {
    "sources": [{"name": "a", "source": {"path": "file:///data"}}],
    "embedding": {"model": {"uri": "file:///models/m"}},
    "activeDeadlineSeconds": POLICY.deadline,
}


@pytest.mark.parametrize(
    ("plural", "kind", "spec", "reconcile"),
    [
        pytest.param("datasets", "Dataset", DATASET, dataset.reconcile, id="Dataset"),
        pytest.param("ragindices", "RAGIndex", INDEX, ragindex.reconcile, id="RAGIndex"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True], ids=["by the same process", "by a new one"])
async def test_one_that_was_handed_over_late_is_not_given_up_at_the_first_look_that_fails(
    plural: str, kind: str, spec: Body, reconcile: Reconciler, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(seconds=SLOW))
    metadata = {"name": "one", "namespace": "team", "uid": "u", "generation": 1, "resourceVersion": "1"}
    metadata |= {"finalizers": ["gradatim.dev/cleanup"], "creationTimestamp": "2026-01-01T00:00:00Z"}
    ray: Any = Ray({"kind": kind, "metadata": metadata, "spec": spec, "status": {}})

    async def opened(*_: Any) -> Any:
        return ray

    def process() -> Context:
        edges: Any = SimpleNamespace(runtime=opened, artifacts=opened)
        return Context(ray, edges, Settings(), Metrics(), Slots(primed=True), Dependents())

    key, context = Key(plural, "team", "one"), process()

    async def outcomes(after: float) -> list[str]:
        await reconcile(context, key, ray.body, NOW + timedelta(seconds=after))
        return [a["outcome"] for a in ray.body["status"]["run"]["attempts"]]

    await outcomes(-5 * 3600)
    ray.answers = False
    assert await outcomes(-2 * 3600) == ["Recorded"]
    ray.answers = True
    assert await outcomes(0) == ["Recorded"]
    assert len(ray.started) == 1
    if restarted:
        context = process()
    assert await outcomes(1) == ["Recorded"], "it may be running although nobody sees it"
    last = 1 if restarted else SLOW  # when it may have been handed over at the latest, as far as this process knows
    assert await outcomes(last + FENCE - 1) == ["Recorded"]
    assert await outcomes(last + FENCE + 1) == ["Gone"]
