"""Takes the actions of a plan: frozen inputs, attempts, aliases, collections.

Called by the kinds' reconcile after the plan and before the status is written. Every action may be repeated: names are deterministic, and
what exists is checked for its owner before it counts as ours. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradatim.api.meta import LABEL_KIND, LABEL_MANAGED_BY, LABEL_OWNER, LABEL_RUN, MANAGER
from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig, attempt_json, attempt_name
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator import leftovers
from gradatim.operator.controls import forget_stop, request_stop
from gradatim.operator.edges import Edges
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.kube import CONFIG_MAPS, AlreadyExists, Body, Kube, is_owned_by, owner_reference
from gradatim.operator.observing import CONFIG_KEY, read_frozen
from gradatim.operator.runs.model import Discard, Evidence, Kill, RequestStop, RunAction, Submit
from gradatim.operator.runtimes.base import Launch, Tenant


@dataclass(slots=True)
class Applied:
    """What became of the actions. `troubles` are dependencies that did not answer; the pass goes on to write status."""

    config: RunConfig | None = None
    troubles: list[DependencyError] = field(default_factory=list)
    done: list[object] = field(default_factory=list)


def config_map(owner: Body, config: RunConfig) -> Body:
    """Return the immutable ConfigMap that freezes a Run's inputs. Pure."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config.run,
            "namespace": owner["metadata"]["namespace"],
            "labels": {
                LABEL_MANAGED_BY: MANAGER,
                LABEL_KIND: owner["kind"],
                LABEL_OWNER: owner["metadata"]["uid"],
                LABEL_RUN: config.run,
            },
            "ownerReferences": [owner_reference(owner)],
        },
        "immutable": True,
        "data": {CONFIG_KEY: config.model_dump_json(by_alias=True, exclude_none=True)},
    }


async def freeze(kube: Kube, owner: Body, config: RunConfig) -> RunConfig:
    """Create the ConfigMap; one that an earlier pass made of the same inputs will do. Raises `WillNeverWork` on a foreign one.

    One of ours with other content is removed and made anew: status is not bound to it, so that no attempt was started with it.
    """
    namespace = owner["metadata"]["namespace"]
    try:
        await kube.create(CONFIG_MAPS, namespace, config_map(owner, config))
    except AlreadyExists:
        found = read_frozen(await kube.find(CONFIG_MAPS, namespace, config.run), owner["metadata"]["uid"], config.run)
        if found.conflict is not None:
            raise WillNeverWork(Reason.NAME_CONFLICT, found.conflict) from None
        if found.config is None:
            raise TryLater(f"ConfigMap {config.run!r} vanished between two reads") from None
        if found.digest != config.digest and found.body is not None:
            await kube.delete(CONFIG_MAPS, found.body)
            raise TryLater(f"ConfigMap {config.run!r} held other inputs and is made anew") from None
    return config


def tenant_of(body: Body) -> Tenant:
    """Return as whom the runtime is used for an object as read. Pure."""
    return Tenant(body["metadata"]["namespace"], body["metadata"]["uid"])


async def take(
    actions: Iterable[RunAction],
    edges: Edges,
    identity: StoreIdentity,
    tenant: Tenant,
    run: RunStatus,
    evidence: Evidence,
) -> None:
    """Take the actions on the active attempt. Raises `DependencyError` or `WillNeverWork`."""
    config, document = evidence.config, evidence.document
    for action in actions:
        if isinstance(action, Submit):
            if config is None or document is None:
                raise TryLater(f"the frozen inputs of {run.name!r} are not there yet")
            # A request that ended an earlier attempt must not end this one.
            store = await edges.artifacts(identity, config.object.namespace)
            await forget_stop(store, run.name)
            if identity.runtime_type == "kuberay" and identity.artifact_root.startswith("file:"):
                # Makes the namespace's folder: a kubelet that has to make it for the pod's mount makes it root's.
                await store.probe()
            runtime = await edges.runtime(identity, tenant)
            await runtime.submit(launch(run, config, document, action.attempt))
        elif isinstance(action, Kill):
            runtime = await edges.runtime(identity, tenant)
            await runtime.stop(attempt_name(run.name, action.attempt))
        elif isinstance(action, Discard):
            runtime = await edges.runtime(identity, tenant)
            await runtime.delete(attempt_name(run.name, action.attempt))
        elif isinstance(action, RequestStop) and config is not None:
            store = await edges.artifacts(identity, config.object.namespace)
            await request_stop(store, run.name, action.reason)


def launch(run: RunStatus, config: RunConfig, document: Mapping[str, Any], number: int) -> Launch:
    """Return what the runtime gets for one attempt of the Run whose frozen inputs are `document`. Pure."""
    spec = config.dataset or config.index
    return Launch(
        name=attempt_name(run.name, number),
        namespace=config.object.namespace,
        config_json=attempt_json(document, number),
        config_digest=config.digest,
        uid=config.object.uid,
        workers=1 if spec is None else spec.compute.workers,
        earlier=tuple(attempt_name(run.name, a.number) for a in run.attempts if a.number < number),
    )


async def discard(kube: Kube, edges: Edges, identity: StoreIdentity, owner: Body, run: RunStatus) -> None:
    """Remove what is left of a Run that was replaced: its attempts in the runtime, what lies in the store, and its frozen inputs."""
    runtime = await edges.runtime(identity, tenant_of(owner))
    for attempt in run.attempts:
        await runtime.delete(attempt_name(run.name, attempt.number))
    await leftovers.collect(await edges.artifacts(identity, owner["metadata"]["namespace"]), owner, run)
    body = await kube.find(CONFIG_MAPS, owner["metadata"]["namespace"], run.name)
    if body is not None and is_owned_by(body, owner["metadata"]["uid"]):
        await kube.delete(CONFIG_MAPS, body)
