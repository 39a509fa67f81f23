"""One pass over a ComputeProfile: probe every dependency, write what was found.

Called by `loop`, and again every `probeIntervalSeconds`. It changes nothing outside the cluster but one nonce in the store.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime

from gradatim.api.computeprofile import ComputeProfile, ComputeProfileStatus
from gradatim.api.reasons import ConditionType, Reason
from gradatim.operator.clock import rfc3339
from gradatim.operator.computeprofile.status import Probe, status
from gradatim.operator.errors import DependencyError, WillNeverWork
from gradatim.operator.invalid import stalled
from gradatim.operator.kube import Body
from gradatim.operator.passes import Context, Outcome
from gradatim.operator.profiles import identity_of
from gradatim.operator.queue import Key
from gradatim.operator.reading import InvalidSpecError, typed, typed_status
from gradatim.operator.runtimes.base import Tenant
from gradatim.operator.writing import write


async def reconcile(context: Context, key: Key, body: Body, now: datetime) -> Outcome:
    """Probe the profile's dependencies."""
    known = typed_status(ComputeProfileStatus, body)
    if body["metadata"].get("deletionTimestamp"):
        return Outcome()
    try:
        profile, _ = typed(ComputeProfile, body)
    except InvalidSpecError as error:
        generation = body["metadata"]["generation"]
        broken = stalled(known, Reason.INVALID_SPEC, str(error), generation=generation, now=rfc3339(now))
        return await write(context, key, body, broken, known.conditions, None)
    identity, settings = identity_of(profile), context.settings

    async def runtime_version() -> str:
        # Where Runs may be: with `watchNamespaces` the operator has no right on RayJobs in its own namespace.
        tenant = Tenant(settings.watch_namespaces[0] if settings.watch_namespaces else settings.namespace, "")
        return await (await context.edges.runtime(identity, tenant)).version()

    async def store_probe() -> str:
        await (await context.edges.artifacts(identity, settings.namespace)).probe()
        return ""

    async def vector_version() -> str:
        return await (await context.edges.vectors(identity)).version()

    probes = [
        await _probe(context, ConditionType.RUNTIME_REACHABLE, runtime_version()),
        await _probe(context, ConditionType.STORE_READABLE, store_probe()),
    ]
    if profile.spec.vector_store is not None:
        probes.append(await _probe(context, ConditionType.VECTOR_STORE_REACHABLE, vector_version()))
    active = context.slots.active(key.name)
    deadline = settings.runs.dependency_deadline
    new = status(profile, known, tuple(probes), active=active, now=now, deadline=deadline)
    healthy = all(p.ok for p in probes)
    interval = float(profile.spec.probe_interval_seconds)
    return await write(context, key, body, new, known.conditions, interval if healthy else min(interval, 5.0))


async def _probe(context: Context, condition: ConditionType, call: Awaitable[str]) -> Probe:
    try:
        version = await call
    except DependencyError as error:
        context.metrics.dependency_errors.labels(error.dependency).inc()
        return Probe(condition, ok=False, reason=error.reason, message=error.message)
    except WillNeverWork as error:
        return Probe(condition, ok=False, reason=error.reason, message=error.message)
    return Probe(condition, ok=True, reason=Reason.PROBED, version=version or None)
