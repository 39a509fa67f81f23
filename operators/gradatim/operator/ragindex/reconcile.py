"""One pass over a RAGIndex: read, plan, apply, write status.

Called by `loop`. With `observe` the only modules of this kind that do I/O. The alias moves only after the promotion has been written to status
and read back; a collection is dropped only after its grace time and when no alias points at it.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime

from gradatim.api.build import collection_prefix
from gradatim.api.ragindex import RAGIndex, RAGIndexStatus
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator import cleanup, observing, running
from gradatim.operator.applying import tenant_of
from gradatim.operator.clock import rfc3339
from gradatim.operator.errors import TryLater, WillNeverWork
from gradatim.operator.invalid import stalled
from gradatim.operator.kube import Body, ours
from gradatim.operator.naming import alias_name
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.profiles import identity_now, identity_of
from gradatim.operator.queue import Key
from gradatim.operator.ragindex import observe
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import Plan, plan, refs
from gradatim.operator.ragindex.status import status
from gradatim.operator.ragindex.versions import removable, stale_in
from gradatim.operator.reading import InvalidSpecError, typed, typed_status
from gradatim.operator.runs.model import Evidence
from gradatim.operator.writing import add_finalizer, fence, has_finalizer, write

RESOURCE = ours("ragindices")


async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
    """Bring the RAGIndex closer to its spec."""
    known = typed_status(RAGIndexStatus, body)
    if body["metadata"].get("deletionTimestamp"):
        return await cleanup.finalize(
            context, key, body, identity=known.store, run=known.run, alias=_alias(key, body), now=now
        )
    generation = body["metadata"]["generation"]
    active = known.run is not None and not known.run.done  # it holds its slot whatever the spec says now
    try:
        index, left_out = typed(RAGIndex, body)
        return await _pass(context, key, body, index, known, now, left_out=left_out)
    except InvalidSpecError as error:
        running.abandon(context, key, active=active)
        broken = stalled(known, Reason.INVALID_SPEC, str(error), generation=generation, now=rfc3339(now))
        return await write(context, key, body, broken, known.conditions, None)
    except WillNeverWork as error:
        running.abandon(context, key, active=active)
        broken = stalled(known, error.reason, error.message, generation=generation, now=rfc3339(now))
        return await write(context, key, body, broken, known.conditions, context.settings.resync)


def _alias(key: Key, body: Body) -> str:
    """Return the alias of the object: computed, so that nobody can have another one removed by writing to status."""
    return alias_name(key.namespace, key.name, body["metadata"]["uid"])


async def _pass(
    context: Context,
    key: Key,
    body: Body,
    index: RAGIndex,
    known: RAGIndexStatus,
    now: datetime,
    *,
    left_out: tuple[str, ...],
) -> Outcome:
    spec, runs, uid = index.spec, context.settings.runs, index.metadata.uid or ""
    profile_name = spec.compute.profile_ref.name
    context.dependents.update(key, running.reads(key, profile_name, refs(index)))
    around = await observing.surrounding(context.kube, key.namespace, profile_name, refs(index), [spec.validation])
    active = known.run is not None and not known.run.done
    identity = identity_now(known.store, around.profile, known.run, around.namespace_labels)
    alias = _alias(key, body)
    evidence = Evidence()
    if active and known.run is not None and identity is not None:
        held = await observing.frozen(context.kube, key.namespace, uid, known.run)
        if held.conflict is not None:
            raise WillNeverWork(Reason.NAME_CONFLICT, held.conflict)
        evidence = await observing.evidence(context.edges, identity, tenant_of(body), known.run, held)
        evidence = running.timed(context, key, evidence, now)
    doubtful = removable(known.history, spec.versions.drop_after_seconds, now)
    seen, troubles = await observe.aliases(context.edges, identity, alias, known, every=doubtful)
    world = World(
        index=index,
        status=known,
        alias=alias,
        around=around,
        evidence=evidence,
        aliases=seen,
        granted=running.granted(context, key, around.profile, identity, known.run),
        now=now,
        unknown=left_out,
    )
    planned = plan(world, runs)
    running.count(context, key, around.profile, identity, planned.decision)
    if planned.decision.start is not None and not has_finalizer(body):
        body = await add_finalizer(context, RESOURCE, body)
    decision, more = await running.act(context, key, body, identity, planned.decision, evidence, now=now)
    planned = dataclasses.replace(planned, decision=decision)
    if decision.start is not None and around.profile is not None and not active:
        identity = identity_of(around.profile)  # the new Run is on the profile of now
    dropped, worse = await _vectors(context, key, body, world, planned, identity)
    troubles += more + worse
    unknown = bool(troubles or evidence.unknown) or running.waits_for_profile(planned.decision)
    late = running.overdue(context, key, unknown, now)
    new = status(world, planned, runs, identity=identity, dropped=dropped, troubles=tuple(troubles), overdue=late)
    again = running.retry_in(context, key, planned.decision.block, troubles, now)
    lag = running.lagging(context, key, moving=planned.point_alias is not None and again is None, now=now)
    delay = running.soonest(_delay(world, planned, known, again), lag)
    if identity is not None and known.history:
        delay = running.soonest(delay, context.settings.drift)
    outcome = await write(context, key, body, new, known.conditions, delay)
    running.count_end(context, key, known.run, planned.decision.step)
    return outcome


async def _vectors(
    context: Context, key: Key, body: Body, world: World, planned: Plan, identity: StoreIdentity | None
) -> tuple[frozenset[str], list[running.Trouble]]:
    """Switch the alias and remove what nobody needs. Returns the digests whose collections are gone."""
    dropped: set[str] = set()
    run = planned.decision.step.run
    idle = run is None or run.done  # the collection that an active Run loads is in no list yet
    if planned.sweep:
        context.unswept.add(key)
    sweep = idle and key in context.unswept
    if identity is None or not (planned.point_alias or planned.drop or sweep or planned.forget):
        return frozenset(), []
    await fence(context, key, body)
    metadata = world.index.metadata
    try:
        vectors = await context.edges.vectors(identity)
        if planned.point_alias is not None:
            await vectors.put_alias(world.alias, planned.point_alias)
        store = await context.edges.artifacts(identity, metadata.namespace or "")
        doomed = (*planned.drop, *(v for v in planned.forget if v.dropping or not v.collection_dropped))
        held = set((await vectors.aliases()).values()) if doomed or sweep else set[str]()
        for version in doomed:
            if not version.collection_dropped:
                if version.collection in held:
                    continue  # somebody has pointed an alias there since it was looked at
                await vectors.delete_collection(version.collection)
            await store.delete(observing.stored_path(store.root, version.uri), within=observing.folder(body))
            dropped.add(version.digest)
        if sweep:
            keep = {v.collection for v in planned.history} | held
            for name in await vectors.collections(collection_prefix(metadata.uid or "")):
                if name not in keep:
                    await vectors.delete_collection(name)
            context.unswept.discard(key)
    except TryLater as error:
        return frozenset(dropped), [running.held_up(context, key, error, world.now)]
    return frozenset(dropped), []


def _delay(world: World, planned: Plan, known: RAGIndexStatus, again: float | None) -> float | None:
    step = planned.decision.step
    ended = step.run is not None and step.run.done and known.run is not None and not known.run.done
    refresh = None if planned.next_refresh is None else (planned.next_refresh - world.now).total_seconds() + 0.5
    stale = stale_in(world)
    until_stale = stale.total_seconds() + 1 if stale is not None and stale.total_seconds() > 0 else None
    return running.soonest(
        step.requeue,
        0.0 if ended or planned.promotion != known.promotion else None,
        refresh,
        until_stale,
        planned.requeue,
        again,
    )
