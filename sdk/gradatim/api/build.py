"""Builds the frozen `RunConfig` of a Run from typed inputs, alike for the operator and for a run without a cluster.

Pure: no clock, no I/O, no environment. It refuses a config that a workload could not finish (an unresolved Dataset, a missing suite, no
vector store), so that nothing is submitted in vain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from gradatim.api.base import Digest
from gradatim.api.common import Source, Validation
from gradatim.api.computeprofile import ComputeProfileSpec, Limits
from gradatim.api.dataset import DatasetSpec
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import (
    IndexInputs,
    PreviousVersion,
    ResolvedDataset,
    RunConfig,
    RunObject,
    StoreConfig,
    SuiteDocument,
    VectorStoreConfig,
)

SUITE_KEY = "suite.json"


class BuildError(ValueError):
    """The inputs do not make a RunConfig; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The object as it was when the Run was decided, the Run's name and the attempt's number.

    `generation` of the object is the Run's, not the latest: all attempts of a Run must have one digest.
    """

    object: RunObject
    run: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a Run finds around it. `datasets` are those that the spec refers to, resolved; more are ignored."""

    store: StoreConfig
    vector_store: VectorStoreConfig | None = None
    limits: Limits = field(default_factory=Limits)
    secrets_path: str | None = None
    datasets: tuple[ResolvedDataset, ...] = ()
    suite: SuiteDocument | None = None


def dataset_run_config(
    identity: RunIdentity, spec: DatasetSpec, around: Surroundings, *, previous: Digest | None = None
) -> RunConfig:
    """Return the sealed config of workload `validate`. Raises `BuildError`."""
    _same_kind(identity, "Dataset")
    return RunConfig(
        workload="validate",
        object=identity.object,
        run=identity.run,
        attempt=identity.attempt,
        dataset=spec.model_copy(update={"suspend": False}),
        previous_dataset_digest=previous,
        datasets=_resolved(dataset_refs(spec), around.datasets),
        suite=_suite(spec.validation, around.suite),
        store=around.store,
        limits=around.limits,
        secrets_path=around.secrets_path,
        deadline_seconds=min(spec.active_deadline_seconds, around.limits.max_run_seconds),
    ).sealed()


def index_run_config(
    identity: RunIdentity,
    spec: RAGIndexSpec,
    around: Surroundings,
    *,
    previous: PreviousVersion | None = None,
    force: bool = False,
    restore: PreviousVersion | None = None,
) -> RunConfig:
    """Return the sealed config of workload `index`. Raises `BuildError`.

    With `restore` it goes without Datasets and a suite that are not there: a version is loaded without them.
    """
    _same_kind(identity, "RAGIndex")
    if around.vector_store is None:
        raise BuildError("an index needs a vector store: set spec.vectorStore of the ComputeProfile")
    adopt = None if previous is not None else adopted_uid(spec, identity.object.uid)
    # The inputs say what is adopted: a field that no longer counts must not reach a workload that does not know it.
    versions = spec.versions.model_copy(update={"adopt_from": None})
    return RunConfig(
        workload="index",
        object=identity.object,
        run=identity.run,
        attempt=identity.attempt,
        index=spec.model_copy(update={"suspend": False, "versions": versions}),
        index_inputs=IndexInputs(
            collection_prefix=collection_prefix(identity.object.uid),
            previous=previous,
            adopt_from=adopt,
            force=force,
            restore=restore,
        ),
        datasets=_resolved(index_refs(spec), around.datasets, partly=restore is not None),
        suite=around.suite if restore is not None else _suite(spec.validation, around.suite),
        store=around.store,
        vector_store=around.vector_store,
        limits=around.limits,
        secrets_path=around.secrets_path,
        deadline_seconds=min(spec.active_deadline_seconds, around.limits.max_run_seconds),
    ).sealed()


def adopted_uid(spec: RAGIndexSpec, own: str) -> str | None:
    """Return the uid that `versions.adoptFrom` names, None without it. Raises `BuildError` for the object's own."""
    found = spec.versions.adopt_from
    if found is not None and found.uid == own:
        raise BuildError(
            f"versions.adoptFrom.uid {own} is this object's own uid; name the object that is gone, or remove the field"
        )
    return None if found is None else found.uid


def collection_prefix(uid: str) -> str:
    """Return what every collection of the object starts with: `G`, ten hexadecimal digits of the uid's SHA-256, `_`."""
    return f"G{hashlib.sha256(uid.encode()).hexdigest()[:10]}_"


def dataset_refs(spec: DatasetSpec) -> list[str]:
    """Return the names of the Datasets that a Dataset reads, in order, each once."""
    return _refs([spec.source, *(d.source for d in spec.decontaminate)])


def index_refs(spec: RAGIndexSpec) -> list[str]:
    """Return the names of the Datasets that an index reads, in order, each once."""
    questions = spec.evaluation.questions if spec.evaluation else None
    return _refs([*(s.source for s in spec.sources), *([questions] if questions else [])])


def store_config(profile: ComputeProfileSpec, namespace: str) -> StoreConfig:
    """Return the workload's view of a profile's artifact store, with the namespace filled in."""
    store = profile.artifact_store
    root = store.root.replace("{namespace}", namespace)
    return StoreConfig(
        root=root if root.endswith("/") else f"{root}/",
        endpoint=store.endpoint,
        region=store.region,
        secret_name=store.workload_secret_name,
    )


def vector_store_config(profile: ComputeProfileSpec) -> VectorStoreConfig | None:
    """Return the workload's view of a profile's vector store."""
    if profile.vector_store is None:
        return None
    return VectorStoreConfig(
        endpoint=profile.vector_store.endpoint,
        grpc_endpoint=profile.vector_store.grpc_endpoint,
        secret_name=profile.vector_store.workload_secret_name,
    )


def _refs(sources: Iterable[Source]) -> list[str]:
    return list(dict.fromkeys(s.dataset_ref.name for s in sources if s.dataset_ref is not None))


def _resolved(
    names: list[str], datasets: tuple[ResolvedDataset, ...], *, partly: bool = False
) -> list[ResolvedDataset]:
    by_name = {d.name: d for d in datasets}
    if partly:
        return [by_name[name] for name in names if name in by_name]
    missing = [name for name in names if name not in by_name]
    if missing:
        raise BuildError(f"unresolved Datasets: {', '.join(missing)}; each must have a digest before a Run starts")
    return [by_name[name] for name in names]


def _suite(validation: Validation, suite: SuiteDocument | None) -> SuiteDocument | None:
    if validation.suite_ref is None:
        return None
    if suite is None or suite.name != validation.suite_ref.name:
        raise BuildError(f"the suite {validation.suite_ref.name} is missing: a ConfigMap with the key {SUITE_KEY}")
    return suite


def _same_kind(identity: RunIdentity, kind: str) -> None:
    if identity.object.kind != kind:
        raise BuildError(f"the identity is of kind {identity.object.kind}, the spec of kind {kind}")
