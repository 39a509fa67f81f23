"""What should happen to a RAGIndex in this pass.

Called by `reconcile`. Pure. It puts together what `runs` says about Runs and `versions` about what they have built.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gradatim.api.build import (
    RunIdentity,
    Surroundings,
    index_refs,
    index_run_config,
    store_config,
    vector_store_config,
)
from gradatim.api.ragindex import IndexVersion, Promotion, RAGIndex
from gradatim.api.reasons import Reason
from gradatim.api.run import PreviousVersion, RunConfig, RunObject, canonical_digest
from gradatim.api.runstatus import RunStatus
from gradatim.operator.clock import parsed, rfc3339, since
from gradatim.operator.profiles import blocked_by
from gradatim.operator.ragindex import versions
from gradatim.operator.ragindex.model import World
from gradatim.operator.runs.cost import priced
from gradatim.operator.runs.lifecycle import Block, Decision, Situation, decide, policy
from gradatim.operator.runs.model import Trigger
from gradatim.operator.runs.schedule import next_tick, understood
from gradatim.operator.runs.triggers import Known, spec_digest, unsettled
from gradatim.operator.settings import RunSettings

IGNORED = frozenset({"suspend", "refresh", "retry", "compute", "activeDeadlineSeconds", "versions", "retrieval"})
RESTORE_PAUSE = 3600.0  # seconds between a restore and the next one


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `history` is the list after this pass; `point_alias` is only set once the promotion is recorded."""

    decision: Decision
    history: tuple[IndexVersion, ...] = ()
    built: int = 0
    desired: IndexVersion | None = None
    promotion: Promotion | None = None
    point_alias: str | None = None
    drop: tuple[IndexVersion, ...] = ()
    forget: tuple[IndexVersion, ...] = ()
    sweep: bool = False
    gate_failure: tuple[Reason, str] | None = None
    problem: tuple[Reason, str] | None = None
    next_refresh: datetime | None = None
    schedule_problem: str | None = None
    requeue: float | None = None


def refs(index: RAGIndex) -> list[str]:
    """Return the Datasets that the index reads."""
    return index_refs(index.spec)


def adopting(world: World) -> str | None:
    """Return the uid that vectors are adopted from, None without one.

    The field counts until a first version serves. From then on it is what the first build was given: nothing that is written there later
    starts a Run, and neither does its removal.
    """
    found = world.status.adoption if world.status.active is not None else world.index.spec.versions.adopt_from
    return None if found is None else found.uid


def wanted_digest(world: World) -> str:
    """Return the digest of what a Run of now depends on."""
    digest, uid = spec_digest(world.index.spec, IGNORED), adopting(world)
    return digest if uid is None else canonical_digest({"spec": digest, "adoptFrom": uid})


def known_of(world: World) -> Known:
    """Return what decides about a new Run."""
    spec, status = world.index.spec, world.status
    follow = spec.refresh is not None and spec.refresh.on_change and not world.around.block
    return Known(
        metadata=world.index.metadata,
        spec_digest=wanted_digest(world),
        run=status.run,
        schedule=understood(spec.refresh, world.now)[0],
        last_tick=status.last_tick,
        last_requested=status.last_requested,
        unsettled=unsettled(status.run, status.conditions),
        unknown=world.unknown,
        upstream=world.around.upstream if follow else None,
        built_from=status.upstream if follow else None,
    )


def blocked(world: World) -> Block | None:
    """Return why nothing can start, or None."""
    spec = world.index.spec
    around = world.around
    found = blocked_by(spec.compute, around.profile, world.status.store, around.namespace_labels, needs_vectors=True)
    return found or around.block


