"""The one status write of a pass, and the finalizer.

Called by the kinds' reconcile. A status equal to the one that was read is not written; the resourceVersion that was read is the
precondition, so that a pass never overwrites what it has not seen. Fields of status that this release does not know stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from gradatim.api.base import ReadModel
from gradatim.api.meta import FINALIZER, Condition
from gradatim.operator import events
from gradatim.operator.clock import now
from gradatim.operator.kube import Body, Resource, ours
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.queue import Key


def merged_status(raw: Body, status: ReadModel) -> Body:
    """Return the status to write: ours over the raw one; members of ours that are absent now are removed. Pure."""
    names = {field.alias or name for name, field in type(status).model_fields.items()}
    foreign = {k: v for k, v in raw.items() if k not in names}
    return foreign | status.model_dump(mode="json", by_alias=True, exclude_none=True)


def equal(raw: Body, new: Body, model: type[ReadModel]) -> bool:
    """Return whether writing `new` would change nothing: both are compared as this release reads them. Pure."""
    if raw == new:
        return True
    try:
        known = model.model_validate(raw).model_dump(mode="json", by_alias=True, exclude_none=True)
    except ValidationError:
        return False  # this release cannot read it, so it is written anew
    return known == model.model_validate(new).model_dump(mode="json", by_alias=True, exclude_none=True)


async def write(
    context: Context, key: Key, body: Body, status: ReadModel, old: Sequence[Condition], requeue: float | None
) -> Outcome:
    """Write the status if it changed, then tell about it."""
    raw = body.get("status", {})
    new = merged_status(raw, status)
    if equal(raw, new, type(status)):
        return Outcome(requeue=requeue)
    written = await context.kube.put_status(ours(key.plural), body | {"status": new})
    context.metrics.status_writes.labels(key.plural).inc()
    conditions: list[Condition] = getattr(status, "conditions", [])
    context.events.say(body | {"metadata": written}, events.changes(old, conditions), now())
    return Outcome(requeue=requeue, written=written["resourceVersion"])


async def fence(context: Context, key: Key, body: Body) -> None:
    """Make sure that `body` is the newest state before anything outside the API server follows from it. Raises `Conflict`.

    Writing a status back as it was read changes nothing and is refused by its resourceVersion when somebody has written since.
    """
    await context.kube.put_status(ours(key.plural), body)


def has_finalizer(body: Body) -> bool:
    """Return whether our finalizer is set. Pure."""
    return FINALIZER in body["metadata"].get("finalizers", [])


async def add_finalizer(context: Context, resource: Resource, body: Body) -> Body:
    """Set our finalizer; nothing outside the cluster is made before this has succeeded."""
    return await context.kube.set_finalizers(resource, body, [*body["metadata"].get("finalizers", []), FINALIZER])


async def drop_finalizer(context: Context, resource: Resource, body: Body) -> None:
    """Let the object go."""
    left = [f for f in body["metadata"].get("finalizers", []) if f != FINALIZER]
    await context.kube.set_finalizers(resource, body, left)
