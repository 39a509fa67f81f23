"""Runs Datasets and RAGIndexes on this machine without a cluster: same workloads, same configs, same gates.

Used by `gradatim run -f` and by notebooks. The workload itself is `gradatim.workloads`, found by name at run time because it belongs to the
extra `index`; this module builds its config, judges its result and keeps the object's status in the state folder.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from gradatim.api.build import (
    BuildError,
    RunIdentity,
    Surroundings,
    dataset_refs,
    dataset_run_config,
    index_refs,
    index_run_config,
    store_config,
)
from gradatim.api.computeprofile import Limits
from gradatim.api.dataset import Dataset
from gradatim.api.meta import ObjectMeta
from gradatim.api.ragindex import IndexVersion, RAGIndex
from gradatim.api.run import (
    PreviousVersion,
    ResolvedDataset,
    RunConfig,
    RunObject,
    RunResult,
    StoreConfig,
    SuiteDocument,
    VectorStoreConfig,
)
from gradatim.api.runstatus import Progress
from gradatim.client.errors import (
    GradatimError,
    InvalidError,
    MissingExtraError,
    RunFailedError,
    UnsupportedError,
)
from gradatim.client.localdelete import LocalRemoval, delete_local
from gradatim.client.localinputs import Inputs, ordered, read_inputs
from gradatim.client.localstate import ANNOTATION_RUNS, LocalState
from gradatim.client.localstatus import Verdict, dataset_status, forgotten, index_status, to_drop, without_collections
from gradatim.client.manifests import Manifest, read_manifests
from gradatim.client.vectorstore import VectorAccess, drop_collections, find_vector_store, require_answer

OnProgress = Callable[[str, Progress], None]
Runner = Callable[[RunConfig, Callable[[Progress], None]], RunResult]
DEFAULT_STATE = Path(".gradatim") / "local"


@dataclass(frozen=True, slots=True)
class LocalOutcome:
    """How one object's run ended. `thing` carries the status that a cluster would show."""

    thing: Dataset | RAGIndex
    ok: bool
    outcome: str
    reason: str
    message: str
    result: RunResult

    @property
    def name(self) -> str:
        """Return kind and name."""
        return f"{self.thing.kind.lower()}/{self.thing.metadata.name}"


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """A state folder in which runs take place, and the Weaviate that indexes are loaded into.

    `vectors` defaults to the local platform's Weaviate if it is up. `runner` is what executes a config; it defaults to a child process.
    """

    state: Path = DEFAULT_STATE
    vectors: VectorAccess | None = None
    platform_state: Path | None = None
    runner: Runner | None = None

    def run(
        self, where: str | Path | Sequence[Manifest], *, on_progress: OnProgress | None = None, force: bool = False
    ) -> Iterator[LocalOutcome]:
        """Run all Datasets and then all RAGIndexes of a file, a folder or manifests; give each outcome when it is there.

        Stops after the first that failed, as what follows may need it. Raises `RunFailedError` if a workload ends without a result,
        `InvalidError` or `ManifestError` for wrong input, `MissingExtraError` without the extra `index`.
        """
        manifests = read_manifests(where) if isinstance(where, str | Path) else where
        inputs = read_inputs(manifests)
        state = LocalState(self.state.expanduser().absolute())
        state.prepare()
        runner = self.runner or _child_process_runner()
        with state.locked():
            vectors = self._vectors(state, inputs)
            if vectors is not None and inputs.indexes and self.runner is None:
                require_answer(vectors)
            work = _Work(state, inputs, vectors, runner, on_progress, force=force)
            for thing in ordered(inputs):
                outcome = work.run(thing)
                yield outcome
                if not outcome.ok:
                    return

    def delete(self, where: str | Path | Sequence[Manifest]) -> list[LocalRemoval]:
        """Remove what runs of these manifests left in this folder and in Weaviate, the indexes first; what is gone is no error.

        Collections are deleted where the index was loaded into, or where `vectors` says. While that Weaviate does not answer nothing is
        removed: raises `UnreachableError`, `UnauthorizedError` or `ServerError`. Artifacts in another store than this folder stay.
        """
        manifests = read_manifests(where) if isinstance(where, str | Path) else where
        state = LocalState(self.state.expanduser().absolute())
        return delete_local(state, manifests, self.vectors, self.platform_state)

    def _vectors(self, state: LocalState, inputs: Inputs) -> VectorAccess | None:
        if self.vectors is not None or not inputs.indexes:
            return self.vectors
        found = self._known_vectors(state, inputs)
        if found is None:
            raise UnsupportedError(
                "an index needs a Weaviate to load into, and none is known",
                hint="start the local platform with `gradatim up`, or name one with --weaviate and --weaviate-grpc",
            )
        return found

    def _known_vectors(self, state: LocalState, inputs: Inputs) -> VectorAccess | None:
        if inputs.profile is not None and inputs.profile.spec.vector_store is not None:
            return VectorAccess.of_profile(inputs.profile.spec, state.secrets)
        return find_vector_store(self.platform_state)


