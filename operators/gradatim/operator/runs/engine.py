"""One step of a Run: the record to write next and the actions that the record, as read, already allows.

Called by the plans of Dataset and RAGIndex. Pure. The order is the safety: an attempt is written to status first, handed to the runtime in a
later pass, and replaced only when it is over.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Attempt, Failure, Outcome, RunStatus
from gradatim.operator.clock import parsed, rfc3339, since, within
from gradatim.operator.conditions import reason_of
from gradatim.operator.runs import attempts as rules
from gradatim.operator.runs.model import Discard, Evidence, Kill, Policy, RequestStop, Step, Submit
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

KEPT_ATTEMPTS = 20


def advance(
    run: RunStatus, evidence: Evidence, policy: Policy, settings: RunSettings, now: datetime, *, stop: str | None = None
) -> Step:
    """Return the next step of an active Run. `stop` asks for its end and says why: suspend, a new spec, deletion."""
    if run.done:
        return Step(run=run)
    asked = stop is not None or run.stop_requested_at is not None
    evidence = _dated(run, evidence, now)
    bounds = rules.Rules(policy, settings, now, asked)
    last = rules.judged(run.attempts[-1], evidence, bounds)
    current = run.model_copy(update={"attempts": [*run.attempts[:-1], last]})
    if last.outcome in rules.GOOD and evidence.result is not None:
        done = current.model_copy(update={"done": True, "succeeded": True})
        return Step(run=done, finished=evidence.result, reason=Reason.SUCCEEDED)
    if last.outcome in rules.OVER:
        return _after(current, last, evidence, policy, settings, now, stop)
    if asked:
        return _stopping(current, last, evidence, settings, now, stop or current.stop_reason or "")
    return _running(current, last, evidence, bounds)


def _dated(run: RunStatus, evidence: Evidence, now: datetime) -> Evidence:
    """Return the evidence with the end that the result tells of between the Run's beginning and now: a workload may write any time."""
    result = evidence.result
    if result is None:
        return evidence
    finished = within(result.finished, run.created, now)
    return dataclasses.replace(evidence, result=result.model_copy(update={"finished": finished}))


def _after(
    run: RunStatus,
    last: Attempt,
    evidence: Evidence,
    policy: Policy,
    settings: RunSettings,
    now: datetime,
    stop: str | None,
) -> Step:
    """The last attempt is over without success."""
    message = last.message or ""
    if last.outcome is Outcome.STOPPED or stop is not None:
        if policy.suspended:
            return Step(run=run, reason=Reason.SUSPENDED, message="suspended; resume continues from here")
        if stop is not None:
            # Without a digest it stands for no spec, so that one which is changed back gets a Run of its own.
            ended = run.model_copy(update={"done": True, "spec_digest": None})
            return Step(run=ended, reason=Reason.IN_PROGRESS, message=stop, requeue=0.0)
    retry = last.outcome is Outcome.STOPPED or rules.may_retry(run.attempts, policy.max_retries)
    if not retry:
        done = run.model_copy(update={"done": True, "succeeded": False})
        reason = reason_of(last.reason, Reason.USER_ERROR)
        if last.failure in rules.RETRYABLE:
            message = f"{len(run.attempts)} attempts failed, the last: {message}"
        return Step(
            run=done,
            finished=evidence.result,
            failure=last.failure or Failure.USER,
            reason=reason,
            message=message,
        )
    if last.outcome is not Outcome.STOPPED and run.not_before is None:
        wait = rules.retry_delay(run.attempts, settings)
        later = run.model_copy(update={"not_before": rfc3339(now + timedelta(seconds=wait))})
        return Step(run=later, reason=Reason.RETRYING, message=_retrying(last), requeue=wait)
    start = parsed(run.not_before)
    if start is not None and now < start:
        wait = (start - now).total_seconds()
        return Step(run=run, reason=Reason.RETRYING, message=_retrying(last), requeue=wait)
    attempts = [*run.attempts, Attempt(number=last.number + 1, recorded_at=rfc3339(now))]
    # Once status names them no more, nobody would find what is left of them.
    forgotten = tuple(Discard(a.number) for a in attempts[:-KEPT_ATTEMPTS])
    update = {
        "attempts": attempts[-KEPT_ATTEMPTS:],
        "not_before": None,
        "stop_requested_at": None,
        "stop_reason": None,
    }
    held = run if forgotten else None
    message = f"attempt {last.number + 1} is recorded: attempt {last.number} {_ended(last)}"
    return Step(
        run.model_copy(update=update), forgotten, reason=Reason.RECORDED, message=message, requeue=0.0, held=held
    )


