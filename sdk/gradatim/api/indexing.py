"""How an index is built: parsing, chunking, embedding, metadata and the vector index.

Parts of the spec of `RAGIndex`, which `ragindex` puts together and exports. They decide about the artifact: a change of one is a new build.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import ApiModel, FieldName, Flag, map_list, rules
from gradatim.api.common import ModelRef


class Parsing(ApiModel):
    """How files become text."""

    # Without a default: it would stand in the frozen inputs of every Run, which images of the release before refuse.
    ocr: Flag | None = Field(
        default=None,
        description="Recognise the text of pages without a text layer, and of png, jpeg and tiff files; absent means no.",
    )
    tables: Literal["markdown", "text"] = Field(default="markdown", description="How tables are written down.")
    max_pages: Annotated[int, Field(ge=1, le=100_000, strict=True)] = Field(
        default=5000, description="A longer document is rejected."
    )


class ChunkStrategy(StrEnum):
    """Where text is cut."""

    RECURSIVE = "recursive"
    SENTENCE = "sentence"
    SEMANTIC = "semantic"
    MARKDOWN = "markdown"
    FIXED = "fixed"


class ParentChunks(ApiModel):
    """Larger windows that stand in for their chunks when the answer is written."""

    enabled: Flag = Field(default=False, description="Keep such windows.")
    max_tokens: Annotated[int, Field(ge=32, le=8192, strict=True)] = Field(
        default=1024, description="Size of a window; above chunking.maxTokens."
    )


class Chunking(ApiModel):
    """Sizes are in tokens of the embedding model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.overlapTokens * 2 <= self.maxTokens", "overlapTokens must be at most half of maxTokens"),
            (
                "!self.parent.enabled || self.parent.maxTokens > self.maxTokens",
                "parent.maxTokens must exceed maxTokens",
            ),
        )
    )
    strategy: ChunkStrategy = ChunkStrategy.RECURSIVE
    max_tokens: Annotated[int, Field(ge=16, le=8192, strict=True)] = Field(
        default=256, description="Largest chunk; tables and code blocks are not cut where they fit."
    )
    overlap_tokens: Annotated[int, Field(ge=0, le=4096, strict=True)] = Field(
        default=32, description="Tokens that a chunk repeats of the one before; at most half of maxTokens."
    )
    parent: ParentChunks = Field(default_factory=ParentChunks)

    @model_validator(mode="after")
    def _sizes(self) -> Chunking:
        if self.overlap_tokens * 2 > self.max_tokens:
            raise ValueError("overlapTokens must be at most half of maxTokens")
        if self.parent.enabled and self.parent.max_tokens <= self.max_tokens:
            raise ValueError("parent.maxTokens must exceed maxTokens")
        return self


class Prefix(ApiModel):
    """Text put before every query and every document, as some encoders were trained with."""

    query: Annotated[str, Field(max_length=256)] = Field(default="", description="Before every query.")
    document: Annotated[str, Field(max_length=256)] = Field(default="", description="Before every chunk.")


class Embedding(ApiModel):
    """The encoder and how it is run."""

    model: ModelRef
    batch_tokens: Annotated[int, Field(ge=128, le=1_048_576, strict=True)] = Field(
        default=8192, description="Tokens in a batch, padding included."
    )
    normalize: Flag = Field(default=True, description="Scale every vector to length 1.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto takes bf16 where the processor has instructions for it."
    )
    prefix: Prefix = Field(default_factory=Prefix)


class MetadataType(StrEnum):
    """Type of a metadata field."""

    TEXT = "text"
    INT = "int"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"


class MetadataField(ApiModel):
    """A field of document metadata that queries may filter by."""

    name: FieldName = Field(description="Name of the field.")
    type: MetadataType = MetadataType.TEXT
    filterable: Flag = Field(default=True, description="Queries may filter by it.")


class IndexSchema(ApiModel):
    """Metadata kept beside every chunk."""

    metadata: Annotated[list[MetadataField], Field(max_length=32, json_schema_extra=map_list())] = Field(
        default_factory=list, description="Fields taken from sources[].metadata and from the documents themselves."
    )


class VectorIndex(ApiModel):
    """The vector index of each collection."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.type != 'flat' || self.quantization != 'pq'",
                "type flat does not support quantization pq: use bq, rq or none",
            )
        )
    )
    type: Literal["hnsw", "flat"] = Field(default="hnsw", description="flat compares with every vector: exact, slow.")
    distance: Literal["cosine", "dot", "l2-squared"] = Field(
        default="cosine", description="How vectors are compared; dot needs embedding.normalize."
    )
    ef_construction: Annotated[int, Field(ge=8, le=4096, strict=True)] = Field(
        default=128, description="Candidates looked at while the graph is built."
    )
    max_connections: Annotated[int, Field(ge=4, le=512, strict=True)] = Field(
        default=32, description="Edges of a node of the graph."
    )
    quantization: Literal["none", "rq", "pq", "bq"] = Field(
        default="none", description="Compression of vectors: rotational, product or binary."
    )
    replicas: Annotated[int, Field(ge=1, le=16, strict=True)] = Field(
        default=1, description="Copies of the collection; at most the nodes of the Weaviate cluster."
    )
    shards: Annotated[int, Field(ge=1, le=128, strict=True)] = Field(
        default=1, description="Parts of the collection; not used with tenants, which are shards themselves."
    )

    @model_validator(mode="after")
    def _compression(self) -> VectorIndex:
        if self.type == "flat" and self.quantization == "pq":
            raise ValueError("type flat does not support quantization pq: use bq, rq or none")
        return self
