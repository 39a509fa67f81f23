"""Seventh stage: makes a collection hold exactly the artifact's chunks, and proves it by counting.

A new version gets a new collection, named by its digest. `inPlace` changes the previous collection by difference instead, which is refused
when encoder, schema, tenancy or vector index differ from it: such a change needs a new collection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import weaviate

from gradatim.api.ragindex import MetadataType
from gradatim.api.reasons import Reason
from gradatim.api.run import IndexInputs
from gradatim.api.runstatus import Failure
from gradatim.rag.store.connection import translated
from gradatim.rag.store.errors import ManifestError
from gradatim.rag.store.manifest import RetrievalManifest, read_manifest
from gradatim.rag.store.rows import IndexRow
from gradatim.rag.store.schema import CollectionDesign
from gradatim.rag.store.writer import CollectionWriter, LoadReport, LoadSettings
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.artifact import CHUNKS_FILE, Artifact
from gradatim.workloads.index.build import Build
from gradatim.workloads.index.reading import ParquetRows, Vectors, vectors_of
from gradatim.workloads.index.settings import inputs_of
from gradatim.workloads.index.tables import index_row

PAUSE_STEP = 0.2


def collection_name(inputs: IndexInputs, digest: str) -> str:
    """Return the collection of a version: the object's prefix and ten hex digits of the digest."""
    return inputs.collection_prefix + digest.removeprefix("sha256:")[:10]


def choose_target(build: Build, digest: str, client: weaviate.WeaviateClient) -> str:
    """Return the collection to load into. Raises WorkloadError User/StrategyRefused for a change that `inPlace` cannot make."""
    inputs = inputs_of(build.ctx.config)
    refresh = build.spec.refresh
    if refresh is None or refresh.strategy != "inPlace" or inputs.previous is None:
        return collection_name(inputs, digest)
    name = inputs.previous.collection
    with translated(f"reading collection {name}"):
        if name not in client.collections.list_all(simple=True):
            return collection_name(inputs, digest)
        description = client.collections.use(name).config.get(simple=True).description
    try:
        changed = in_place_obstacles(build, read_manifest(name, description))
    except ManifestError as error:
        raise _refused(str(error)) from error
    if changed:
        raise _refused(f"{', '.join(changed)} changed since collection {name} was made")
    return name


def in_place_obstacles(build: Build, former: RetrievalManifest) -> list[str]:
    """Return what differs between the spec and a collection that only a new collection can take."""
    pairs = {
        "embedding": (build.models.digest, former.encoder.digest),
        "schema": (build.settings.fields, tuple(former.fields)),
        "tenancy": (build.settings.tenant_field, former.tenant_field),
        "vectorIndex": (build.spec.vector_index, former.vector_index),
    }
    return [name for name, (wanted, found) in pairs.items() if wanted != found]


def open_writer(
    ctx: RunContext, client: weaviate.WeaviateClient, name: str, manifest: RetrievalManifest
) -> CollectionWriter:
    """Return the only writer of the collection in this Run."""
    settings = LoadSettings(pause=partial(_pause, ctx), progress=ctx.advance)
    return CollectionWriter(client, name, manifest.vector_name, manifest.tenant_field is not None, settings)


def load(
    ctx: RunContext,
    writer: CollectionWriter,
    manifest: RetrievalManifest,
    artifact: Artifact,
    expected: dict[str | None, int],
) -> LoadReport:
    """Create or open the collection, load it, describe it, count it. Nothing is asked but the manifest, which may be an earlier spec's."""
    design = CollectionDesign(
        name=writer.name,
        vector_name=manifest.vector_name,
        vector_index=manifest.vector_index,
        fields=tuple(manifest.fields),
        tenants=writer.tenants,
        description=manifest.to_description(),
    )
    if not writer.exists():
        writer.create(design)
    dates = frozenset(field.name for field in manifest.fields if field.type is MetadataType.DATE)
    report = writer.sync(artifact_rows(ctx, artifact, dates))
    writer.reconcile(expected, partial(artifact_rows, ctx, artifact, dates))
    writer.describe(manifest.to_description())
    return report


def artifact_rows(ctx: RunContext, artifact: Artifact, dates: frozenset[str]) -> Iterator[tuple[IndexRow, Vectors]]:
    """Yield the artifact's chunks with their vectors, one row group in memory at a time; `dates` names the metadata fields of that type."""
    for table in ParquetRows(ctx.store, artifact.file(CHUNKS_FILE)).groups():
        ctx.check_stop()
        vectors = vectors_of(table.column("vector"))
        for row, vector in zip(table.drop_columns(["vector", "key"]).to_pylist(), vectors, strict=True):
            yield index_row(row, dates), vector


def _pause(ctx: RunContext, seconds: float) -> None:
    """Wait between attempts at a request, in steps, so that an order to stop is obeyed."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        ctx.check_stop()
        time.sleep(min(PAUSE_STEP, left))


def _refused(why: str) -> WorkloadError:
    text = f"strategy inPlace cannot make this change: {why}; set refresh.strategy to blueGreen for it"
    return WorkloadError(Failure.USER, Reason.STRATEGY_REFUSED, text)
