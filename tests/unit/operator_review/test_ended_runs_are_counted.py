"""A Run that has ended is counted once, whatever it left: when its end is written, and not when the write meets a conflict."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gradatim.api.dataset import DatasetSpec
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.operator import dataset, ragindex
from gradatim.operator.dataset.plan import IGNORED as DATASET_IGNORED
from gradatim.operator.dependents import Dependents
from gradatim.operator.kube import Body, Conflict
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context, Reconciler
from gradatim.operator.queue import Key
from gradatim.operator.ragindex.plan import IGNORED as INDEX_IGNORED
from gradatim.operator.runs.triggers import spec_digest
from gradatim.operator.settings import Settings
from gradatim.operator.slots import Slots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = "2026-01-01T00:00:00Z"
DATASET: Body = {"source": {"path": "file:///data/rows.jsonl"}}
INDEX: Body = {
    "sources": [{"name": "a", "source": {"path": "file:///data"}}],
    "embedding": {"model": {"uri": "file:///models/m"}},
}
KINDS = {"datasets": "Dataset", "ragindices": "RAGIndex"}
DIGESTS = {
    "datasets": spec_digest(DatasetSpec.model_validate(DATASET), DATASET_IGNORED),
    "ragindices": spec_digest(RAGIndexSpec.model_validate(INDEX), INDEX_IGNORED),
}


class Server:
    """An API server that holds one object and nothing that it names; it refuses the first status that is written."""

    def __init__(self, body: Body) -> None:
        self.body, self.refuses = body, True

    async def recent(self, *_: Any) -> None:
        """Hold no profile."""

    async def find(self, *_: Any) -> None:
        """Hold no inputs."""

    async def put_status(self, _: Any, body: Body) -> Body:
        """Take a status, but the first."""
        if self.refuses:
            self.refuses = False
            raise Conflict(409, "Conflict", "written since")
        self.body = body
        found: Body = body["metadata"]
        return found


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Return what has been counted, by kind and outcome."""
    samples = [s for m in metrics.finished.collect() for s in m.samples if s.name.endswith("_total") and s.value]
    return {(s.labels["kind"], s.labels["outcome"]): s.value for s in samples}


@pytest.mark.parametrize(
    ("plural", "spec", "reconcile"),
    [
        pytest.param("datasets", DATASET, dataset.reconcile, id="a Dataset"),
        pytest.param("ragindices", INDEX, ragindex.reconcile, id="an index"),
    ],
)
@pytest.mark.parametrize(
    ("current", "attempt", "outcome"),
    [
        pytest.param(True, {"outcome": "Running", "startedAt": LONG_AGO}, "Failed", id="failed without a result"),
        pytest.param(False, {"outcome": "Stopped"}, "Stopped", id="stopped for another spec"),
    ],
)
async def test_a_run_that(
    plural: str, spec: Body, reconcile: Reconciler, current: bool, attempt: Body, outcome: str
) -> None:
    key, run = Key(plural, "team", "one"), {"name": "one-1", "trigger": "generation", "generation": 1}
    run |= {"specDigest": DIGESTS[plural] if current else "sha256:other", "attempts": [{"number": 1} | attempt]}
    metadata = {"name": "one", "namespace": "team", "uid": "u", "generation": 1, "resourceVersion": "1"}
    server: Any = Server({"kind": KINDS[plural], "metadata": metadata, "spec": spec, "status": {"run": run}})
    edges: Any = None
    context = Context(server, edges, Settings(), Metrics(), Slots(primed=True), Dependents())
    with pytest.raises(Conflict):
        await reconcile(context, key, server.body, NOW)
    assert counted(context.metrics) == {}
    for _ in range(3):
        await reconcile(context, key, server.body, NOW)
        assert counted(context.metrics) == {(plural, outcome): 1.0}
    assert server.body["status"]["run"]["done"] is True
