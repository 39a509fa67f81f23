"""Deletion: removes everything that an object made outside the cluster, then lets it go.

Called by the kinds' reconcile once a deletion timestamp is set. It uses the store identity in status, so that a profile which is already gone
does not block it, and it is repeated until everything answers or until its deadline: then it says so and lets go.
"""

from __future__ import annotations

import logging
from datetime import datetime

from gradatim.api.build import collection_prefix
from gradatim.api.reasons import Reason
from gradatim.api.run import attempt_name
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator.applying import forget_stop
from gradatim.operator.clock import rfc3339, since
from gradatim.operator.errors import OperatorError, TryLater
from gradatim.operator.kube import EVENTS, AlreadyExists, Body, ours
from gradatim.operator.naming import event_name
from gradatim.operator.observing import folder
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key
from gradatim.operator.writing import drop_finalizer, has_finalizer

logger = logging.getLogger(__name__)


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
    try:
        if identity is not None:
            await _remove(context, body, identity, run, alias)
    except OperatorError as error:
        waited = since(body["metadata"]["deletionTimestamp"], now)
        if waited < context.settings.runs.cleanup_deadline:
            logger.warning("clean-up of %s waits: %s", key, error)
            delay = (
                error.delay if isinstance(error, TryLater) and error.delay is not None else min(30.0, 1 + waited / 4)
            )
            return Outcome(requeue=delay)
        await _abandoned(context, body, str(error), now)
    await drop_finalizer(context, ours(key.plural), body)
    return Outcome()


async def _remove(
    context: Context, body: Body, identity: StoreIdentity, run: RunStatus | None, alias: str | None
) -> None:
    metadata = body["metadata"]
    if run is not None:
        runtime = await context.edges.runtime(identity)
        for attempt in run.attempts:
            await runtime.delete(attempt_name(run.name, attempt.number))
    if body["kind"] == "RAGIndex" and identity.vector_endpoint is not None:
        vectors = await context.edges.vectors(identity)
        if alias is not None:
            await vectors.delete_alias(alias)
        for collection in await vectors.collections(collection_prefix(metadata["uid"])):
            await vectors.delete_collection(collection)
    store = await context.edges.artifacts(identity, metadata["namespace"])
    if run is not None:
        await forget_stop(store, run.name)
    await store.delete(folder(body), within=folder(body))


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
