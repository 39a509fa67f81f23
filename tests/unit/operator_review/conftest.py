"""A RAGIndex whose last Run is over and whose version serves, and what a pass over it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.ragindex import IndexVersion, Promotion, RAGIndex, RAGIndexStatus
from gradatim.api.runstatus import Attempt, NamedMetric, Outcome, RunStatus
from gradatim.operator.observing import Surrounding
from gradatim.operator.profiles import identity_of
from gradatim.operator.ragindex.model import Aliases, World
from gradatim.operator.ragindex.plan import IGNORED
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runs.triggers import spec_digest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = "2026-03-01T10:00:00Z"
DIGEST = "sha256:" + "1" * 64
COLLECTION = "G0123456789_1111111111"
SPEC: dict[str, Any] = {
    "sources": [{"name": "a", "source": {"path": "file:///data"}}],
    "embedding": {"model": {"uri": "file:///models/m"}},
    "evaluation": {"questions": {"path": "file:///q.jsonl"}},
}


def profile() -> ComputeProfile:
    """Return a profile that is ready and used by everybody."""
    ready = {"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": EARLIER}
    return ComputeProfile.model_validate(
        {
            "metadata": {"name": "default", "uid": "p"},
            "spec": {
                "runtime": {"rayCluster": {"address": "http://ray:8265", "sharedTrust": True}},
                "artifactStore": {"root": "file:///store/{namespace}/"},
                "vectorStore": {"endpoint": "http://weaviate:8080", "grpcEndpoint": "http://weaviate:50051"},
            },
            "status": {"conditions": [ready]},
        }
    )


@pytest.fixture
def world() -> Callable[..., World]:
    """Return a function that makes the world: members of the status, the spec and the world itself may be replaced."""

    def make(*, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **more: Any) -> World:
        metadata = {"name": "docs", "namespace": "team", "uid": "u", "generation": 1, "creationTimestamp": EARLIER}
        index = RAGIndex.model_validate({"metadata": metadata, "spec": SPEC | (spec or {})})
        run = RunStatus(
            name="docs-1",
            trigger="generation",
            generation=1,
            spec_digest=spec_digest(index.spec, IGNORED),
            attempts=[Attempt(number=1, outcome=Outcome.SUCCEEDED, finished_at=EARLIER)],
            done=True,
            succeeded=True,
        )
        version = IndexVersion(
            digest=DIGEST,
            label="v1",
            collection=COLLECTION,
            uri="file:///store/team/ragindex/docs/u/artifacts/1/",
            metrics=[NamedMetric(name="ndcg@10", value=0.6, samples=100)],
            passed=True,
            run="docs-1",
        )
        known = RAGIndexStatus(
            history=[version],
            active=version,
            promotion=Promotion(digest=DIGEST, collection=COLLECTION, reason="Promoted", decided_at=EARLIER),
            run=run,
            versions_built=1,
            store=identity_of(profile()),
        ).model_copy(update=status or {})
        found = World(
            index=index,
            status=known,
            alias="Nteam_docs_00000000",
            around=Surrounding(profile=profile(), namespace_labels={}),
            evidence=Evidence(),
            aliases=Aliases(collection=COLLECTION, present=True, known=True),
            granted=True,
            now=NOW,
        )
        return dataclasses.replace(found, **more)

    return make
