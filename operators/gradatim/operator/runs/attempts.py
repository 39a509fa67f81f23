"""How the active attempt stands, and whether another one may follow.

Called by `engine`. An attempt is over only when a result bears its stamp, when the runtime proves that it ended, or when its fence deadline
has passed: two workers writing one checkpoint folder would corrupt what a day of work has paid for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from gradatim.api.reasons import Reason
from gradatim.api.run import STORE_FULL_STATUS
from gradatim.api.runstatus import Attempt, Failure, Outcome
from gradatim.operator.clock import rfc3339, since
from gradatim.operator.conditions import clipped, reason_of
from gradatim.operator.runs import waiting
from gradatim.operator.runs.model import Evidence, Policy
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

OVER = frozenset({Outcome.SUCCEEDED, Outcome.UNCHANGED, Outcome.STOPPED, Outcome.FAILED, Outcome.GONE})
GOOD = frozenset({Outcome.SUCCEEDED, Outcome.UNCHANGED})
ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED, Phase.ABSENT})
RETRYABLE = frozenset({Failure.NODE_LOST, Failure.PREEMPTED, Failure.DEPENDENCY, Failure.OUT_OF_MEMORY})
UNSEEN_RESULT = (
    "its process says that it has written its result, and the artifact store that the operator reads holds none: "
    "operatorSecretName and workloadSecretName, or the volumes, must lead to the same store"
)
UNSHOWN = (
    "it runs, and nothing that it writes shows in the artifact store that the operator reads: operatorSecretName and "
    "workloadSecretName, or the volumes, must lead to the same store"
)
CAPS = {Failure.OUT_OF_MEMORY: 1}
LOST_SHARE = 3  # of the patience with a silent attempt, where its node does not answer either
STORE_FULL = "the disk of the artifact store is full, so that it could not even write its result: free space there"
_FULL_SIGN = re.compile(rf"exit code {STORE_FULL_STATUS}\b")
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


@dataclass(frozen=True, slots=True)
class Rules:
    """What an attempt is judged by. `asked`: the operator has asked it to stop."""

    policy: Policy
    settings: RunSettings
    now: datetime
    asked: bool = False


def judged(attempt: Attempt, evidence: Evidence, rules: Rules) -> Attempt:
    """Return the attempt as the evidence shows it. An attempt that is over never changes again."""
    if attempt.outcome in OVER:
        return attempt
    now = rules.now
    seen = waiting.followed(_with_heartbeat(attempt, evidence), evidence.observed, now)
    if evidence.rejected is not None and _ended(evidence):
        return _failed(seen, Failure.USER, Reason.RESULT_REJECTED, evidence.rejected, now)
    result = evidence.result
    if result is not None:
        if result.outcome == "Failed":
            if not (_ended(evidence) or _past_fence(seen, evidence, rules)):
                return seen  # it may still hold the checkpoint folder
            failure = result.failure or Failure.USER
            reason = reason_of(result.reason, REASONS[failure])
            return _failed(seen, failure, reason, result.message, now)
        if result.outcome == "Stopped" and not (_ended(evidence) or _past_fence(seen, evidence, rules)):
            return seen
        if result.outcome == "Stopped" and not rules.asked:
            if past_deadline(seen, rules):
                return _failed(seen, Failure.DEADLINE, Reason.DEADLINE_EXCEEDED, overrun(seen, rules), now)
            message = result.message or "the workload stopped although nobody had asked it to"
            return _failed(seen, Failure.PREEMPTED, Reason.PREEMPTED, message, now)
        update = {
            "outcome": Outcome(result.outcome),
            "finished_at": result.finished,
            "message": clipped(result.message),
            "reason": None,
        }
        return seen.model_copy(update=update)
    return _without_result(seen, evidence, rules)


def _without_result(attempt: Attempt, evidence: Evidence, rules: Rules) -> Attempt:
    observed, settings, now = evidence.observed, rules.settings, rules.now
    if attempt.outcome is Outcome.RECORDED and observed is not None and observed.phase is Phase.ABSENT:
        return attempt  # never started, however long ago it was recorded
    if attempt.outcome is Outcome.RECORDED and observed is not None and observed.phase not in ENDED:
        # It may have been handed over long after it was recorded: its time runs from now, and it is not given up while it is seen.
        return attempt.model_copy(update={"outcome": Outcome.RUNNING, "started_at": rfc3339(now)})
    if _past_fence(attempt, evidence, rules) and not _ended(evidence) and not evidence.unread:
        return _gone(attempt, rules)
    if observed is None:
        return attempt
    if observed.phase not in ENDED:
        running = {"outcome": Outcome.RUNNING, "started_at": attempt.started_at or rfc3339(now)}
        return attempt.model_copy(update=running)
    if evidence.unread:
        return attempt  # the result may be there; the store just does not answer
    ended = observed.finished_at or attempt.finished_at
    if ended is None:
        return attempt.model_copy(update={"finished_at": rfc3339(now)})
    if since(ended, now) < settings.result_grace:
        return attempt
    return _died(attempt, observed, ended, rules)


def _died(attempt: Attempt, observed: Observed, ended: str, rules: Rules) -> Attempt:
    """The process has ended and left no result."""
    now = rules.now
    vanished = observed.phase in {Phase.STOPPED, Phase.ABSENT} or observed.failure is Failure.NODE_LOST
    if vanished and rules.asked:
        return attempt.model_copy(update={"outcome": Outcome.STOPPED, "finished_at": ended})
    if past_deadline(attempt, rules):
        return _failed(attempt, Failure.DEADLINE, Reason.DEADLINE_EXCEEDED, overrun(attempt, rules), now)
    if observed.phase is Phase.SUCCEEDED or attempt.reason == Reason.STORE_NOT_READABLE.value:
        return _failed(attempt, Failure.DEPENDENCY, Reason.STORE_NOT_READABLE, attempt.message or UNSEEN_RESULT, now)
    if observed.phase is Phase.STOPPED and observed.failure is None:
        message = "it was stopped, for want of a sign of life or from outside"
        return _failed(attempt, Failure.NODE_LOST, Reason.HEARTBEAT_LOST, message, now)
    if _FULL_SIGN.search(observed.message):
        return _failed(attempt, Failure.DEPENDENCY, Reason.STORE_UNREACHABLE, STORE_FULL, now)
    failure = observed.failure or Failure.NODE_LOST
    if any(s in observed.message.lower() for s in _OOM_SIGNS):
        failure = Failure.OUT_OF_MEMORY
    what = "the runtime no longer knows it" if observed.phase is Phase.ABSENT else "its process ended"
    return _failed(attempt, failure, REASONS[failure], f"{what} without a result. {observed.message}".strip(), now)


def _gone(attempt: Attempt, rules: Rules) -> Attempt:
    """Give up an attempt that nobody can see. One that was never seen running has not used up the user's deadline."""
    if attempt.outcome is Outcome.RECORDED:
        failure, reason, message = Failure.DEPENDENCY, Reason.RUNTIME_UNREACHABLE, "it was never seen to start"
    else:
        failure, reason, message = Failure.DEADLINE, Reason.DEADLINE_EXCEEDED, overrun(attempt, rules)
    update = {"outcome": Outcome.GONE, "failure": failure, "message": message, "reason": reason.value}
    return attempt.model_copy(update=update | {"finished_at": rfc3339(rules.now)})


