"""The conditions that every kind with Runs has in common.

Called by the `status` modules of Dataset and RAGIndex, so that GitOps tools read one meaning everywhere (the table in the API
documentation). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradatim.api.meta import Condition, State
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import RunResult
from gradatim.api.runstatus import Attempt, Outcome, Progress, ReasonCounts, RunStatus, ValidationSummary
from gradatim.operator.conditions import SHORT_LIMIT, Verdict, clipped, find
from gradatim.operator.runs.attempts import GOOD
from gradatim.operator.runs.lifecycle import Decision
from gradatim.operator.runs.triggers import ASKED
from gradatim.operator.runtimes.base import Observed

NOT_STARTED = "Not started"
NOTHING_YET = "no Run has finished yet"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the common conditions depend on."""

    decision: Decision
    suspended: bool
    serving: bool
    serving_message: str
    failed: tuple[Reason, str] | None  # why the last finished Run, or a gate, left the object behind its spec
    unknown: tuple[str, ...] = ()  # dependencies that did not answer in this pass
    overdue: bool = False  # they have not answered for longer than their deadline
    unknown_reason: Reason = Reason.RETRYING
    beside: tuple[Reason, str] | None = None  # what somebody has to put right although Runs go on


def common(facts: Facts, known: Sequence[Condition]) -> list[Verdict]:
    """Return Ready, Reconciling, Stalled, Suspended and Current. `known` are the conditions so far."""
    decision, run = facts.decision, facts.decision.step.run
    active = run is not None and not run.done
    asked = active and run is not None and run.trigger in ASKED
    block = decision.block
    waiting = (block is not None and not block.stalled) or bool(facts.unknown)
    reconciling = (asked or decision.behind or waiting) and not facts.suspended
    stalled = _stalled(facts, active=active)
    if stalled is not None:
        reconciling = False
    progress = (decision.step.reason, decision.step.message)
    if block is not None:
        progress = (block.reason, block.message)
    if facts.unknown and (block is None or block.reason is Reason.PROMOTING):
        progress = (facts.unknown_reason, "; ".join(facts.unknown))
    found = [
        Verdict(ConditionType.RECONCILING, reconciling, *(progress if reconciling else (Reason.SUCCEEDED, ""))),
        Verdict(ConditionType.STALLED, stalled is not None, *(stalled or (Reason.SUCCEEDED, ""))),
        _suspended(facts, known),
        _ready(facts, progress, active=active, stalled=stalled),
    ]
    if facts.failed is not None:
        found.append(Verdict(ConditionType.CURRENT, False, *facts.failed))
    elif active or block is not None:
        if asked or not facts.serving:
            found.append(Verdict(ConditionType.CURRENT, False if facts.serving else None, *progress))
    elif facts.serving and run is not None and run.done and run.succeeded and not decision.behind:
        found.append(Verdict(ConditionType.CURRENT, True, Reason.SUCCEEDED, facts.serving_message))
    return found


def _suspended(facts: Facts, known: Sequence[Condition]) -> Verdict:
    """Return Suspended, which was resumed only if it was suspended before.

    A Resumed stays, also one that an earlier release gave to an object that never was suspended: an upgrade rewrites no status.
    """
    if facts.suspended:
        return Verdict(ConditionType.SUSPENDED, True, Reason.SUSPENDED, "spec.suspend is set")
    before = find(known, ConditionType.SUSPENDED)
    resumed = before is not None and (before.status == "True" or before.reason == Reason.RESUMED)
    return Verdict(ConditionType.SUSPENDED, False, Reason.RESUMED if resumed else Reason.NOT_SUSPENDED)


def _stalled(facts: Facts, *, active: bool) -> tuple[Reason, str] | None:
    if facts.suspended:
        return None
    block, run = facts.decision.block, facts.decision.step.run
    if block is not None and block.stalled:
        return block.reason, block.message
    if block is not None and block.reason is Reason.PROFILE_NOT_READY and facts.overdue:
        return block.reason, block.message
    if facts.unknown and facts.overdue:
        return facts.unknown_reason, "; ".join(facts.unknown)
    if facts.failed is not None and not active and block is None and run is not None and run.trigger in ASKED:
        return facts.failed
    return facts.beside