def _ended(last: Attempt) -> str:
    return "was stopped" if last.outcome is Outcome.STOPPED else f"failed ({last.failure})"


def _retrying(last: Attempt) -> str:
    return f"attempt {last.number} failed ({last.failure}): {last.message or 'no message'}; another follows"


def _stopping(
    run: RunStatus, last: Attempt, evidence: Evidence, settings: RunSettings, now: datetime, reason: str
) -> Step:
    observed = evidence.observed
    if last.outcome is Outcome.RECORDED and observed is not None and observed.phase is Phase.ABSENT:
        never = last.model_copy(update={"outcome": Outcome.STOPPED, "finished_at": rfc3339(now)})
        return Step(run=run.model_copy(update={"attempts": [*run.attempts[:-1], never]}), requeue=0.0, message=reason)
    if run.stop_requested_at is None:
        asked = run.model_copy(update={"stop_requested_at": rfc3339(now), "stop_reason": reason})
        return Step(run=asked, actions=(RequestStop(reason),), message=f"stopping: {reason}", requeue=settings.poll_min)
    waited = since(run.stop_requested_at, now)
    if waited < settings.stop_grace and not (observed is not None and observed.waiting):
        return Step(run=run, actions=(RequestStop(reason),), message=f"stopping: {reason}", requeue=settings.poll_min)
    return Step(
        run=run, actions=(Kill(last.number),), message=f"stopping by force: {reason}", requeue=settings.poll_min
    )


def _running(run: RunStatus, last: Attempt, evidence: Evidence, bounds: rules.Rules) -> Step:
    observed, settings, now = evidence.observed, bounds.settings, bounds.now
    if last.outcome is Outcome.RECORDED and observed is not None and observed.phase is Phase.ABSENT:
        message = f"attempt {last.number} is being handed to the runtime"
        actions = (Submit(last.number),)
        return Step(run=run, actions=actions, reason=Reason.IN_PROGRESS, message=message, requeue=settings.poll_min)
    kill = (Kill(last.number),)
    if rules.past_deadline(last, bounds):
        message = f"{rules.overrun(last, bounds)}; stopping the attempt"
        return Step(run, kill, reason=Reason.DEADLINE_EXCEEDED, message=message, requeue=settings.poll_min)
    if rules.silent(last, evidence, bounds) and observed is not None and rules.lost(evidence):
        message = f"{observed.message or 'its node does not answer'}; no sign of life either, stopping the attempt"
        return Step(run, kill, reason=Reason.NODE_LOST, message=message, requeue=settings.poll_min)
    if rules.silent(last, evidence, bounds) and rules.unshown(last, evidence):
        update = {"reason": Reason.STORE_NOT_READABLE.value, "message": rules.UNSHOWN}
        blamed = run.model_copy(update={"attempts": [*run.attempts[:-1], last.model_copy(update=update)]})
        message = f"{rules.UNSHOWN}; stopping the attempt"
        return Step(blamed, kill, reason=Reason.STORE_NOT_READABLE, message=message, requeue=settings.poll_min)
    if rules.silent(last, evidence, bounds):
        message = f"no sign of life for {settings.heartbeat_timeout:g} s; stopping the attempt"
        return Step(run, kill, reason=Reason.HEARTBEAT_LOST, message=message, requeue=settings.poll_min)
    age = since(last.resumed_at or last.started_at or last.recorded_at, now)
    wait = min(max(age / 10, settings.poll_min), settings.poll_max)
    message = "; ".join(evidence.unknown) or _told(last, observed)
    reason = Reason.QUEUED if observed is not None and observed.waiting else Reason.IN_PROGRESS
    return Step(run=run, reason=reason, message=message, requeue=wait)


def _told(last: Attempt, observed: Observed | None) -> str:
    """Return how the attempt stands, with what its runtime says about it."""
    if observed is None or not observed.message or (observed.phase is Phase.RUNNING and not observed.lost):
        return f"attempt {last.number} is running"
    doing = "is pending" if observed.phase is Phase.PENDING else "may be running"
    return f"attempt {last.number} {doing}: {observed.message}"
