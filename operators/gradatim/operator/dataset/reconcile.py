"""One pass over a Dataset: read, plan, apply, write status.

Called by `loop`. The only module of this kind that does I/O, through the shared observing and applying steps.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime

from gradatim.api.dataset import Dataset, DatasetStatus, DatasetVersion
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator import cleanup, observing, running
from gradatim.operator.applying import tenant_of
from gradatim.operator.clock import rfc3339
from gradatim.operator.dataset.plan import HISTORY, World, plan, refs
from gradatim.operator.dataset.status import status
from gradatim.operator.errors import DependencyError, WillNeverWork
from gradatim.operator.invalid import stalled
from gradatim.operator.kube import Body, ours
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.profiles import identity_now, identity_of
from gradatim.operator.queue import Key
from gradatim.operator.reading import InvalidSpecError, typed, typed_status
from gradatim.operator.runs.model import Evidence
from gradatim.operator.writing import add_finalizer, fence, has_finalizer, write

RESOURCE = ours("datasets")


async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
    """Bring the Dataset closer to its spec."""
    known = typed_status(DatasetStatus, body)
    if body["metadata"].get("deletionTimestamp"):
        return await cleanup.finalize(context, key, body, identity=known.store, run=known.run, alias=None, now=now)
    generation = body["metadata"]["generation"]
    active = known.run is not None and not known.run.done  # it holds its slot whatever the spec says now
    try:
        dataset, left_out = typed(Dataset, body)
        return await _pass(context, key, body, dataset, known, now, left_out=left_out)
    except InvalidSpecError as error:
        running.abandon(context, key, active=active)
        broken = stalled(known, Reason.INVALID_SPEC, str(error), generation=generation, now=rfc3339(now))
        return await write(context, key, body, broken, known.conditions, None)
    except WillNeverWork as error:
        running.abandon(context, key, active=active)
        broken = stalled(known, error.reason, error.message, generation=generation, now=rfc3339(now))
        return await write(context, key, body, broken, known.conditions, context.settings.resync)


async def _pass(
    context: Context,
    key: Key,
    body: Body,
    dataset: Dataset,
    known: DatasetStatus,
    now: datetime,
    *,
    left_out: tuple[str, ...],
) -> Outcome:
    spec, runs = dataset.spec, context.settings.runs
    profile_name = spec.compute.profile_ref.name
    context.dependents.update(key, running.reads(key, profile_name, refs(dataset)))
    around = await observing.surrounding(context.kube, key.namespace, profile_name, refs(dataset), [spec.validation])
    active = known.run is not None and not known.run.done
    identity = identity_now(known.store, around.profile, known.run, around.namespace_labels)
    evidence = Evidence()
    if active and known.run is not None and identity is not None:
        held = await observing.frozen(context.kube, key.namespace, dataset.metadata.uid or "", known.run)
        if held.conflict is not None:
            raise WillNeverWork(Reason.NAME_CONFLICT, held.conflict)
        evidence = await observing.evidence(context.edges, identity, tenant_of(body), known.run, held)
        evidence = running.timed(context, key, evidence, now)
    world = World(
        dataset=dataset,
        status=known,
        around=around,
        evidence=evidence,
        granted=running.granted(context, key, around.profile, identity, known.run),
        now=now,
        unknown=left_out,
    )
    planned = plan(world, runs)
    running.count(context, key, around.profile, identity, planned.decision)
    if planned.decision.start is not None and not has_finalizer(body):
        body = await add_finalizer(context, RESOURCE, body)
    decision, troubles = await running.act(context, key, body, identity, planned.decision, evidence, now=now)
    planned = dataclasses.replace(planned, decision=decision)
    if decision.start is not None and around.profile is not None and not active:
        identity = identity_of(around.profile)  # the new Run is on the profile of now
    left = await _still_read(context, key, planned.spare)
    doomed = (*planned.drop, *(v for v in planned.spare if v not in left))
    if doomed and identity is not None:
        await fence(context, key, body)
        undone, more = await _drop(context, body, identity, doomed)
        left, troubles = (*left, *undone), [*troubles, *more]
    if left:
        planned = dataclasses.replace(planned, history=(*planned.history, *left)[:HISTORY])
    unknown = bool(troubles or evidence.unknown) or running.waits_for_profile(planned.decision)
    late = running.overdue(context, key, unknown, now)
    new = status(world, planned, runs, identity=identity, troubles=tuple(troubles), overdue=late)
    step = planned.decision.step
    ended = step.run is not None and step.run.done and known.run is not None and not known.run.done
    refresh = None if planned.next_refresh is None else (planned.next_refresh - now).total_seconds() + 0.5
    again = running.retry_in(context, key, planned.decision.block, troubles, now)
    later = context.settings.resync if left else None
    delay = running.soonest(step.requeue, 0.0 if ended else None, refresh, planned.requeue, later, again)
    outcome = await write(context, key, body, new, known.conditions, delay)
    running.count_end(context, key, known.run, planned.decision.step)
    return outcome


async def _still_read(context: Context, key: Key, versions: tuple[DatasetVersion, ...]) -> tuple[DatasetVersion, ...]:
    """Return which of the versions an active Run of somebody who reads this Dataset was given. All, until all readers are known."""
    if not versions or not context.slots.primed:
        return versions
    given: set[str] = set()
    for reader in context.dependents.readers(key):
        given |= await observing.given(context.kube, reader, key.name)
    return tuple(v for v in versions if v.digest in given)


async def _drop(
    context: Context, body: Body, identity: StoreIdentity, versions: tuple[DatasetVersion, ...]
) -> tuple[tuple[DatasetVersion, ...], list[running.Trouble]]:
    """Remove what is no longer kept. Returns what is left, which status goes on naming until it is gone."""
    done = 0
    try:
        store = await context.edges.artifacts(identity, body["metadata"]["namespace"])
        for version in versions:
            await store.delete(observing.stored_path(store.root, version.uri), within=observing.folder(body))
            done += 1
    except DependencyError as error:
        return versions[done:], [(error.reason, error.message)]
    return (), []
