"""What the passes of all kinds with Runs do alike: slots, frozen inputs, actions, overdue dependencies.

Called by the kinds' reconcile, so that a kind adds only what is its own. It reads nothing; the kind's `observe` has read everything.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.reasons import Reason
from gradatim.api.run import attempt_name
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator import applying, clock
from gradatim.operator.clock import since
from gradatim.operator.errors import DependencyError, TryLater
from gradatim.operator.kube import ApiUnreachable, Body
from gradatim.operator.passes import Context
from gradatim.operator.queue import Key
from gradatim.operator.runs.ending import ending
from gradatim.operator.runs.lifecycle import Block, Decision, postponed
from gradatim.operator.runs.model import Evidence, Step, Submit
from gradatim.operator.writing import fence

logger = logging.getLogger(__name__)
Trouble = tuple[Reason, str]
SHORT_WAIT = 3.0  # seconds
RELEASE_DELAY = 30.0  # seconds
KEPT_LONGEST = 604_800.0 + 3600.0  # seconds; the most that ttlSecondsAfterFinished may be, and time to shut down


def reads(key: Key, profile: str, datasets: Iterable[str]) -> list[Key]:
    """Return the keys whose change makes this object worth another look."""
    return [Key("computeprofiles", "", profile), *(Key("datasets", key.namespace, d) for d in datasets)]


def granted(
    context: Context, key: Key, profile: ComputeProfile | None, identity: StoreIdentity | None, run: RunStatus | None
) -> bool:
    """Return whether there is room for one more Run of this object, or for the one that has begun and may have given its slot back."""
    home = _home(profile, identity, active=run is not None and not run.done)
    if profile is None or home is None:
        return True
    limit = profile.spec.limits.max_concurrent_runs if home == profile.metadata.name else None
    return context.slots.may_start(key, home, limit)


def _home(profile: ComputeProfile | None, identity: StoreIdentity | None, *, active: bool) -> str | None:
    """Return the name of the profile that a Run is counted in: it stays with the one that it began on, whatever the spec says by now."""
    if active and identity is not None:
        return identity.profile
    return None if profile is None else profile.metadata.name


def count(
    context: Context, key: Key, profile: ComputeProfile | None, identity: StoreIdentity | None, decision: Decision
) -> None:
    """Count the Run in its profile's slots, and wake whoever waited for the one that ended, or is suspended."""
    run = decision.step.run
    lives = run is not None and not run.done
    home = _home(profile, identity, active=lives and decision.trigger is None)
    if decision.wants_slot and home is not None:
        context.wake.extend(context.slots.wait(key, home))
    elif not lives or decision.paused:
        context.wake.extend(context.slots.release(key))
    elif home is not None:
        context.wake.extend(context.slots.take(key, home))


def held_up(context: Context, key: Key, error: TryLater, now: datetime) -> Trouble:
    """Return what status says of a step that has to be taken later.

    Raises the error itself while the wait is short, since most are over before anybody could read of them, and where it is the API server
    that does not answer: then nothing can be written either.
    """
    if isinstance(error, DependencyError):
        context.metrics.dependency_errors.labels(error.dependency).inc()
        return error.reason, error.message
    first = context.unreachable_since.setdefault(key, now)
    if isinstance(error, ApiUnreachable) or (now - first).total_seconds() < SHORT_WAIT:
        raise error
    return error.reason, error.message


def timed(context: Context, key: Key, evidence: Evidence, now: datetime) -> Evidence:
    """Return what is known about the active attempt with when its runtime last answered.

    Kept for the life of the process: a new one counts from its own first look, which is later, and nothing is written for it.
    """
    if evidence.observed is not None:
        context.answered[key] = now
    return dataclasses.replace(evidence, answered=context.answered.setdefault(key, now))