def _child_process_runner() -> Runner:
    try:
        local = import_module("gradatim.workloads.local")
        errors = import_module("gradatim.workloads.errors")
    except ImportError as error:
        raise MissingExtraError("index", "running workloads on this machine") from error

    def run(config: RunConfig, on_progress: Callable[[Progress], None]) -> RunResult:
        try:
            result: RunResult = local.run_local(config, on_progress)
        except (local.LocalRunError, errors.StoreError, errors.SecretError, OSError) as error:
            raise RunFailedError(f"{config.object.name}: {error}", reason="UserError") from error
        return result

    return run


@dataclass(frozen=True, slots=True)
class _Work:
    """One call of `run`."""

    state: LocalState
    inputs: Inputs
    vectors: VectorAccess | None
    runner: Runner
    on_progress: OnProgress | None
    force: bool

    def run(self, thing: Dataset | RAGIndex) -> LocalOutcome:
        known = self._remembered(thing)
        config = self._config(known)
        told = f"{known.kind.lower()}/{known.metadata.name}"
        report = self.on_progress
        result = self.runner(config, lambda p: report(told, p) if report else None)
        verdict: Verdict
        if isinstance(known, Dataset):
            data_status, verdict = dataset_status(known, result, config.run)
            done: Dataset | RAGIndex = known.model_copy(update={"status": data_status})
        else:
            done, verdict = self._finish_index(known, result, config)
        self.state.write(done, config.object.namespace, config.object.name)
        outcome = result.outcome if verdict.ok or result.outcome not in {"Succeeded", "Unchanged"} else "Refused"
        return LocalOutcome(done, verdict.ok, outcome, verdict.reason.value, verdict.message, result)

    def _finish_index(self, index: RAGIndex, result: RunResult, config: RunConfig) -> tuple[RAGIndex, Verdict]:
        status, verdict = index_status(index, result, config.run)
        store = config.vector_store
        status = status.model_copy(
            update={"endpoint": store.endpoint, "grpc_endpoint": store.grpc_endpoint} if store else {}
        )
        done = index.model_copy(update={"status": status})
        if (lost := forgotten(index.status, status)) and self.vectors is not None:
            # Dropped before they are forgotten: nothing else knows that they are ours.
            drop_collections(self.vectors, [v.collection for v in lost])
        # Written before anything is dropped: a version that is listed may be missing, a version that serves may not.
        self.state.write(done, config.object.namespace, config.object.name)
        dropped: list[IndexVersion] = to_drop(done, status)
        if dropped and self.vectors is not None:
            drop_collections(self.vectors, [v.collection for v in dropped])
            done = done.model_copy(update={"status": without_collections(status, dropped)})
        return done, verdict

    def _remembered(self, thing: Dataset | RAGIndex) -> Dataset | RAGIndex:
        """Return the object with what the last run left of it, and its generation and run counter moved on."""
        namespace, name = thing.metadata.namespace or "default", thing.metadata.name
        old = self.state.read(type(thing), namespace, name)
        # Not from one: a status that was removed may have left results of its runs in a store elsewhere, under the same uid.
        generation, runs = 1, time.time_ns()
        if old is not None:
            changed = old.spec.to_manifest() != thing.spec.to_manifest()
            generation = (old.metadata.generation or 1) + (1 if changed else 0)
            runs = int(old.metadata.annotations.get(ANNOTATION_RUNS, "0")) + 1
        meta = ObjectMeta(
            name=name,
            namespace=namespace,
            uid=self.state.uid(thing.kind, namespace, name),
            generation=generation,
            labels=thing.metadata.labels,
            annotations=thing.metadata.annotations | {ANNOTATION_RUNS: str(runs)},
        )
        known = thing.model_copy(update={"metadata": meta, "status": old.status if old else None})
        # The counter is spent even if this run dies: a result of another run must never be taken for this one's.
        self.state.write(known, namespace, name)
        return known

    def _config(self, thing: Dataset | RAGIndex) -> RunConfig:
        meta = thing.metadata
        identity = RunIdentity(
            RunObject(
                kind=thing.kind,
                namespace=meta.namespace or "default",
                name=meta.name,
                uid=meta.uid or "",
                generation=meta.generation or 1,
            ),
            _run_name(meta),
        )
        try:
            if isinstance(thing, Dataset):
                previous = thing.status.digest if thing.status and not self.force else None
                return dataset_run_config(identity, thing.spec, self._around(thing), previous=previous)
            return index_run_config(
                identity, thing.spec, self._around(thing), previous=_previous(thing), force=self.force
            )
        except BuildError as error:
            raise InvalidError(f"{thing.kind} {meta.name}: {error}") from error

    def _around(self, thing: Dataset | RAGIndex) -> Surroundings:
        namespace = thing.metadata.namespace or "default"
        profile = self.inputs.profile
        refs = dataset_refs(thing.spec) if isinstance(thing, Dataset) else index_refs(thing.spec)
        suite = thing.spec.validation.suite_ref
        text = self.inputs.suites.get(suite.name) if suite else None
        vectors = self.vectors
        return Surroundings(
            store=store_config(profile.spec, namespace) if profile else StoreConfig(root=self._store_root(namespace)),
            vector_store=_reachable(vectors),
            limits=profile.spec.limits if profile else _LIMITS,
            secrets_path=str(vectors.secrets if vectors and vectors.secrets else self.state.secrets),
            datasets=tuple(r for ref in refs if (r := self._resolved(ref, namespace)) is not None),
            suite=SuiteDocument(name=suite.name, document=text) if suite and text else None,
        )

    def _store_root(self, namespace: str) -> str:
        return f"file://{self.state.store / namespace}/"  # as it is: stores decode nothing

    def _resolved(self, name: str, namespace: str) -> ResolvedDataset | None:
        found = self.state.read(Dataset, namespace, name)
        active = found.status.active if found and found.status else None
        return ResolvedDataset(name=name, digest=active.digest, uri=active.uri) if active else None


# It is the user's own machine and account: nothing is out of bounds that the user could not read anyway.
_LIMITS = Limits(allowed_source_roots=["/"], allow_private_networks=True)


def _reachable(vectors: VectorAccess | None) -> VectorStoreConfig | None:
    return vectors.config if vectors else None


def _run_name(meta: ObjectMeta) -> str:
    trigger = f"{meta.uid}/{meta.generation}/{meta.annotations[ANNOTATION_RUNS]}"
    return f"{meta.name[:29].strip('-')}-{hashlib.sha256(trigger.encode()).hexdigest()[:10]}"


def _previous(index: RAGIndex) -> PreviousVersion | None:
    active = index.status.active if index.status else None
    if active is None:
        return None
    return PreviousVersion(
        digest=active.digest, uri=active.uri, collection=active.collection, resolved_digest=active.resolved_digest
    )


def failure_of(outcome: LocalOutcome) -> GradatimError:
    """Return the error of an outcome that is not ok, for callers that raise."""
    return RunFailedError(f"{outcome.name}: {outcome.reason}: {outcome.message}", reason=outcome.reason)


__all__ = ["DEFAULT_STATE", "Inputs", "LocalBackend", "LocalOutcome", "LocalRemoval", "failure_of", "read_inputs"]
