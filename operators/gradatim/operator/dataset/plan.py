"""What should happen to a Dataset in this pass.

Called by `reconcile`. Pure: typed values in, a `Plan` out; the same inputs give the same plan on every replica and after every restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gradatim.api.build import RunIdentity, Surroundings, dataset_refs, dataset_run_config, store_config
from gradatim.api.dataset import Dataset, DatasetStatus, DatasetVersion
from gradatim.api.run import RunConfig, RunObject
from gradatim.api.runstatus import RunStatus
from gradatim.operator.clock import parsed, rfc3339, since
from gradatim.operator.observing import Surrounding
from gradatim.operator.profiles import blocked_by
from gradatim.operator.runs.cost import priced
from gradatim.operator.runs.lifecycle import Block, Decision, Situation, decide, policy
from gradatim.operator.runs.model import Evidence, Trigger
from gradatim.operator.runs.schedule import next_tick, understood
from gradatim.operator.runs.triggers import Known, spec_digest, unsettled
from gradatim.operator.settings import RunSettings

KEPT_VERSIONS = 3
HISTORY = 10  # what the schema of status has room for
GRACE = 600.0  # seconds after its retirement in which a version stays for Runs whose inputs are being frozen
LONGEST = 7 * 86_400.0  # seconds after which it goes although a Run may still read it
IGNORED = frozenset({"suspend", "refresh", "retry", "compute", "activeDeadlineSeconds"})


@dataclass(frozen=True, slots=True)
class World:
    """What a pass over a Dataset read."""

    dataset: Dataset
    status: DatasetStatus
    around: Surrounding
    evidence: Evidence
    granted: bool
    now: datetime
    unknown: tuple[str, ...] = ()  # members of the spec that only a newer release knows


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `new` is the version that the Run's result brought.

    `drop` are versions to delete from the store, `spare` those to delete unless an active Run of a reader names them.
    """

    decision: Decision
    new: DatasetVersion | None = None
    history: tuple[DatasetVersion, ...] = ()
    drop: tuple[DatasetVersion, ...] = ()
    spare: tuple[DatasetVersion, ...] = ()
    requeue: float | None = None
    next_refresh: datetime | None = None
    schedule_problem: str | None = None


def refs(dataset: Dataset) -> list[str]:
    """Return the Datasets that this one reads."""
    return dataset_refs(dataset.spec)


def known_of(world: World) -> Known:
    """Return what decides about a new Run."""
    status = world.status
    return Known(
        metadata=world.dataset.metadata,
        spec_digest=spec_digest(world.dataset.spec, IGNORED),
        run=status.run,
        schedule=understood(world.dataset.spec.refresh, world.now)[0],
        last_tick=status.last_tick,
        last_requested=status.last_requested,
        unsettled=unsettled(status.run, status.conditions),
        unknown=world.unknown,
    )


def blocked(world: World) -> Block | None:
    """Return why nothing can start, or None."""
    spec = world.dataset.spec
    around = world.around
    found = blocked_by(spec.compute, around.profile, world.status.store, around.namespace_labels, needs_vectors=False)
    return found or around.block


def plan(world: World, settings: RunSettings) -> Plan:
    """Return the plan of this pass."""
    spec = world.dataset.spec

    def make_config(run: RunStatus, trigger: Trigger) -> RunConfig:
        del trigger
        return frozen_inputs(world, run)

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
        ),
    )
    decision = priced(decision, world.status.run, world.around.profile, world.evidence.config)
    new = _version(decision)
    run = decision.step.run
    removal = _removal(_history(world, new), world.now, idle=run is None or run.done)
    last = parsed(world.status.last_tick) or world.now
    refresh, problem = understood(spec.refresh, world.now)
    upcoming = next_tick(refresh, world.dataset.metadata.uid or "", max(last, world.now))
    return Plan(
        decision=decision,
        new=new,
        history=removal.kept,
        drop=removal.drop,
        spare=removal.spare,
        requeue=removal.wait,
        next_refresh=upcoming,
        schedule_problem=problem,
    )


def frozen_inputs(world: World, run: RunStatus) -> RunConfig:
    """Return the sealed config of a Run. Only called when nothing blocks, so that the profile is there."""
    metadata, profile = world.dataset.metadata, world.around.profile
    if profile is None:
        raise ValueError("a Run needs a profile")
    identity = RunIdentity(
        object=RunObject(
            kind="Dataset",
            namespace=metadata.namespace or "",
            name=metadata.name,
            uid=metadata.uid or "",
            generation=run.generation,  # of the Run: inputs that are frozen again are the same
        ),
        run=run.name,
    )
    surroundings = Surroundings(
        store=store_config(profile.spec, metadata.namespace or ""),
        limits=profile.spec.limits,
        secrets_path=profile.spec.runtime.secrets_path,
        datasets=world.around.datasets,
        suite=world.around.suite,
    )
    previous = world.status.active.digest if world.status.active else None
    return dataset_run_config(identity, world.dataset.spec, surroundings, previous=previous)


def _version(decision: Decision) -> DatasetVersion | None:
    result = decision.step.finished
    if result is None or result.outcome != "Succeeded" or result.dataset is None:
        return None
    return DatasetVersion(
        **result.dataset.model_dump(),
        created=result.finished,
        run=None if decision.step.run is None else decision.step.run.name,
    )


def _history(world: World, new: DatasetVersion | None) -> tuple[DatasetVersion, ...]:
    """Return all versions, newest first; those that are no longer kept bear the time since when."""
    older = (v for v in world.status.history if new is None or v.digest != new.digest)
    merged = (*(() if new is None else (new,)), *older)
    now = rfc3339(world.now)
    retired = (v if v.retired_at else v.model_copy(update={"retired_at": now}) for v in merged[KEPT_VERSIONS:])
    return (*merged[:KEPT_VERSIONS], *retired)


@dataclass(frozen=True, slots=True)
class _Removal:
    kept: tuple[DatasetVersion, ...]
    drop: tuple[DatasetVersion, ...]
    spare: tuple[DatasetVersion, ...]
    wait: float | None


def _removal(history: tuple[DatasetVersion, ...], now: datetime, *, idle: bool) -> _Removal:
    """Return what goes: beyond what status has room for at once, the rest after its grace. Nothing else while a Run may publish anew."""
    drop, spare, waits = list(history[HISTORY:]), list[DatasetVersion](), list[float]()
    for version in history[KEPT_VERSIONS:HISTORY]:
        age = since(version.retired_at, now)
        if age < GRACE:
            waits.append(GRACE - age)
        elif idle:
            (drop if age >= LONGEST else spare).append(version)
    gone = {v.digest for v in (*drop, *spare)}
    kept = tuple(v for v in history if v.digest not in gone)
    return _Removal(kept, tuple(drop), tuple(spare), min(waits, default=None))
