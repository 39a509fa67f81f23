"""Reads what a pass over an object with Runs needs: the profile, upstream Datasets, the frozen inputs, the active attempt.

Called by the kinds' `observe`. Fresh reads by name only, never a list. A dependency that does not answer is recorded as unknown, so that the
plan can tell "not there" from "not seen". It decides nothing and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar
from urllib.parse import unquote

from pydantic import ValidationError

from gradatim.api.base import ReadModel
from gradatim.api.common import Validation
from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import Dataset
from gradatim.api.reasons import Reason
from gradatim.api.run import (
    ResolvedDataset,
    RunConfig,
    Stamp,
    SuiteDocument,
    attempt_name,
    document_digest,
    object_path,
)
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator.edges import Edges
from gradatim.operator.errors import DependencyError, WillNeverWork
from gradatim.operator.kube import CONFIG_MAPS, NAMESPACES, Body, Kube, is_owned_by, ours
from gradatim.operator.newer import run_config, understood
from gradatim.operator.queue import Key
from gradatim.operator.runs.attempts import OVER
from gradatim.operator.runs.lifecycle import Block
from gradatim.operator.runs.model import Evidence
from gradatim.operator.runtimes.base import Observed, Phase, Tenant
from gradatim.operator.stores.documents import ResultRejected, parse_progress, parse_result

CONFIG_KEY = "config.json"
M = TypeVar("M", bound=ReadModel)


@dataclass(frozen=True, slots=True)
class Surrounding:
    """What surrounds an object, as read in this pass."""

    profile: ComputeProfile | None
    namespace_labels: Mapping[str, str]
    datasets: tuple[ResolvedDataset, ...] = ()
    upstream: Mapping[str, str] = field(default_factory=dict)
    suite: SuiteDocument | None = None
    block: Block | None = None


async def surrounding(
    kube: Kube, namespace: str, profile: str, dataset_names: Iterable[str], validations: Iterable[Validation]
) -> Surrounding:
    """Read the profile, the namespace's labels, the Datasets and the suite that an object names."""
    found = await kube.recent(ours("computeprofiles"), "", profile)
    space = await kube.recent(NAMESPACES, "", namespace)
    block: Block | None = None
    resolved: list[ResolvedDataset] = []
    for name in dataset_names:
        body = await kube.find(ours("datasets"), namespace, name)
        known = None if body is None else readable(Dataset, body)
        if known is None:
            block = block or Block(Reason.DATASET_NOT_FOUND, f"Dataset {name!r} does not exist in this namespace")
        elif known.status is None or known.status.active is None:
            block = block or Block(Reason.WAITING_FOR_DATASET, f"Dataset {name!r} has no finished version yet")
        else:
            active = known.status.active
            resolved.append(ResolvedDataset(name=name, digest=active.digest, uri=active.uri))
    suite = None
    for validation in validations:
        if validation.suite_ref is not None:
            read = await _suite(kube, namespace, validation.suite_ref.name)
            if isinstance(read, Block):
                block = block or read
            else:
                suite = read
    return Surrounding(
        profile=None if found is None else readable(ComputeProfile, found),
        namespace_labels=(space or {}).get("metadata", {}).get("labels", {}),
        datasets=tuple(resolved),
        upstream={d.name: d.digest for d in resolved},
        suite=suite,
        block=block,
    )


def readable(model: type[M], body: Body) -> M:
    """Return what an object that others own says. Raises `WillNeverWork` where this release cannot read it."""
    try:
        return understood(model, body)[0]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{body.get('kind')} {body['metadata']['name']!r} cannot be used: {where}: {first['msg']}"
        raise WillNeverWork(Reason.INVALID_SPEC, message[:900]) from error


async def _suite(kube: Kube, namespace: str, name: str) -> SuiteDocument | Block:
    body = await kube.find(CONFIG_MAPS, namespace, name)
    text = (body or {}).get("data", {}).get("suite.json")
    if text is None:
        return Block(Reason.INVALID_SPEC, f"ConfigMap {name!r} with the key suite.json does not exist", stalled=True)
    try:
        json.loads(text)
        return SuiteDocument(name=name, document=text)
    except (ValueError, RecursionError) as error:
        message = f"suite.json of ConfigMap {name!r} is not a usable JSON document: {error}"
        return Block(Reason.INVALID_SPEC, message[:900], stalled=True)


@dataclass(frozen=True, slots=True)
class Frozen:
    """The frozen inputs of a Run: the ConfigMap as read, what it holds, and the digest of that.

    `document` is what attempts are given: a newer release may have frozen more than `config` knows.
    """

    body: Body | None
    config: RunConfig | None
    conflict: str | None = None
    digest: str | None = None
    document: Mapping[str, Any] | None = None


