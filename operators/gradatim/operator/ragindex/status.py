"""The status of a RAGIndex, from what was observed and planned.

Called by `reconcile`. Pure. `active` follows the alias as read, never the wish: what status calls active is what a query gets.
"""

from __future__ import annotations

import dataclasses

from gradatim.api.ragindex import Adoption, Candidate, IndexVersion, RAGIndexStatus
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import IndexOutput, RunResult
from gradatim.api.runstatus import Metrics, RunStatus, StoreIdentity
from gradatim.operator import jobstatus
from gradatim.operator.clock import rfc3339, since
from gradatim.operator.conditions import SHORT_LIMIT, Verdict, clipped, find, merged, trouble
from gradatim.operator.dataset.status import sources_verdict
from gradatim.operator.jobstatus import Facts
from gradatim.operator.ragindex import current, restoring
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import Plan, adopting
from gradatim.operator.ragindex.versions import stale_in
from gradatim.operator.runs.lifecycle import Block, Decision
from gradatim.operator.settings import RunSettings

MAIN_METRICS = ("ndcg@10", "recall@10", "mrr")


def status(
    world: World,
    plan: Plan,
    settings: RunSettings,
    *,
    identity: StoreIdentity | None,
    dropped: frozenset[str] = frozenset(),
    troubles: tuple[tuple[Reason, str], ...] = (),
    overdue: bool = False,
) -> RAGIndexStatus:
    """Return the status to write. `dropped` are digests whose collections were removed in this pass."""
    old, step = world.status, plan.decision.step
    now, generation = rfc3339(world.now), world.index.metadata.generation or 0
    history = [_without(v) if v.digest in dropped else v for v in plan.history]
    active = _active(world, history)
    result = restoring.built(world, step.finished)
    facts = Facts(
        decision=_with_promotion(world, plan, active),
        suspended=world.index.spec.suspend,
        serving=active is not None and not restoring.serves_no_more(world, active),
        serving_message="" if active is None else _serving(active),
        failed=current.failed(world, plan),
        unknown=tuple(m for _, m in troubles) + world.evidence.unknown,
        overdue=overdue,
        beside=None if plan.schedule_problem is None else (Reason.INVALID_SPEC, plan.schedule_problem),
        unknown_reason=troubles[0][0] if troubles else world.evidence.unknown_reason,
    )
    good = result is not None and result.outcome in {"Succeeded", "Unchanged"}
    checked = result if good and not _refused(plan, result) else None
    left = stale_in(world) if checked is None else None
    degraded = left is not None and left.total_seconds() <= 0
    queue = jobstatus.queueing(world.evidence.observed, step.run, old.conditions)
    verdicts = [
        *jobstatus.common(facts, old.conditions),
        *_stages(world, plan, result),
        *_degraded(world, degraded=degraded),
        *queue,
    ]
    verdicts = current.under_pin(world, plan, current.kept(world, plan, verdicts))
    if plan.problem is not None:
        verdicts = [v for v in verdicts if v.type not in {ConditionType.STALLED, ConditionType.CURRENT}]
        verdicts += [
            Verdict(t, t is ConditionType.STALLED, *plan.problem)
            for t in (ConditionType.STALLED, ConditionType.CURRENT)
        ]
    progress = jobstatus.throttled(
        old.progress,
        jobstatus.shown(world.evidence.progress.progress if world.evidence.progress else old.progress, step.run),
        seconds=since(old.progress.updated if old.progress else None, world.now),
        interval=settings.progress_interval,
    )
    trigger = plan.decision.trigger
    conditions = merged(old.conditions, verdicts, generation=generation, now=now)
    vectors = world.around.profile.spec.vector_store if world.around.profile else None
    return old.model_copy(
        update={
            "observed_generation": generation,
            "state": jobstatus.state(verdicts, step.run, degraded=degraded),
            "conditions": conditions,
            "reason_text": trouble(conditions),
            "alias": world.alias,
            "endpoint": vectors.endpoint if vectors else old.endpoint,
            "grpc_endpoint": vectors.grpc_endpoint if vectors else old.grpc_endpoint,
            "active": active,
            "candidate": _candidate(plan),
            "promotion": plan.promotion,
            "adoption": _adoption(world, step.run, result),
            "history": history,
            "versions_built": plan.built,
            "run": step.run,
            "progress": progress,
            "progress_text": jobstatus.text(progress, step.run) or jobstatus.NOT_STARTED,
            "quality_text": None if active is None else _quality(active.metrics),
            "validation": result.validation if result and result.validation else old.validation,
            "rejections": jobstatus.rejections(result if good else None, old.rejections),
            # Also after a failure: the same digests would only fail again.
            "upstream": _upstream(world) if result is not None or current.build_failed(step) else old.upstream,
            "last_checked": checked.finished if checked is not None else old.last_checked,
            "next_refresh": rfc3339(plan.next_refresh) if plan.next_refresh else None,
            "last_tick": trigger.tick if trigger and trigger.tick else old.last_tick,
            "last_requested": trigger.requested if trigger and trigger.requested else old.last_requested,
            "store": identity if step.run is not None else old.store,
        }
    )


