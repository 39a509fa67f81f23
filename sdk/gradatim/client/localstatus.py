"""The status of an object after a run without a cluster, from its result: the same gates, the same versions as on a cluster.

Pure; the clock is an argument. Called by `local.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradatim.api import gates
from gradatim.api.dataset import Dataset, DatasetStatus, DatasetVersion
from gradatim.api.meta import Condition, State
from gradatim.api.ragindex import IndexVersion, RAGIndex, RAGIndexStatus
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import IndexOutput, RunResult
from gradatim.api.runstatus import GateVerdict, Metrics

_HISTORY = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended: `ok`, and what to tell a person."""

    ok: bool
    reason: Reason
    message: str


def dataset_status(dataset: Dataset, result: RunResult, run: str) -> tuple[DatasetStatus, Verdict]:
    """Return the status of a Dataset after a run. A failed run leaves the active snapshot as it was."""
    old = dataset.status or DatasetStatus()
    verdict = _verdict(result)
    active, history = old.active, list(old.history)
    output = result.dataset
    if verdict.ok and output is not None:
        active = DatasetVersion(**output.model_dump(), created=result.finished, run=run)
        history = [active, *(v for v in history if v.digest != active.digest)][:_HISTORY]
    status = DatasetStatus(
        observed_generation=dataset.metadata.generation or 0,
        state=State.READY if active is not None else State.FAILED,
        conditions=_conditions(dataset.metadata.generation or 0, verdict, result.finished, serving=active is not None),
        reason_text=None if verdict.ok else verdict.reason.value,
        digest=active.digest if active else None,
        active=active,
        history=history,
        validation=result.validation or old.validation,
        rejections=old.rejections if result.read_nothing else result.rejections,
        last_refresh=result.finished if verdict.ok else old.last_refresh,
    )
    return status, verdict


def index_status(index: RAGIndex, result: RunResult, run: str) -> tuple[RAGIndexStatus, Verdict]:
    """Return the status of an index after a run: a version that passes its gates becomes active, another one is only listed.

    A run that changed nothing is ok only if the active version passes the gates of now.
    """
    old = index.status or RAGIndexStatus()
    verdict, active, history = _verdict(result), old.active, list(old.history)
    checked = verdict.ok
    if verdict.ok and result.outcome == "Succeeded" and result.index is not None:
        version = _version(index, result.index, result.finished, run)
        kept = [v for v in history if v.digest != version.digest]
        history = [version, *kept][:_HISTORY]
        checked = version.passed  # the sources are newer than what serves where a gate refuses what was built from them
        if version.passed:
            active = version
        verdict = _by_gates(version.gates)
    elif verdict.ok and result.outcome == "Unchanged" and active is not None:
        # Nothing was built or measured, but the gates may be others now. What passed once goes on serving.
        active = active.model_copy(update={"gates": _judged(index, active.metrics)})
        history = [active if v.digest == active.digest else v for v in history]
        judged = _by_gates(active.gates)
        message = f"{verdict.message}; {judged.message}" if active.gates else verdict.message
        verdict = Verdict(ok=True, reason=verdict.reason, message=message) if judged.ok else judged
    status = RAGIndexStatus(
        observed_generation=index.metadata.generation or 0,
        state=State.READY if active is not None else State.FAILED,
        conditions=_conditions(index.metadata.generation or 0, verdict, result.finished, serving=active is not None),
        reason_text=None if verdict.ok else verdict.reason.value,
        active=active,
        history=history,
        validation=result.validation or old.validation,
        rejections=old.rejections if result.read_nothing else result.rejections,
        last_checked=result.finished if checked else old.last_checked,
    )
    return status, verdict


