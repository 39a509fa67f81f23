"""Loads a version that was there from its artifact: no source, no model, no question, whatever the spec says by now.

Called by `build_index` where the run config has `restore`, for a collection that the vector store has lost. What it loads, and how the
collection is made, is written in the artifact. One that cannot be used is a failure where the spec has a pin; otherwise the build goes on.
"""

from __future__ import annotations

import logging

import pyarrow as pa

from gradatim.api.build import index_refs
from gradatim.api.reasons import Reason
from gradatim.api.run import PreviousVersion, RunConfig, RunResult
from gradatim.api.runstatus import Failure
from gradatim.rag.store.address import VectorStoreAddress
from gradatim.rag.store.manifest import RetrievalManifest
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import NotFound, StoreError, WorkloadError
from gradatim.workloads.index.artifact import CHUNKS_FILE, MANIFEST, Artifact, ArtifactManifest
from gradatim.workloads.index.evaluating import EvaluationReport, read_report
from gradatim.workloads.index.identity import VersionHash
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.index.settings import inputs_of
from gradatim.workloads.index.tables import chunks_schema
from gradatim.workloads.index.unchanged import recorded_output

log = logging.getLogger("gradatim.workloads")


def restored(ctx: RunContext, address: VectorStoreAddress) -> RunResult | None:
    """Load the version that the config says; None where it says none, or where it has to be built after all.

    Raises WorkloadError Data/ArtifactCorrupt where the artifact cannot be used and nothing else may be built.
    """
    version = inputs_of(ctx.config).restore
    if version is None:
        return None
    try:
        return _load(ctx, address, version)
    except MemoryError:  # Arrow's is an ArrowException too, and says nothing about the artifact
        raise
    except (StoreError, pa.ArrowException) as error:
        problem = str(error)
    except OSError as error:
        # Arrow says so too of a file of this machine that is damaged inside; from afar it is the store that failed.
        if not ctx.store.local or error.errno is not None:
            raise
        problem = str(error)
    text = f"the artifact {version.uri} cannot be loaded: {problem}"
    if (why := _must_not_build(ctx.config)) is not None:
        raise WorkloadError(Failure.DATA, Reason.ARTIFACT_CORRUPT, f"{text}; restore it from a backup, or {why}")
    log.warning("building from the sources, %s", text)
    _disown(ctx, version)
    return None


def _must_not_build(config: RunConfig) -> str | None:
    """Return what has to be done before the version may be built from its sources, or None."""
    spec = config.index
    if spec is None or spec.versions.pin is not None:
        return "remove versions.pin to build from the sources"
    lacks = set(index_refs(spec)) - {found.name for found in config.datasets}
    if lacks:
        return f"see that the Datasets {', '.join(sorted(lacks))} are ready, to build from the sources"
    if spec.validation.suite_ref is not None and config.suite is None:
        return f"create the suite {spec.validation.suite_ref.name}, to build from the sources"
    return None


def _disown(ctx: RunContext, version: PreviousVersion) -> None:
    """Take the manifest off a damaged artifact, so that the build does not take it for finished."""
    try:
        path = ctx.store.path_of(version.uri)
    except StoreError:
        return  # it lies elsewhere
    if ctx.is_latest():
        ctx.store.delete(f"{path}/{MANIFEST}")


def _load(ctx: RunContext, address: VectorStoreAddress, version: PreviousVersion) -> RunResult:
    # The store's client: importing it would be most of an unchanged Run's time.
    from gradatim.rag.store.connection import connected
    from gradatim.workloads.index.loading import load, open_writer

    artifact = Artifact(ctx.store, ctx.store.path_of(version.uri))
    manifest = artifact.manifest()
    if manifest.digest != version.digest:
        raise StoreError(f"its manifest names another version than {version.digest}")
    ctx.stage("load", manifest.chunks)
    expected = _counted(ctx, artifact, manifest)
    report = _report(artifact)
    description = _described(manifest.retrieval, report)
    with connected(address) as client:
        load(ctx, open_writer(ctx, client, version.collection, description), description, artifact, expected)
    # Nothing was built: an operator that was rolled back meanwhile would take a version that has succeeded for its newest one.
    return ctx.result(
        "Unchanged",
        message=f"{manifest.chunks} chunks of {manifest.documents} documents loaded again from their artifact into {version.collection}",
        index=recorded_output(manifest, artifact, version.collection, report),
    )


def _counted(ctx: RunContext, artifact: Artifact, manifest: ArtifactManifest) -> dict[str | None, int]:
    """Return the number of chunks by tenant. Raises StoreError for chunks that are not those of the manifest."""
    rows, wanted = ParquetRows(ctx.store, artifact.file(CHUNKS_FILE)), chunks_schema(manifest.dimension)
    if (
        not set(wanted.names) <= set(rows.schema.names)
        or rows.schema.field("vector").type != wanted.field("vector").type
    ):
        raise StoreError(f"{CHUNKS_FILE} does not have the columns that are loaded")
    named, found = VersionHash(manifest.resolved_digest), dict[str | None, int]()
    for table in rows.groups(["id", "tenant"]):
        ctx.check_stop()
        named.add(map(str, table.column("id").to_pylist()))
        for entry in table.column("tenant").value_counts().to_pylist():
            found[entry["values"]] = found.get(entry["values"], 0) + entry["counts"]
    if (named.digest(), sum(found.values())) != (manifest.digest, manifest.chunks):
        raise StoreError(f"{CHUNKS_FILE} does not hold the chunks that its digest stands for")
    return found


def _report(artifact: Artifact) -> EvaluationReport | None:
    """Return what was measured; without it the version is loaded all the same."""
    try:
        return read_report(artifact)
    except NotFound:
        return None
    except StoreError as error:
        log.warning("loading without its evaluation: %s", error)
        return None


def _described(manifest: RetrievalManifest, report: EvaluationReport | None) -> RetrievalManifest:
    """Return what clients will read: a Run that has measured the version again may have given it other search settings since."""
    return manifest if report is None else manifest.model_copy(update={"retrieval": report.retrieval})