async def act(
    context: Context,
    key: Key,
    body: Body,
    identity: StoreIdentity | None,
    decision: Decision,
    evidence: Evidence,
    *,
    now: datetime,
) -> tuple[Decision, list[Trouble]]:
    """Take the Run's actions. Returns what has really been decided and what did not answer. Raises `WillNeverWork`."""
    run, troubles = decision.step.run, list[Trouble]()
    if identity is None or run is None:
        return decision, troubles
    if decision.start is not None or decision.step.actions:
        await fence(context, key, body)
    if decision.start is not None:
        try:
            if decision.replaced is not None:
                await applying.discard(context.kube, context.edges, identity, body, decision.replaced)
            config = await applying.freeze(context.kube, body, decision.start)
        except TryLater as error:
            # Not started: status goes on naming the Run whose remains are still there.
            return postponed(decision), [held_up(context, key, error, now)]
        run = run.model_copy(update={"config_digest": config.digest})
    submits = any(isinstance(a, Submit) for a in decision.step.actions)
    try:
        try:
            await applying.take(decision.step.actions, context.edges, identity, applying.tenant_of(body), run, evidence)
        finally:
            if submits:  # also where the answer was lost: it may have been handed over until now
                context.answered[key] = clock.now()
        if submits:
            context.metrics.attempts.labels(key.plural).inc()
        wait = await _release(context, key, body, identity, run, now=now)
    except TryLater as error:
        troubles.append(held_up(context, key, error, now))
        run, wait = decision.step.held or run, error.delay
    requeue = decision.step.requeue if wait is None else wait
    return dataclasses.replace(decision, step=dataclasses.replace(decision.step, run=run, requeue=requeue)), troubles


def count_end(context: Context, key: Key, before: RunStatus | None, step: Step) -> None:
    """Count the Run that this pass has ended. Called once that is written: a conflict repeats the pass, and would repeat the count."""
    outcome = ending(before, step)
    if outcome is not None:
        context.metrics.finished.labels(key.plural, outcome.value).inc()


async def _release(
    context: Context, key: Key, body: Body, identity: StoreIdentity, run: RunStatus, *, now: datetime
) -> float | None:
    """See that the pods of a finished Run go when the profile says so; return when to look again.

    What is known to be gone is remembered for the life of the process only: a Run that is done never changes. Nothing about the object
    depends on this, so that a runtime that cannot be asked is a matter for the log.
    """
    if identity.runtime_type != "kuberay" or not run.done or not run.attempts or context.released.get(key) == run.name:
        return None
    last = run.attempts[-1]
    if since(last.finished_at, now) < KEPT_LONGEST:
        try:
            runtime = await context.edges.runtime(identity, applying.tenant_of(body))
            left = await runtime.release(attempt_name(run.name, last.number), last.finished_at)
        except DependencyError as error:
            logger.warning("whether pods of %s are kept is not known: %s", key, error)
            left = error.delay or RELEASE_DELAY
        if left > 0:
            return left
    context.released[key] = run.name
    return None


def waits_for_profile(decision: Decision) -> bool:
    """Return whether a dependency keeps the object waiting by way of its profile's probe."""
    return decision.block is not None and decision.block.reason is Reason.PROFILE_NOT_READY


def overdue(context: Context, key: Key, unknown: bool, now: datetime) -> bool:  # noqa: FBT001
    """Return whether a dependency of this object has been silent for longer than its deadline."""
    if not unknown:
        context.unreachable_since.pop(key, None)
        return False
    first = context.unreachable_since.setdefault(key, now)
    return (now - first).total_seconds() > context.settings.runs.dependency_deadline


def abandon(context: Context, key: Key, *, active: bool) -> None:
    """Give back the slot of a Run that was decided and could not start; one that has begun keeps it, and waits for none meanwhile."""
    leave = context.slots.step_back if active else context.slots.release
    context.wake.extend(leave(key))


def retry_in(
    context: Context, key: Key, block: Block | None, troubles: Sequence[Trouble], now: datetime
) -> float | None:
    """Return when to look again at what no event may announce: a silent dependency, or something that others must change.

    Ever later, the longer the silence: the profile's own probe tells its readers when it ends.
    """
    runs = context.settings.runs
    if troubles:
        silent = (now - context.unreachable_since.get(key, now)).total_seconds()
        return min(max(5 * runs.poll_min, silent / 4), 2 * runs.poll_max)
    if block is None:
        return None
    woken = block.stalled or block.reason is Reason.CONCURRENCY_LIMIT  # the latter when its turn comes
    return context.settings.resync if woken else runs.poll_max


def lagging(context: Context, key: Key, *, moving: bool, now: datetime) -> float | None:
    """Return when to read again what was just written to a store: at once, and ever later while the store shows the old value."""
    if not moving:
        context.moving_since.pop(key, None)
        return None
    waited = (now - context.moving_since.setdefault(key, now)).total_seconds()
    return min(waited / 2 + (0.1 if waited else 0.0), context.settings.runs.poll_max)


def soonest(*delays: float | None) -> float | None:
    """Return the shortest delay that is set."""
    return min((d for d in delays if d is not None), default=None)
