"""The retrieval manifest: what a client must know to query a collection, kept as JSON in the collection's description.

The index workload writes it, the retriever reads it after resolving an alias; nothing else travels between them. It is untrusted when read:
strict schema, bounded size. Pure.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from gradatim.api.base import Count, Digest, ReadModel, Short
from gradatim.api.ragindex import MetadataField, Prefix, Retrieval, VectorIndex
from gradatim.rag.store.errors import ManifestError

MAX_MANIFEST_BYTES = 65_536


class EncoderInfo(ReadModel):
    """The encoder that made the vectors; a query must be encoded by one with the same digest."""

    uri: Annotated[str, Field(max_length=1024)]
    digest: Digest
    dimension: Annotated[int, Field(ge=1, le=65_536)]
    normalize: bool = True
    prefix: Prefix = Field(default_factory=Prefix)
    precision: Short = "auto"


class RetrievalManifest(ReadModel):
    """Everything a client needs besides the address. `digest` names the version, `artifact_uri` its files."""

    format: Literal["gradatim.dev/index/v1"] = "gradatim.dev/index/v1"
    digest: Digest
    artifact_uri: Annotated[str, Field(max_length=2048)]
    encoder: EncoderInfo
    vector_index: VectorIndex
    fields: Annotated[list[MetadataField], Field(max_length=32)] = Field(default_factory=list)
    tenant_field: Short | None = None
    parents: bool = False
    retrieval: Retrieval = Field(default_factory=Retrieval)
    documents: Count = 0
    chunks: Count = 0

    @property
    def vector_name(self) -> str:
        """Return the name of the collection's vector: it changes with the encoder, so that a stale client fails loudly."""
        return vector_name(self.encoder.digest)

    def to_description(self) -> str:
        """Return the JSON text for a collection's description; the bounds of the fields keep it below MAX_MANIFEST_BYTES."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def vector_name(encoder_digest: str) -> str:
    """Return `e_` and the first eight hex digits of the encoder's digest."""
    return "e_" + encoder_digest.removeprefix("sha256:")[:8]


def read_manifest(collection: str, description: str | None) -> RetrievalManifest:
    """Return the manifest in a collection's description. Raises ManifestError for anything else."""
    if not description or len(description.encode()) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"collection {collection} carries no retrieval manifest; it was not built by a RAGIndex")
    try:
        return RetrievalManifest.model_validate_json(description)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(
            f"the manifest of collection {collection} cannot be read ({where}: {first['msg']}); rebuild the index or "
            "use the release that built it"
        ) from error
