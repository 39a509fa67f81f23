"""Decides whether the previous version is still what the sources and the spec ask for, and really there.

Called after resolving, before anything is parsed: an index that did not change costs its hashing and two requests. Imports no client of
the vector store: that alone would take longer.
"""

from __future__ import annotations

import logging

import pyarrow as pa

from gradatim.api.run import IndexOutput
from gradatim.rag.store.address import VectorStoreAddress
from gradatim.rag.store.errors import ManifestError
from gradatim.rag.store.manifest import read_manifest
from gradatim.rag.store.presence import presence
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import NotFound, StoreError
from gradatim.workloads.index.artifact import Artifact, ArtifactManifest
from gradatim.workloads.index.evaluating import EvaluationReport, read_report
from gradatim.workloads.index.settings import inputs_of

log = logging.getLogger("gradatim.workloads")


def unchanged_output(
    ctx: RunContext, address: VectorStoreAddress, resolved_digest: str, questions_digest: str | None
) -> IndexOutput | None:
    """Return the output of the previous version if nothing has to be done; None if the index must be built or measured.

    Needs the same resolved digest, the same questions and cut-offs, a readable artifact, and a collection with this version and the right count.
    """
    inputs = inputs_of(ctx.config)
    previous = inputs.previous
    if previous is None or inputs.force or previous.resolved_digest != resolved_digest:
        return None
    try:
        artifact = Artifact(ctx.store, ctx.store.path_of(previous.uri))
        manifest = artifact.manifest()
        report = read_report(artifact) if questions_digest is not None else None
    except (NotFound, StoreError, pa.ArrowInvalid) as error:
        log.warning("building again, the previous artifact cannot be read: %s", error)
        return None
    evaluation = ctx.config.index.evaluation if ctx.config.index else None
    cutoffs = sorted(evaluation.k) if evaluation else []
    if report is not None and (report.questions_digest, report.k) != (questions_digest, cutoffs):
        return None
    if manifest.digest != previous.digest or not _is_loaded(address, previous.collection, manifest):
        return None
    return recorded_output(manifest, artifact, previous.collection, report)


def _is_loaded(address: VectorStoreAddress, collection: str, manifest: ArtifactManifest) -> bool:
    found = presence(address, collection)
    if found is None:
        return False
    try:
        loaded = read_manifest(collection, found.description)
    except ManifestError:
        return False
    return (loaded.digest, found.objects) == (manifest.digest, manifest.chunks)


def recorded_output(
    manifest: ArtifactManifest, artifact: Artifact, collection: str, report: EvaluationReport | None
) -> IndexOutput:
    """Return the output of a version as its artifact tells it."""
    return IndexOutput(
        digest=manifest.digest,
        resolved_digest=manifest.resolved_digest,
        uri=artifact.uri,
        collection=collection,
        encoder_digest=manifest.encoder_digest,
        documents=manifest.documents,
        chunks=manifest.chunks,
        rejected=manifest.rejected,
        reused_vectors=manifest.chunks,
        metrics=report.metrics if report is not None else [],
    )