def _without(version: IndexVersion) -> IndexVersion:
    return version.model_copy(update={"collection_dropped": True, "dropping": False})


def _active(world: World, history: list[IndexVersion]) -> IndexVersion | None:
    """Return the version that the alias points at; the known one while the store cannot be asked."""
    if not world.aliases.known:
        return world.status.active
    at = world.aliases.collection
    if at is None:
        return None if world.status.active is None else world.status.active
    return next((v for v in history if v.collection == at), world.status.active)


def _refused(plan: Plan, result: RunResult | None) -> bool:
    """Return whether a gate keeps the version that was built from serving: the sources are then newer than what serves."""
    output = result.index if result is not None else None
    if plan.gate_failure is None or output is None:
        return False
    return not any(v.digest == output.digest and v.passed for v in plan.history)


def _with_promotion(world: World, plan: Plan, active: IndexVersion | None) -> Decision:
    """Say that the alias is about to move, when nothing else is in the way."""
    decision, wanted = plan.decision, plan.desired
    run = decision.step.run
    if decision.block is not None or wanted is None or (run is not None and not run.done):
        return decision
    if world.aliases.present is False:
        message = restoring.told(wanted, run)
        return dataclasses.replace(decision, block=Block(Reason.ARTIFACT_CORRUPT, message, stalled=True))
    if active is not None and active.digest == wanted.digest:
        return decision
    return dataclasses.replace(decision, block=Block(Reason.PROMOTING, f"switching the alias to {wanted.label}"))


def _serving(version: IndexVersion) -> str:
    quality = _quality(version.metrics)
    text = f"{version.label}: {version.documents} documents, {version.chunks} chunks"
    return f"{text}, {quality}" if quality else text


def _quality(metrics: Metrics) -> str | None:
    for name in MAIN_METRICS:
        found = next((m for m in metrics if m.name == name), None)
        if found is not None:
            return clipped(f"{name} {found.value:.3f}", SHORT_LIMIT)
    return None


