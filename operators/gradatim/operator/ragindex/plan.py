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
from gradatim.operator.clock import parsed, rfc3339
from gradatim.operator.profiles import blocked_by
from gradatim.operator.ragindex import restoring, versions
from gradatim.operator.ragindex.model import World
from gradatim.operator.runs.cost import priced
from gradatim.operator.runs.lifecycle import Block, Decision, Situation, decide, policy
from gradatim.operator.runs.model import Trigger
from gradatim.operator.runs.schedule import next_tick, understood
from gradatim.operator.runs.triggers import RESTORE, Known, spec_digest, unsettled
from gradatim.operator.settings import RunSettings

IGNORED = frozenset({"suspend", "refresh", "retry", "compute", "activeDeadlineSeconds", "versions", "retrieval"})


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
    """Return why nothing can start that reads sources, or None."""
    return shut_out(world) or world.around.block


def shut_out(world: World) -> Block | None:
    """Return why the index cannot have the compute and the stores that it asks for, or None."""
    compute, around = world.index.spec.compute, world.around
    return blocked_by(compute, around.profile, world.status.store, around.namespace_labels, needs_vectors=True)


def plan(world: World, settings: RunSettings) -> Plan:
    """Return the plan of this pass."""
    spec, status = world.index.spec, world.status
    pin = spec.versions.pin

    def make_config(run: RunStatus, trigger: Trigger) -> RunConfig:
        restore = restoring.source(world) if trigger.cause == RESTORE else None
        return frozen_inputs(world, run, force=trigger.cause in {"request", RESTORE}, restore=restore)

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
            extra=restoring.trigger(world, settings),
            barred=shut_out(world),
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
        requeue=min((d for d in (removal.wait, restoring.wait(world, settings)) if d is not None), default=None),
    )


def frozen_inputs(world: World, run: RunStatus, *, force: bool, restore: PreviousVersion | None = None) -> RunConfig:
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
    spec = world.index.spec
    return index_run_config(identity, spec, surroundings, previous=previous, force=force, restore=restore)
