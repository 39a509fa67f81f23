"""From "what is due" and "how does the active Run stand" to one decision per pass.

Called by the plans of Dataset and RAGIndex, which add what is particular to them. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gradatim.api.common import Retry
from gradatim.api.reasons import Reason
from gradatim.api.run import MAX_DOCUMENT_BYTES, RunConfig
from gradatim.api.runstatus import Attempt, RunStatus
from gradatim.operator.clock import rfc3339
from gradatim.operator.errors import explained
from gradatim.operator.naming import run_name
from gradatim.operator.runs.attempts import OVER
from gradatim.operator.runs.engine import advance
from gradatim.operator.runs.model import Evidence, Policy, Step, Trigger
from gradatim.operator.runs.triggers import ASKED, Known, due, restores, stands_for, superseded
from gradatim.operator.settings import RunSettings

MAX_CONFIG_BYTES = MAX_DOCUMENT_BYTES - 1024  # a ConfigMap holds 1 MiB, its keys included


@dataclass(frozen=True, slots=True)
class Block:
    """Why no Run can start. `stalled`: somebody has to act; otherwise it clears by itself."""

    reason: Reason
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What the lifecycle needs to know besides the object. `extra` goes before all that is due, and `barred` says why even that cannot."""

    evidence: Evidence
    block: Block | None
    granted: bool
    make_config: Callable[[RunStatus, Trigger], RunConfig]
    now: datetime
    settings: RunSettings
    frozen: bool = False
    extra: Trigger | None = None
    barred: Block | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to Runs in this pass. `start` carries the config to freeze; `replaced` is the Run that made room.

    `behind`: the last or active Run was not made for this spec or request, and one that is will follow. `paused`: it is suspended and no
    attempt is under way, so that it holds no slot.
    """

    step: Step
    start: RunConfig | None = None
    trigger: Trigger | None = None
    replaced: RunStatus | None = None
    block: Block | None = None
    wants_slot: bool = False
    behind: bool = False
    paused: bool = False


def policy(retry: Retry, deadline: int, evidence: Evidence, *, suspended: bool) -> Policy:
    """Return what the spec says about a Run; the deadline that was frozen with the inputs may be shorter, by the profile's limit."""
    frozen = deadline if evidence.config is None else evidence.config.deadline_seconds
    return Policy(max_retries=retry.max_retries, deadline=min(deadline, frozen), suspended=suspended)


def decide(known: Known, policy: Policy, situation: Situation) -> Decision:
    """Return the decision of this pass."""
    if known.unknown:
        known, situation = _with_what_is_known(known, situation)
    decision = _decide(known, policy, situation)
    run = decision.step.run
    behind = not situation.frozen and (run is None or run.spec_digest != known.spec_digest)
    paused = policy.suspended and run is not None and not run.done and run.attempts[-1].outcome in OVER
    return dataclasses.replace(decision, behind=behind, paused=paused)


def postponed(decision: Decision) -> Decision:
    """Return what a pass has decided that could not start what it meant to: the Run stays as it was read, and the trigger stays due.

    Whoever asked for a Run that is still to come must not be told how the one before it ended.
    """
    asked = decision.trigger is not None and decision.trigger.cause in ASKED  # every other spec is asked for
    stays = Step(run=decision.replaced or decision.step.held)
    return dataclasses.replace(decision, step=stays, start=None, trigger=None, behind=decision.behind or asked)


def _decide(known: Known, policy: Policy, situation: Situation) -> Decision:
    run = known.run
    if run is not None and not run.done:
        return _active(run, known, policy, situation)
    trigger, block = situation.extra, situation.barred
    if policy.suspended or (situation.frozen and trigger is None):
        return Decision(Step(run=run))
    if trigger is None:
        trigger, block = due(known, situation.now), situation.block
    if trigger is None or block is not None:
        return Decision(Step(run=run), block=block)
    if not situation.granted:
        return _queued(run)
    fresh = RunStatus(
        name=run_name(known.metadata.name, known.metadata.uid or "", trigger.id),
        trigger=trigger.cause,
        generation=known.metadata.generation or 0,
        spec_digest=stands_for(known, trigger),
        created=rfc3339(situation.now),
        attempts=[Attempt(number=1, recorded_at=rfc3339(situation.now))],
    )
    config = _inputs(situation, fresh, trigger)
    if isinstance(config, Block):
        return Decision(Step(run=run), block=config)
    fresh = fresh.model_copy(update={"config_digest": config.digest})
    step = Step(run=fresh, reason=Reason.RECORDED, message="the inputs are frozen", requeue=0.0)
    return Decision(step, start=config, trigger=trigger, replaced=run)


def _with_what_is_known(known: Known, situation: Situation) -> tuple[Known, Situation]:
    """Return the same where nothing may be begun, since only a newer release knows the whole spec; what is under way goes on.

    Whether the Run was made for that spec cannot be told: it is taken for the one that was.
    """
    names = ", ".join(known.unknown[:5])
    message = f"the spec has fields that this release of the operator does not know: {names}; upgrade the operator, or take them out"
    digest = known.run.spec_digest if known.run is not None else None
    known = dataclasses.replace(known, spec_digest=digest or known.spec_digest)
    block = Block(Reason.INVALID_SPEC, message[:900], stalled=True)
    return known, dataclasses.replace(situation, block=block, barred=block)


def _queued(run: RunStatus | None) -> Decision:
    """Return that a Run waits for its turn."""
    block = Block(Reason.CONCURRENCY_LIMIT, "the profile's limit of concurrent Runs is reached")
    return Decision(Step(run=run), block=block, wants_slot=True)


def _inputs(situation: Situation, run: RunStatus, trigger: Trigger) -> RunConfig | Block:
    """Return the config of a Run, or why there can be none: what was admitted may still not fit into the run contract."""
    try:
        config = situation.make_config(run, trigger)
    except ValueError as error:
        return Block(Reason.INVALID_SPEC, f"the inputs of a Run cannot be made: {explained(error)}", stalled=True)
    size = len(config.model_dump_json(by_alias=True, exclude_none=True).encode())
    if size <= MAX_CONFIG_BYTES:
        return config
    message = f"the inputs of a Run take {size} bytes of {MAX_CONFIG_BYTES}; shorten the longest lists and kwargs"
    return Block(Reason.INVALID_SPEC, message, stalled=True)


def _active(run: RunStatus, known: Known, policy: Policy, situation: Situation) -> Decision:
    stop = None
    if superseded(known):
        stop = "the spec has changed"
    elif policy.suspended:
        stop = "suspended"
    paused = policy.suspended and stop == "suspended"
    if paused and run.attempts[-1].outcome.value == "Stopped":
        return Decision(Step(run=run, reason=Reason.SUSPENDED, message="suspended"))
    waits = not situation.granted and stop is None and run.attempts[-1].outcome in OVER  # it has given its slot back
    block = situation.barred if restores(run) else situation.block
    if situation.evidence.config is None and block is None and not waits:
        # Somebody removed the frozen inputs: freeze them again. Should they differ, no result of the old ones will be taken.
        again = _inputs(situation, run, Trigger(run.trigger, run.trigger))
        if isinstance(again, Block):
            return Decision(Step(run=run), block=again)
        frozen = run.model_copy(update={"config_digest": again.digest})
        message = "the frozen inputs of the Run were gone and are frozen again"
        return Decision(Step(run=frozen, message=message, requeue=0.0, held=run), start=again)
    step = advance(run, situation.evidence, policy, situation.settings, situation.now, stop=stop)
    return _queued(run) if waits and step.run is not None and not step.run.done else Decision(step)