def overrun(attempt: Attempt, rules: Rules) -> str:
    """Return which time is over, for a person."""
    if waiting.waited(attempt, rules.now) > rules.settings.queue_deadline:
        return f"it waited more than {rules.settings.queue_deadline:g} s in a queue; ask whoever runs the queue"
    return f"no result {rules.policy.deadline} s after the start: activeDeadlineSeconds"


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


def past_deadline(attempt: Attempt, rules: Rules) -> bool:
    """Return whether a started attempt has used up its time; what is left until the fence is for ending it."""
    if waiting.waited(attempt, rules.now) > rules.settings.queue_deadline:
        return True
    return attempt.started_at is not None and waiting.elapsed(attempt, rules.now) > rules.policy.deadline


def _past_fence(attempt: Attempt, evidence: Evidence, rules: Rules) -> bool:
    """Return whether the attempt's process must have ended by itself.

    One that was never seen to start may have been handed over whenever the runtime answered, however long ago it was recorded: counted from
    the record, its fence would have passed with an outage, and the first look that fails would start another attempt beside it.
    """
    elapsed = waiting.elapsed(attempt, rules.now)
    if attempt.started_at is None and evidence.answered is not None:
        elapsed = min(elapsed, (rules.now - evidence.answered).total_seconds())
    return elapsed > rules.policy.deadline + rules.settings.deadline_grace


def silent(attempt: Attempt, evidence: Evidence, rules: Rules) -> bool:
    """Return whether a running attempt has stopped giving signs of life although the store answers.

    One that waits for room in its runtime owes none before its first.
    """
    if attempt.outcome is not Outcome.RUNNING or evidence.unread or evidence.observed is None:
        return False
    heartbeat = evidence.progress.heartbeat if evidence.progress is not None else None
    if evidence.observed.phase is Phase.PENDING and not waiting.heard(attempt, heartbeat):
        return False
    patience = rules.settings.heartbeat_timeout / (LOST_SHARE if lost(evidence) else 1)
    return waiting.quiet_for(attempt, heartbeat, evidence.observed, rules.now) > patience


def lost(evidence: Evidence) -> bool:
    """Return whether the runtime says that the node of the process does not answer."""
    observed = evidence.observed
    return observed is not None and observed.lost and observed.phase is not Phase.PENDING


def unshown(attempt: Attempt, evidence: Evidence) -> bool:
    """Return whether nothing that a running attempt wrote was ever seen, in a store that answers."""
    return attempt.heartbeat_at is None and evidence.progress is None and not evidence.unread


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