async def frozen(kube: Kube, namespace: str, uid: str, run: RunStatus) -> Frozen:
    """Read the ConfigMap of a Run. A foreign one under that name is a conflict, never ours to change.

    One that holds something else than status bound the Run to counts as absent: whoever may write ConfigMaps in a namespace could otherwise
    choose the limits, the store and the Secrets of a Run.
    """
    found = read_frozen(await kube.find(CONFIG_MAPS, namespace, run.name), uid, run.name)
    return found if found.digest == run.config_digest else Frozen(found.body, None, found.conflict)


async def given(kube: Kube, reader: Key, dataset: str) -> set[str]:
    """Return the digests of a Dataset that the frozen inputs of a reader's active Run name."""
    body = await kube.find(ours(reader.plural), reader.namespace, reader.name)
    run = ((body or {}).get("status") or {}).get("run") or {}
    if body is None or not run.get("name") or run.get("done"):
        return set()
    found = read_frozen(
        await kube.find(CONFIG_MAPS, reader.namespace, run["name"]), body["metadata"]["uid"], run["name"]
    )
    return {d.digest for d in found.config.datasets if d.name == dataset} if found.config else set()


def read_frozen(body: Body | None, uid: str, run: str) -> Frozen:
    """Return what a ConfigMap holds for the object `uid`. Pure."""
    if body is None:
        return Frozen(None, None)
    if not is_owned_by(body, uid):
        return Frozen(body, None, f"ConfigMap {run!r} belongs to somebody else; remove or rename it")
    try:
        document = json.loads(body.get("data", {}).get(CONFIG_KEY, ""))
        config = run_config(document)  # what is digested is what is used, and handed over
        # Over the document, not over the model: another release has other defaults and fields, and must not restart a Run.
        digest = document_digest(document)
    except (ValueError, RecursionError):
        return Frozen(body, None, f"ConfigMap {run!r} does not hold a RunConfig of this release; remove it")
    return Frozen(body, config, digest=digest if digest == config.digest else "", document=document)


BEFORE_WORK = frozenset({Phase.ABSENT, Phase.PENDING})  # nobody can have written of progress, and reads have a budget


async def evidence(edges: Edges, identity: StoreIdentity, tenant: Tenant, run: RunStatus, held: Frozen) -> Evidence:
    """Look at the active attempt: the runtime's view, its progress and its result."""
    config, document = held.config, held.document
    if run.done or not run.attempts or run.attempts[-1].outcome in OVER:
        return Evidence(config=config, document=document)
    last = run.attempts[-1]
    unknown: list[DependencyError] = []
    observed: Observed | None = None
    try:
        runtime = await edges.runtime(identity, tenant)
        observed = await runtime.observe(attempt_name(run.name, last.number))
    except DependencyError as error:
        unknown.append(error)
    if config is None:
        return Evidence(observed=observed, **_unknown(unknown))
    attempt = config.model_copy(update={"attempt": last.number})
    progress = result = rejected = None
    unread = False
    try:
        store = await edges.artifacts(identity, config.object.namespace)
        raw = await store.read(f"{attempt.attempt_path}/result.json")
        if raw is not None:
            result = parse_result(raw, attempt)
        elif last.heartbeat_at is not None or observed is None or observed.phase not in BEFORE_WORK:
            raw = await store.read(f"{attempt.attempt_path}/progress.json")
            progress = None if raw is None else parse_progress(raw, Stamp.of(attempt))
    except ResultRejected as error:
        rejected = str(error)
    except DependencyError as error:
        unknown.append(error)
        unread = True
    return Evidence(config, observed, progress, result, rejected, unread=unread, document=document, **_unknown(unknown))


class _Unknown(TypedDict):
    unknown: tuple[str, ...]
    unknown_reason: Reason


def _unknown(errors: list[DependencyError]) -> _Unknown:
    reason = errors[0].reason if errors else Reason.RETRYING
    return {"unknown": tuple(e.message for e in errors), "unknown_reason": reason}


def folder(body: Mapping[str, Any]) -> str:
    """Return the store folder of an object as read."""
    metadata = body["metadata"]
    return object_path(body["kind"], metadata["name"], metadata["uid"])


def stored_path(root: str, uri: str) -> str:
    """Return the path of `uri` below the store's root. Raises `WillNeverWork` for one that lies elsewhere."""
    if not uri.startswith(root):
        raise WillNeverWork(Reason.ARTIFACT_CORRUPT, f"{uri[:200]!r} does not lie in this object's artifact store")
    return unquote(uri.removeprefix(root)).strip("/")