def plan(world: World, settings: RunSettings) -> Plan:
    """Return the plan of this pass."""
    spec, status = world.index.spec, world.status
    pin = spec.versions.pin

    def make_config(run: RunStatus, trigger: Trigger) -> RunConfig:
        return frozen_inputs(world, run, force=trigger.cause in {"request", "restore"})

    lost = _lost(world)
    decision = decide(
        known_of(world),
        policy(spec.retry, spec.active_deadline_seconds, world.evidence, suspended=spec.suspend),
        Situation(
            evidence=world.evidence,
            block=blocked(world),
            granted=world.granted,
            make_config=make_config,
            now=world.now,
            settings=settings,
            frozen=pin is not None,
            extra=lost,
        ),
    )
    decision = priced(decision, status.run, world.around.profile, world.evidence.config)
    history, built, gate_failure = versions.with_result(world, decision)
    desired, problem = versions.desired(history, pin.digest if pin else None)
    history = versions.retired(history, desired, spec.versions.keep, frozenset(status.in_use_by), rfc3339(world.now))
    promotion, point = versions.promotion(world, desired)
    history, forget = versions.trimmed(world, history, desired)
    last = parsed(status.last_tick) or world.now
    run = decision.step.run
    done = run is not None and run.done
    removal = versions.removal(world, history, desired, idle=run is None or run.done)
    refresh, schedule_problem = understood(spec.refresh, world.now)
    return Plan(
        decision=decision,
        history=removal.history,
        built=built,
        desired=desired,
        promotion=promotion,
        point_alias=point,
        drop=removal.drop,
        forget=forget,
        sweep=done and status.run is not None and not status.run.done,
        gate_failure=gate_failure,
        problem=problem,
        next_refresh=next_tick(refresh, world.index.metadata.uid or "", max(last, world.now)),
        schedule_problem=schedule_problem,
        requeue=min((d for d in (removal.wait, _restorable_in(world)) if d is not None), default=None),
    )


def frozen_inputs(world: World, run: RunStatus, *, force: bool) -> RunConfig:
    """Return the sealed config of a Run. Only called when nothing blocks, so that the profile is there."""
    metadata, profile = world.index.metadata, world.around.profile
    if profile is None:
        raise ValueError("a Run needs a profile")
    identity = RunIdentity(
        object=RunObject(
            kind="RAGIndex",
            namespace=metadata.namespace or "",
            name=metadata.name,
            uid=metadata.uid or "",
            generation=run.generation,  # of the Run: inputs that are frozen again are the same
        ),
        run=run.name,
    )
    surroundings = Surroundings(
        store=store_config(profile.spec, metadata.namespace or ""),
        vector_store=vector_store_config(profile.spec),
        limits=profile.spec.limits,
        secrets_path=profile.spec.runtime.secrets_path,
        datasets=world.around.datasets,
        suite=world.around.suite,
    )
    active = world.status.active
    previous = None
    if active is not None:
        previous = PreviousVersion(
            digest=active.digest, uri=active.uri, collection=active.collection, resolved_digest=active.resolved_digest
        )
    return index_run_config(identity, world.index.spec, surroundings, previous=previous, force=force)


def _restorable_in(world: World) -> float | None:
    """Return the seconds after which a collection that was lost again after a restore is built once more."""
    run = world.status.run
    if (
        world.aliases.present is not False
        or run is None
        or not run.done
        or not run.succeeded
        or run.trigger != "restore"
    ):
        return None
    ended = run.attempts[-1].finished_at if run.attempts else None
    left = RESTORE_PAUSE - since(ended, world.now)
    return left if left > 0 else None


def _lost(world: World) -> Trigger | None:
    """Return the trigger that rebuilds the promoted version's collection after the store has lost it."""
    wanted, run = world.status.promotion, world.status.run
    if wanted is None or run is None or not run.done or world.aliases.present is not False:
        return None
    if run.trigger == "restore":
        # It has been tried just now: a second try would not find more. Lost again later, it is built again.
        ended = run.attempts[-1].finished_at if run.attempts else None
        if not run.succeeded or since(ended, world.now) < RESTORE_PAUSE:
            return None
    return Trigger(f"restore/{wanted.digest}/{run.name}", "restore")