def _ready(facts: Facts, progress: tuple[Reason, str], *, active: bool, stalled: tuple[Reason, str] | None) -> Verdict:
    if facts.serving:
        return Verdict(ConditionType.READY, True, Reason.SUCCEEDED, facts.serving_message)
    if stalled is not None and not (active and stalled == facts.beside):
        return Verdict(ConditionType.READY, False, *stalled)
    if facts.suspended:
        return Verdict(ConditionType.READY, False, Reason.SUSPENDED, "suspended before a first version was ready")
    if facts.failed is not None and not active and facts.decision.block is None:
        return Verdict(ConditionType.READY, False, *facts.failed)
    return Verdict(ConditionType.READY, False if facts.decision.block is not None else None, *progress)


def state(verdicts: list[Verdict], run: RunStatus | None, *, degraded: bool = False) -> State:
    """Return the flat summary."""
    by_type = {v.type: v for v in verdicts}
    active = run is not None and not run.done
    if by_type[ConditionType.SUSPENDED].status:
        return State.SUSPENDED
    queued = by_type.get(ConditionType.QUEUED)
    if active and queued is not None and queued.status and by_type[ConditionType.READY].status is not True:
        return State.QUEUED
    reconciling = by_type[ConditionType.RECONCILING]
    if active and by_type[ConditionType.READY].status is not True:
        resumes = reconciling.status and reconciling.reason is Reason.CONCURRENCY_LIMIT
        return State.QUEUED if resumes else State.RUNNING
    if by_type[ConditionType.READY].status is True:
        return State.DEGRADED if degraded else State.READY
    if by_type[ConditionType.STALLED].status:
        return State.FAILED
    if reconciling.status and reconciling.reason in {Reason.CONCURRENCY_LIMIT, Reason.QUEUED}:
        return State.QUEUED
    return State.PENDING if reconciling.status or run is None else State.FAILED


def queueing(observed: Observed | None, run: RunStatus | None, known: Sequence[Condition]) -> list[Verdict]:
    """Return Queued, Admitted and Evicted as the queue before the runtime says; nothing where there never was one.

    They stay as they are while the queue cannot be asked, and end with the Run.
    """
    found = observed.queueing if observed is not None else None
    if found is not None and run is not None and not run.done:
        said = {
            ConditionType.QUEUED: found.queued,
            ConditionType.ADMITTED: found.admission,
            ConditionType.EVICTED: found.eviction,
        }
        return [Verdict(kind, s.status, s.reason, s.message) for kind, s in said.items()]
    if (run is None or run.done) and find(known, ConditionType.QUEUED) is not None:
        ended = (ConditionType.QUEUED, ConditionType.ADMITTED, ConditionType.EVICTED)
        return [Verdict(kind, False, "RunEnded") for kind in ended]
    return []


def data_valid(summary: ValidationSummary, noun: str, message: str, *, good: bool) -> Verdict:
    """Return DataValid: True when nothing failed, or when quarantine took out what did; `message` is the Run's own."""
    warned = summary.warned
    told = f"{summary.failed - warned} failed" + (f" and {warned} warned" if warned else "")
    text = f"{summary.evaluated} expectations, {told}; {summary.rejected} of {summary.rows} {noun} rejected"
    if summary.success or good:
        return Verdict(ConditionType.DATA_VALID, True, Reason.SUCCEEDED, text)
    return Verdict(ConditionType.DATA_VALID, False, Reason.DATA_INVALID, message or text)


def rejections(result: RunResult | None, known: ReasonCounts) -> ReasonCounts:
    """Return what was rejected in what serves or was read last: the known where the Run found its sources unchanged and read nothing."""
    return known if result is None or result.read_nothing else result.rejections


def shown(progress: Progress | None, run: RunStatus | None) -> Progress | None:
    """Return the progress to show: none once the Run is over."""
    return None if run is None or run.done else progress


def throttled(known: Progress | None, new: Progress | None, *, seconds: float, interval: float) -> Progress | None:
    """Return the progress to write: the new one on a change of stage, or after 5 % and `interval` seconds; else the known."""
    if known is None or new is None or known.stage != new.stage:
        return new
    return new if new.percent - known.percent >= 5 and seconds >= interval else known


def text(progress: Progress | None, run: RunStatus | None) -> str | None:
    """Return the printer column: stage and percent, or how the last Run ended."""
    if run is None:
        return None
    if not run.done:
        said = f"{progress.stage} {progress.percent}%" if progress is not None else _waiting(run.attempts)
        return None if said is None else clipped(said, SHORT_LIMIT)
    if run.succeeded:
        last = run.attempts[-1].outcome if run.attempts else Outcome.SUCCEEDED
        return last.value if last in GOOD else "Done"
    return "Failed"


def _waiting(attempts: list[Attempt]) -> str:
    if not attempts:
        return "Pending"
    return "Queued" if attempts[-1].waiting_since is not None else attempts[-1].outcome.value
