"""The status of a Dataset, from what was observed and planned.

Called by `reconcile`. Pure; an unchanged world gives an equal status, so that nothing is written.
"""

from __future__ import annotations

from datetime import datetime

from gradatim.api.dataset import DatasetStatus
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator import jobstatus
from gradatim.operator.clock import rfc3339, since
from gradatim.operator.conditions import Verdict, find, merged, reason_of, trouble
from gradatim.operator.dataset.plan import Plan, World
from gradatim.operator.jobstatus import Facts
from gradatim.operator.settings import RunSettings


def status(
    world: World,
    plan: Plan,
    settings: RunSettings,
    *,
    identity: StoreIdentity | None,
    troubles: tuple[tuple[Reason, str], ...] = (),
    overdue: bool = False,
) -> DatasetStatus:
    """Return the status to write."""
    old, step = world.status, plan.decision.step
    now, generation = rfc3339(world.now), world.dataset.metadata.generation or 0
    result = step.finished
    active = plan.new or old.active
    failed = _failed(world, plan)
    unknown = tuple(m for _, m in troubles) + world.evidence.unknown
    facts = Facts(
        decision=plan.decision,
        suspended=world.dataset.spec.suspend,
        serving=active is not None,
        serving_message=""
        if active is None
        else f"{active.rows} rows, {active.rejected} rejected, {active.digest[:19]}",
        failed=failed,
        unknown=unknown,
        overdue=overdue,
        beside=None if plan.schedule_problem is None else (Reason.INVALID_SPEC, plan.schedule_problem),
        unknown_reason=troubles[0][0] if troubles else world.evidence.unknown_reason,
    )
    queue = jobstatus.queueing(world.evidence.observed, step.run, old.conditions)
    verdicts = [*jobstatus.common(facts, old.conditions), *_data(plan, old), *queue]
    progress = jobstatus.throttled(
        old.progress,
        jobstatus.shown(world.evidence.progress.progress if world.evidence.progress else old.progress, step.run),
        seconds=_progress_age(old, world.now),
        interval=settings.progress_interval,
    )
    trigger = plan.decision.trigger
    conditions = merged(old.conditions, verdicts, generation=generation, now=now)
    return old.model_copy(
        update={
            "observed_generation": generation,
            "state": jobstatus.state(verdicts, step.run),
            "conditions": conditions,
            "reason_text": trouble(conditions),
            "digest": active.digest if active else None,
            "active": active,
            "history": list(plan.history),
            "run": step.run,
            "progress": progress,
            "progress_text": jobstatus.text(progress, step.run) or jobstatus.NOT_STARTED,
            "validation": result.validation if result and result.validation else old.validation,
            "rejections": jobstatus.rejections(result, old.rejections),
            "last_refresh": result.finished if result and result.outcome != "Failed" else old.last_refresh,
            "next_refresh": rfc3339(plan.next_refresh) if plan.next_refresh else None,
            "last_tick": trigger.tick if trigger and trigger.tick else old.last_tick,
            "last_requested": trigger.requested if trigger and trigger.requested else old.last_requested,
            "store": identity if step.run is not None else old.store,
        }
    )


def _failed(world: World, plan: Plan) -> tuple[Reason, str] | None:
    """Return why the last Run left the Dataset behind its spec; remembered by the condition Current."""
    step = plan.decision.step
    if step.failure is not None:
        return step.reason, step.message
    return None if plan.decision.behind else remembered(world.status.run, step.run, world.status)


def remembered(before: RunStatus | None, after: RunStatus | None, old: DatasetStatus) -> tuple[Reason, str] | None:
    """Return the failure that an earlier pass recorded, while the same finished Run is still the last one."""
    if before is None or after is None or before.name != after.name or not before.done or before.succeeded:
        return None
    known = find(old.conditions, ConditionType.CURRENT)
    if known is None or known.status == "True":
        return None
    return reason_of(known.reason, Reason.USER_ERROR), known.message


def _data(plan: Plan, old: DatasetStatus) -> list[Verdict]:
    step = plan.decision.step
    result = step.finished
    found: list[Verdict] = []
    if result is not None:
        found.append(sources_verdict(result.reason, step.message, good=result.outcome in {"Succeeded", "Unchanged"}))
        if result.validation is not None:
            good = result.outcome in {"Succeeded", "Unchanged"}
            found.append(jobstatus.data_valid(result.validation, "rows", step.message, good=good))
    for kind in (ConditionType.SOURCES_RESOLVED, ConditionType.DATA_VALID):
        if find(old.conditions, kind) is None and all(v.type is not kind for v in found):
            found.append(Verdict(kind, None, Reason.PENDING, jobstatus.NOTHING_YET))
    return found


SOURCE_REASONS = frozenset(
    {
        Reason.SOURCE_UNREACHABLE.value,
        Reason.SOURCE_EMPTY.value,
        Reason.SOURCE_NOT_ALLOWED.value,
        Reason.CREDENTIALS_REFUSED.value,
        Reason.SECRET_REFUSED.value,
    }
)


def sources_verdict(reason: str | None, message: str, *, good: bool) -> Verdict:
    """Return SourcesResolved for a finished Run."""
    if not good and reason in SOURCE_REASONS:
        return Verdict(ConditionType.SOURCES_RESOLVED, False, Reason(reason), message)
    return Verdict(ConditionType.SOURCES_RESOLVED, True, Reason.SUCCEEDED)


def _progress_age(old: DatasetStatus, now: datetime) -> float:
    return since(old.progress.updated if old.progress else None, now)