def _stages(world: World, plan: Plan, result: RunResult | None) -> list[Verdict]:
    """Return SourcesResolved, DataValid, Built and Evaluated."""
    step, found = plan.decision.step, dict[ConditionType, Verdict]()
    if result is not None:
        good = result.outcome in {"Succeeded", "Unchanged"}
        found[ConditionType.SOURCES_RESOLVED] = sources_verdict(result.reason, step.message, good=good)
        if result.validation is not None:
            found[ConditionType.DATA_VALID] = jobstatus.data_valid(
                result.validation, "documents", step.message, good=good
            )
        elif good and not (
            result.outcome == "Unchanged" and _expects(world)
        ):  # else what was found of the same documents stands
            found[ConditionType.DATA_VALID] = Verdict(
                ConditionType.DATA_VALID, True, Reason.NOT_REQUESTED, "no expectation was checked"
            )
        built_reason = Reason.UNCHANGED if result.outcome == "Unchanged" else Reason.SUCCEEDED
        message = "" if result.index is None else _built(result.index, _adopted_by(world))
        found[ConditionType.BUILT] = Verdict(
            ConditionType.BUILT, good, built_reason if good else step.reason, message if good else step.message
        )
        if result.index is not None:
            found[ConditionType.EVALUATED] = _evaluated(world, plan)
    for kind in (
        ConditionType.SOURCES_RESOLVED,
        ConditionType.DATA_VALID,
        ConditionType.BUILT,
        ConditionType.EVALUATED,
    ):
        if find(world.status.conditions, kind) is None and kind not in found:
            found[kind] = Verdict(kind, None, Reason.PENDING, jobstatus.NOTHING_YET)
    return list(found.values())


def _expects(world: World) -> bool:
    asked = world.index.spec.validation
    return bool(asked.expectations) or asked.suite_ref is not None


def _built(output: IndexOutput, adopted_from: str | None) -> str:
    text = f"{output.chunks} chunks, {output.embedded} embedded anew"
    return text if adopted_from is None else f"{text}, {output.adopted_vectors} with vectors of {adopted_from}"


def _adopted_by(world: World) -> str | None:
    """Return the uid that the active Run was told to adopt from, as its frozen inputs say."""
    inputs = world.evidence.config.index_inputs if world.evidence.config is not None else None
    return None if inputs is None else inputs.adopt_from


def _adoption(world: World, run: RunStatus | None, result: RunResult | None) -> Adoption | None:
    uid, known = adopting(world), world.status.adoption
    if uid is None:
        return None
    if run is not None and result is not None and result.index is not None and _adopted_by(world) == uid:
        output = result.index
        return Adoption(uid=uid, run=run.name, chunks=output.adopted_vectors, embedded=output.embedded)
    return known if known is not None and known.uid == uid else Adoption(uid=uid)


def _evaluated(world: World, plan: Plan) -> Verdict:
    evaluation = world.index.spec.evaluation
    if evaluation is None or evaluation.questions is None:
        return Verdict(ConditionType.EVALUATED, True, Reason.NOT_REQUESTED, "no evaluation.questions")
    if plan.gate_failure is not None:
        return Verdict(ConditionType.EVALUATED, False, *plan.gate_failure)
    newest = plan.history[0] if plan.history else None
    metrics = newest.metrics if newest is not None else []
    return Verdict(ConditionType.EVALUATED, True, Reason.SUCCEEDED, _quality(metrics) or f"{len(metrics)} metrics")


def _degraded(world: World, *, degraded: bool) -> list[Verdict]:
    if degraded:
        message = f"the sources were last found current at {world.status.last_checked}; maxStalenessSeconds is exceeded"
        return [Verdict(ConditionType.DEGRADED, True, Reason.STALE, message)]
    return [Verdict(ConditionType.DEGRADED, False, Reason.SUCCEEDED)]


def _candidate(plan: Plan) -> Candidate | None:
    run = plan.decision.step.run
    if run is not None and not run.done:
        return Candidate(run=run.name, message=clipped(plan.decision.step.message))
    newest = plan.history[0] if plan.history else None
    if newest is not None and not newest.passed and run is not None and newest.run == run.name:
        refused = next((g.message for g in newest.gates if not g.passed), "")
        return Candidate(
            run=run.name, stage="Refused", digest=newest.digest, collection=newest.collection, message=refused
        )
    return None


def _upstream(world: World) -> dict[str, str]:
    config = world.evidence.config
    return {d.name: d.digest for d in config.datasets} if config is not None else dict(world.around.upstream)
