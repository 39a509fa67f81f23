"""The index artifact: where its files lie, its manifest, and how a finished one is recognised.

`<object>/versions/<16 hex>/` holds `chunks.parquet`, `documents.parquet`, `rejected.parquet`, `evaluation.json` and `manifest.json`. The
manifest is written last: an artifact without one, or with another digest, does not exist. Written here, read by later builds and by people.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from gradatim.api.base import Count, Digest, ReadModel, Short
from gradatim.rag.store.manifest import RetrievalManifest
from gradatim.workloads.errors import NotFound, StoreError
from gradatim.workloads.store import ArtifactStore

MANIFEST, EVALUATION = "manifest.json", "evaluation.json"
CHUNKS_FILE, DOCUMENTS_FILE, REJECTED_FILE = "chunks.parquet", "documents.parquet", "rejected.parquet"
MAX_MANIFEST_BYTES = 1_048_576
ROW_GROUP = 4096


class ArtifactManifest(ReadModel):
    """What an artifact holds and what it was made from. `parse`, `chunk` and `encoder` decide what a later build may carry over."""

    format: Literal["gradatim.dev/index-artifact/v1"] = "gradatim.dev/index-artifact/v1"
    digest: Digest
    resolved_digest: Digest
    parse_digest: Digest
    chunk_digest: Digest
    encoder_digest: Digest
    dimension: Annotated[int, Field(ge=1, le=65_536)]
    files: Count
    documents: Count
    chunks: Count
    rejected: Count = 0
    adopted_from: Short | None = Field(default=None, description="The object that lent vectors when this was written.")
    adopted: Count = Field(default=0, description="Chunks whose vector it lent.")
    retrieval: RetrievalManifest


def version_path(object_path: str, digest: str) -> str:
    """Return the folder of a version below the store's root."""
    return f"{object_path}/versions/{digest.removeprefix('sha256:')[:16]}"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version's folder in the store."""

    store: ArtifactStore
    path: str

    @property
    def uri(self) -> str:
        """The address that results and manifests carry."""
        return self.store.uri(self.path)

    def file(self, name: str) -> str:
        """Return the path of one of its files."""
        return f"{self.path}/{name}"

    def manifest(self) -> ArtifactManifest:
        """Read the manifest. Raises NotFound, or StoreError for one that cannot be read."""
        try:
            return ArtifactManifest.model_validate_json(self.store.read(self.file(MANIFEST), MAX_MANIFEST_BYTES))
        except ValidationError as error:
            raise StoreError(f"{self.file(MANIFEST)} is not a manifest of an index artifact") from error

    def finished(self, digest: str) -> ArtifactManifest | None:
        """Return the manifest if the artifact was finished as this version."""
        try:
            found = self.manifest()
        except (NotFound, StoreError):
            return None
        return found if found.digest == digest else None

    def finish(self, manifest: ArtifactManifest) -> None:
        """Write the manifest; from now on the artifact exists."""
        self.store.write(
            self.file(MANIFEST), manifest.model_dump_json(by_alias=True, exclude_none=True, indent=1).encode()
        )


@contextlib.contextmanager
def parquet_writer(store: ArtifactStore, path: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Open a Parquet file for writing table by table; it appears when the block ends."""
    with store.open_output(path) as stream, parquet_to(stream, schema) as write:
        yield write


@contextlib.contextmanager
def parquet_to(stream: pa.NativeFile, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Write Parquet table by table to a stream. Vectors and hashes do not compress: they stay plain."""
    plain = {"vector", "key", "file"}
    packed = [name for name in schema.names if name not in plain]
    compression = {**dict.fromkeys(packed, "zstd"), **dict.fromkeys(plain & set(schema.names), "none")}
    with pq.ParquetWriter(
        stream,
        schema,
        compression={_leaf(schema, name): codec for name, codec in compression.items()},
        use_dictionary=[name for name in ("source", "path", "parser", "tenant", "metadata") if name in schema.names],
        write_statistics=False,
    ) as writer:

        def write(table: pa.Table) -> None:
            writer.write_table(table.select(schema.names).cast(schema), row_group_size=ROW_GROUP)

        yield write


def _leaf(schema: pa.Schema, name: str) -> str:
    kind = schema.field(name).type
    nested = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    return f"{name}.list.element" if nested else name
