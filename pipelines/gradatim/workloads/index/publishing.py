"""Sixth stage: writes the artifact from the checkpoints, part by part, and its manifest last.

A finished artifact of the same digest is left as it is. Memory holds one part of chunks with its vectors at a time.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.rag.store.manifest import RetrievalManifest
from gradatim.workloads.index.artifact import (
    CHUNKS_FILE,
    DOCUMENTS_FILE,
    REJECTED_FILE,
    Artifact,
    ArtifactManifest,
    parquet_writer,
)
from gradatim.workloads.index.build import Build
from gradatim.workloads.index.chunking import Chunked
from gradatim.workloads.index.embedding import Embedded
from gradatim.workloads.index.reading import vector_array
from gradatim.workloads.index.tables import CHUNKS, DOCUMENTS, Rejection, chunks_schema, rejections_to_table


def retrieval_manifest(build: Build, chunked: Chunked, artifact: Artifact, dimension: int) -> RetrievalManifest:
    """Return what clients will read from the collection."""
    return RetrievalManifest(
        digest=chunked.digest,
        artifact_uri=artifact.uri,
        encoder=build.models.info(build.spec.embedding, dimension),
        vector_index=build.spec.vector_index,
        fields=list(build.settings.fields),
        tenant_field=build.settings.tenant_field,
        parents=build.settings.chunk.parent_max_tokens is not None,
        retrieval=build.spec.retrieval,
        documents=chunked.documents,
        chunks=chunked.chunks,
    )


def publish(build: Build, artifact: Artifact, manifest: ArtifactManifest, embedded: Embedded, chunked: Chunked) -> None:
    """Write `chunks.parquet` and the manifest; the other files are there already."""
    dimension = embedded.dimension
    schema = chunks_schema(dimension)
    with parquet_writer(build.ctx.store, artifact.file(CHUNKS_FILE), schema) as write:
        for part in chunked.parts:
            build.ctx.check_stop()
            table = pq.read_table(build.ctx.store.open_input(part), schema=CHUNKS)
            if len(table):
                vectors = embedded.library.take(table.column("key").to_pylist(), dimension)
                write(table.append_column(schema.field("vector"), vector_array(vectors)))
            build.ctx.advance()
    artifact.finish(manifest)


def publish_documents(
    build: Build, artifact: Artifact, parts: tuple[str, ...], rejected: frozenset[str], rejections: list[Rejection]
) -> None:
    """Write `documents.parquet`, in which refused documents are marked, and `rejected.parquet`."""
    with parquet_writer(build.ctx.store, artifact.file(DOCUMENTS_FILE), DOCUMENTS) as write:
        for part in parts:
            build.ctx.check_stop()
            table = pq.read_table(build.ctx.store.open_input(part), schema=DOCUMENTS)
            flags = pa.array([name in rejected for name in table.column("id").to_pylist()], pa.bool_())
            write(table.set_column(DOCUMENTS.get_field_index("rejected"), DOCUMENTS.field("rejected"), flags))
    build.write_table(artifact.file(REJECTED_FILE), rejections_to_table(rejections))
