"""How the active attempt stands, and whether another one may follow.

Called by `engine`. An attempt is over only when a result bears its stamp, when the runtime proves that it ended, or when its fence deadline
has passed: two workers writing one checkpoint folder would corrupt what a day of work has paid for.
"""

from __future__ import annotations

from datetime import datetime

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Attempt, Failure, Outcome
from gradatim.operator.clock import rfc3339, since
from gradatim.operator.conditions import clipped, reason_of
from gradatim.operator.runs.model import Evidence, Policy
from gradatim.operator.runtimes.base import Phase
from gradatim.operator.settings import RunSettings

OVER = frozenset({Outcome.SUCCEEDED, Outcome.UNCHANGED, Outcome.STOPPED, Outcome.FAILED, Outcome.GONE})
GOOD = frozenset({Outcome.SUCCEEDED, Outcome.UNCHANGED})
ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED, Phase.ABSENT})
RETRYABLE = frozenset({Failure.NODE_LOST, Failure.PREEMPTED, Failure.DEPENDENCY, Failure.OUT_OF_MEMORY})
CAPS = {Failure.OUT_OF_MEMORY: 1}
_OOM_SIGNS = ("outofmemory", "out of memory", "oom", "exit code 137")
REASONS = {
    Failure.USER: Reason.USER_ERROR,
    Failure.DATA: Reason.DATA_INVALID,
    Failure.NODE_LOST: Reason.NODE_LOST,
    Failure.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    Failure.PREEMPTED: Reason.PREEMPTED,
    Failure.DEPENDENCY: Reason.RETRYING,
    Failure.DEADLINE: Reason.DEADLINE_EXCEEDED,
}


def judged(attempt: Attempt, evidence: Evidence, policy: Policy, settings: RunSettings, now: datetime) -> Attempt:
    """Return the attempt as the evidence shows it. An attempt that is over never changes again."""
    if attempt.outcome in OVER:
        return attempt
    seen = _with_heartbeat(attempt, evidence)
    if evidence.rejected is not None and _ended(evidence):
        return _failed(seen, Failure.USER, Reason.RESULT_REJECTED, evidence.rejected, now)
    result = evidence.result
    if result is not None:
        if result.outcome == "Failed":
            if not (_ended(evidence) or _past_fence(attempt, policy, settings, now)):
                return seen  # it may still hold the checkpoint folder
            failure = result.failure or Failure.USER
            reason = reason_of(result.reason, REASONS[failure])
            return _failed(seen, failure, reason, result.message, now)
        if result.outcome == "Stopped" and not _ended(evidence):
            return seen
        update = {
            "outcome": Outcome(result.outcome),
            "finished_at": result.finished,
            "message": clipped(result.message),
        }
        return seen.model_copy(update=update)
    return _without_result(seen, evidence, policy, settings, now)


def _without_result(
    attempt: Attempt, evidence: Evidence, policy: Policy, settings: RunSettings, now: datetime
) -> Attempt:
    observed = evidence.observed
    if _past_fence(attempt, policy, settings, now):
        message = f"no result {policy.deadline} s after the start: activeDeadlineSeconds"
        if observed is None or observed.phase not in ENDED:
            return attempt.model_copy(
                update={
                    "outcome": Outcome.GONE,
                    "failure": Failure.DEADLINE,
                    "message": message,
                    "reason": Reason.DEADLINE_EXCEEDED.value,
                    "finished_at": rfc3339(now),
                }
            )
        return _failed(attempt, Failure.DEADLINE, Reason.DEADLINE_EXCEEDED, message, now)
    if observed is None or (attempt.outcome is Outcome.RECORDED and observed.phase is Phase.ABSENT):
        return attempt
    if observed.phase not in ENDED:
        running = {"outcome": Outcome.RUNNING, "started_at": attempt.started_at or rfc3339(now)}
        return attempt.model_copy(update=running)
    if evidence.unknown:
        return attempt  # the result may be there; the store just does not answer
    ended = observed.finished_at or attempt.finished_at
    if ended is None:
        return attempt.model_copy(update={"finished_at": rfc3339(now)})
    if since(ended, now) < settings.result_grace:
        return attempt
    if observed.phase is Phase.STOPPED:
        return attempt.model_copy(update={"outcome": Outcome.STOPPED, "finished_at": ended})
    failure = Failure.OUT_OF_MEMORY if any(s in observed.message.lower() for s in _OOM_SIGNS) else Failure.NODE_LOST
    what = "the runtime no longer knows it" if observed.phase is Phase.ABSENT else "its process ended"
    return _failed(attempt, failure, REASONS[failure], f"{what} without a result. {observed.message}".strip(), now)


def _with_heartbeat(attempt: Attempt, evidence: Evidence) -> Attempt:
    """Keep the first heartbeat only: later ones are read from the store, not written to status on every poll."""
    if evidence.progress is None or attempt.heartbeat_at is not None:
        return attempt
    return attempt.model_copy(update={"heartbeat_at": evidence.progress.heartbeat})


def _failed(attempt: Attempt, failure: Failure, reason: Reason, message: str, now: datetime) -> Attempt:
    update = {"outcome": Outcome.FAILED, "failure": failure, "reason": reason.value, "message": clipped(message)}
    return attempt.model_copy(update=update | {"finished_at": attempt.finished_at or rfc3339(now)})


def _ended(evidence: Evidence) -> bool:
    return evidence.observed is not None and evidence.observed.phase in ENDED


def _past_fence(attempt: Attempt, policy: Policy, settings: RunSettings, now: datetime) -> bool:
    start = attempt.started_at or attempt.recorded_at
    return start is not None and since(start, now) > policy.deadline + settings.deadline_grace


def silent(attempt: Attempt, evidence: Evidence, settings: RunSettings, now: datetime) -> bool:
    """Return whether a running attempt has stopped giving signs of life although the store answers."""
    if attempt.outcome is not Outcome.RUNNING or evidence.unknown:
        return False
    last = evidence.progress.heartbeat if evidence.progress is not None else attempt.started_at
    return last is not None and since(last, now) > settings.heartbeat_timeout


def may_retry(attempts: list[Attempt], max_retries: int) -> bool:
    """Return whether another attempt may follow the last one. Attempts that were stopped on request do not count."""
    last = attempts[-1]
    if last.outcome not in {Outcome.FAILED, Outcome.GONE} or last.failure not in RETRYABLE:
        return False
    failed = [a for a in attempts if a.outcome in {Outcome.FAILED, Outcome.GONE}]
    same = sum(1 for a in failed if a.failure is last.failure)
    return len(failed) <= max_retries and same <= CAPS.get(last.failure, max_retries)


def retry_delay(attempts: list[Attempt], settings: RunSettings) -> float:
    """Return the seconds to wait before the attempt after these: exponential in the failures so far."""
    failures = sum(1 for a in attempts if a.outcome in {Outcome.FAILED, Outcome.GONE})
    return float(min(settings.retry_max, settings.retry_base * 2 ** min(failures - 1, 20)))