def forgotten(old: RAGIndexStatus | None, status: RAGIndexStatus) -> list[IndexVersion]:
    """Return the versions of the old status that the new one has no room for, as far as they have a collection that serves nothing."""
    if old is None:
        return []
    known = {v.collection for v in (*status.history, *([status.active] if status.active else []))}
    before = {v.collection: v for v in (*old.history, *([old.active] if old.active else []))}
    return [v for name, v in before.items() if name not in known and not v.collection_dropped]


def to_drop(index: RAGIndex, status: RAGIndexStatus) -> list[IndexVersion]:
    """Return the versions whose collections are no longer wanted: refused ones, and those beyond `versions.keep`."""
    serving = [v for v in status.history if v.passed and not v.collection_dropped]
    keep = {v.collection for v in serving[: index.spec.versions.keep]}
    keep |= {status.active.collection} if status.active else set()
    return [v for v in status.history if not v.collection_dropped and v.collection not in keep]


def without_collections(status: RAGIndexStatus, dropped: list[IndexVersion]) -> RAGIndexStatus:
    """Return the status with these versions' collections marked as dropped."""
    gone = {v.digest for v in dropped}
    history = [v.model_copy(update={"collection_dropped": True}) if v.digest in gone else v for v in status.history]
    return status.model_copy(update={"history": history})


def _verdict(result: RunResult) -> Verdict:
    if result.outcome in {"Succeeded", "Unchanged"}:
        return Verdict(ok=True, reason=Reason(result.outcome), message=result.message)
    known = {r.value for r in Reason}
    reason = Reason(result.reason) if result.reason in known else Reason.USER_ERROR
    return Verdict(ok=False, reason=reason, message=result.message or f"the run ended as {result.outcome}")


def _judged(index: RAGIndex, metrics: Metrics) -> list[GateVerdict]:
    """Return the verdicts of the gates of now."""
    evaluation, active = index.spec.evaluation, index.status.active if index.status else None
    return gates.judge(evaluation.gates if evaluation else [], metrics, active.metrics if active else None)


def _by_gates(verdicts: list[GateVerdict]) -> Verdict:
    return Verdict(gates.passed(verdicts), gates.failed_reason(verdicts), gates.summary(verdicts))


def _version(index: RAGIndex, output: IndexOutput, finished: str, run: str) -> IndexVersion:
    status = index.status or RAGIndexStatus()
    verdicts = _judged(index, output.metrics)
    known = next((v for v in status.history if v.digest == output.digest), None)
    # The same version measured anew goes on serving, however strict its gates are by now.
    serves = status.active is not None and status.active.digest == output.digest
    return IndexVersion(
        digest=output.digest,
        label=known.label if known else f"v{_last_number(status) + 1}",
        collection=output.collection,
        uri=output.uri,
        resolved_digest=output.resolved_digest,
        encoder_digest=output.encoder_digest,
        documents=output.documents,
        chunks=output.chunks,
        rejected=output.rejected,
        metrics=output.metrics,
        gates=verdicts,
        passed=gates.passed(verdicts) or serves,
        created=finished,
        run=run,
        generation=index.metadata.generation or 0,
    )


def _last_number(status: RAGIndexStatus) -> int:
    labels = [v.label.removeprefix("v") for v in status.history]
    return max((int(label) for label in labels if label.isdigit()), default=0)


def _conditions(generation: int, verdict: Verdict, now: str, *, serving: bool) -> list[Condition]:
    def condition(kind: ConditionType, status: bool, reason: Reason, message: str) -> Condition:  # noqa: FBT001
        return Condition(
            type=kind.value,
            status=str(status),
            observed_generation=generation,
            last_transition_time=now,
            reason=reason.value,
            message=message[:1024],
        )

    told = "what was built earlier serves" if serving and not verdict.ok else verdict.message
    return [
        condition(ConditionType.READY, serving, Reason.SUCCEEDED if serving else verdict.reason, told),
        condition(ConditionType.CURRENT, verdict.ok, verdict.reason, verdict.message),
        condition(ConditionType.STALLED, not verdict.ok, verdict.reason, verdict.message),
    ]
