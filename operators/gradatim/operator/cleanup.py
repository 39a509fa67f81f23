"""Deletion: removes everything that an object made outside the cluster, then lets it go.

Called by the kinds' reconcile once a deletion timestamp is set. It uses the store identity in status, so that a profile which is already gone
does not block it, and it is repeated until everything answers or until its deadline: then it says so and lets go.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from gradatim.api.build import collection_prefix
from gradatim.api.meta import Condition
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import attempt_name
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator.applying import tenant_of
from gradatim.operator.clock import rfc3339, since
from gradatim.operator.conditions import Verdict, merged
from gradatim.operator.controls import forget_stop, forget_stopped
from gradatim.operator.errors import OperatorError, TryLater
from gradatim.operator.kube import EVENTS, AlreadyExists, Body, ours
from gradatim.operator.naming import event_name
from gradatim.operator.observing import folder
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key
from gradatim.operator.writing import drop_finalizer, has_finalizer

logger = logging.getLogger(__name__)
QUIET = 15.0  # seconds; a usual deletion takes less and is not worth a write


async def finalize(
    context: Context,
    key: Key,
    body: Body,
    *,
    identity: StoreIdentity | None,
    run: RunStatus | None,
    alias: str | None,
    now: datetime,
) -> Outcome:
    """Take one step of the deletion. Returns the delay until the next while something does not answer."""
    context.wake.extend(context.slots.release(key))
    if not has_finalizer(body):
        return Outcome()
    waited = since(body["metadata"]["deletionTimestamp"], now)
    left: list[str] = []
    # What runs may write to the stores, so it ends first; past the deadline one dead dependency does not keep the others' data.
    gone = None if identity is None else _Doomed(body, identity, run, alias)
    for part in (_attempts, _collections, _artifacts):
        try:
            if gone is not None:
                await part(context, gone)
        except OperatorError as error:
            if waited < context.settings.runs.cleanup_deadline:
                logger.warning("clean-up of %s waits: %s", key, error)
                asked = error.delay if isinstance(error, TryLater) else None
                delay = min(30.0, 1 + waited / 4) if asked is None else asked
                return Outcome(
                    requeue=delay, written=await _told(context, key, body, error, now) if waited > QUIET else None
                )
            left.append(str(error))
    if left:
        await _abandoned(context, body, "; ".join(left), now)
    await drop_finalizer(context, ours(key.plural), body)
    return Outcome()


async def _told(context: Context, key: Key, body: Body, error: OperatorError, now: datetime) -> str | None:
    """Say in status what a deletion waits for; returns the version of the write, None where it has been said."""
    raw = body.get("status", {})
    known = [Condition.model_validate(c) for c in raw.get("conditions", [])]
    verdicts = [
        Verdict(ConditionType.RECONCILING, True, error.reason, f"deletion waits: {error.message}"),
        Verdict(ConditionType.STALLED, False, error.reason),
    ]
    conditions = merged(known, verdicts, generation=body["metadata"].get("generation", 0), now=rfc3339(now))
    if conditions == known:
        return None
    status = raw | {"conditions": [c.to_manifest() for c in conditions], "reasonText": error.reason.value}
    written = await context.kube.put_status(ours(key.plural), body | {"status": status})
    version: str = written["resourceVersion"]
    return version


@dataclass(frozen=True, slots=True)
class _Doomed:
    """The object that goes, and what status knows of it."""

    body: Body
    identity: StoreIdentity
    run: RunStatus | None
    alias: str | None


async def _attempts(context: Context, gone: _Doomed) -> None:
    if gone.run is None:
        return
    runtime = await context.edges.runtime(gone.identity, tenant_of(gone.body))
    for attempt in gone.run.attempts:
        await runtime.delete(attempt_name(gone.run.name, attempt.number))


async def _collections(context: Context, gone: _Doomed) -> None:
    if gone.body["kind"] != "RAGIndex" or gone.identity.vector_endpoint is None:
        return
    vectors = await context.edges.vectors(gone.identity)
    if gone.alias is not None:
        await vectors.delete_alias(gone.alias)
    for collection in await vectors.collections(collection_prefix(gone.body["metadata"]["uid"])):
        await vectors.delete_collection(collection)


async def _artifacts(context: Context, gone: _Doomed) -> None:
    store = await context.edges.artifacts(gone.identity, gone.body["metadata"]["namespace"])
    if gone.run is not None:
        await forget_stop(store, gone.run.name)
    await forget_stopped(store, gone.body)
    await store.delete(folder(gone.body), within=folder(gone.body))


async def _abandoned(context: Context, body: Body, why: str, now: datetime) -> None:
    """Say that data may be left behind: an event, a metric, a log line."""
    context.metrics.abandoned.inc()
    metadata = body["metadata"]
    logger.error("clean-up of %s %s/%s abandoned: %s", body["kind"], metadata["namespace"], metadata["name"], why)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": event_name(metadata["name"], metadata["uid"], Reason.CLEANUP_ABANDONED.value),
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "reason": Reason.CLEANUP_ABANDONED.value,
        "message": f"released without clean-up, data may be left behind: {why}"[:1000],
        "type": "Warning",
        "source": {"component": "gradatim-operator"},
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "count": 1,
    }
    try:
        await context.kube.create(EVENTS, metadata["namespace"], event)
    except AlreadyExists:
        return
    except OperatorError as error:  # a namespace that is going away takes no events
        logger.warning("event not written: %s", error)
