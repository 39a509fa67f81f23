"""`RAGIndex`: builds, validates, evaluates and switches a versioned Weaviate index.

The spec is what a user declares; what is observed lies in `ragindexstatus`. The operator and the `index` workload read these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import SET, ApiModel, Digest, FieldName, Flag, ReadModel, Seconds, Uid, map_list, rules
from gradatim.api.common import Compute, Gate, Retry, Schedule, Validation
from gradatim.api.indexing import (
    Chunking,
    ChunkStrategy,
    Embedding,
    IndexSchema,
    MetadataField,
    MetadataType,
    ParentChunks,
    Parsing,
    Prefix,
    VectorIndex,
)
from gradatim.api.meta import ObjectMeta
from gradatim.api.ragindexstatus import Adoption, Candidate, IndexVersion, Promotion, RAGIndexStatus
from gradatim.api.retrieval import Diversity, Recency, Rerank, Retrieval
from gradatim.api.sources import NamedSource, Source

__all__ = [
    "AdoptFrom",
    "Adoption",
    "Candidate",
    "ChunkStrategy",
    "Chunking",
    "Diversity",
    "Embedding",
    "IndexEvaluation",
    "IndexRefresh",
    "IndexSchema",
    "IndexVersion",
    "MetadataField",
    "MetadataType",
    "ParentChunks",
    "Parsing",
    "Pin",
    "Prefix",
    "Promotion",
    "RAGIndex",
    "RAGIndexSpec",
    "RAGIndexStatus",
    "Recency",
    "Rerank",
    "Retrieval",
    "Tenancy",
    "VectorIndex",
    "Versions",
]


class IndexEvaluation(ApiModel):
    """Questions with gold passages, and the gates that promotion must pass.

    Questions are JSON lines: `{"id", "question", "gold": [{"document": <path>, "start": int, "end": int} | {"document", "quote"}]}`.
    """

    questions: Source | None = Field(default=None, description="JSON lines with id, question and gold passages.")
    k: Annotated[
        list[Annotated[int, Field(ge=1, le=100, strict=True)]],
        Field(min_length=1, max_length=8, json_schema_extra=SET),
    ] = Field(default=[1, 5, 10], description="Cut-offs of the metrics.")
    gates: Annotated[list[Gate], Field(max_length=32, json_schema_extra=map_list())] = Field(
        default_factory=list, description="All must hold, or the new version is not promoted."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.gates) || self.gates.size() == 0 || has(self.questions)", "gates need evaluation.questions"),
            (
                (
                    "!has(self.gates) || self.gates.all(g, !g.metric.contains('@') || g.metric.startsWith('span_') || "
                    "int(g.metric.split('@')[1]) in self.k)"
                ),
                "the cut-off of a gate's metric must be among evaluation.k",
            ),
        )
    )

    @model_validator(mode="after")
    def _questions(self) -> IndexEvaluation:
        if self.gates and self.questions is None:
            raise ValueError("gates need evaluation.questions")
        cutoffs = {f"@{k}" for k in self.k}
        for gate in self.gates:
            name, at, cutoff = gate.metric.partition("@")
            if at and not name.startswith("span_") and at + cutoff not in cutoffs:
                raise ValueError("the cut-off of a gate's metric must be among evaluation.k")
        return self


class IndexRefresh(Schedule):
    """When and how the index follows its sources."""

    on_change: Flag = Field(default=False, description="Rebuild when a Dataset used as a source has a new digest.")
    max_staleness_seconds: Annotated[int, Field(ge=1, le=315_360_000, strict=True)] | None = Field(
        default=None, description="Degraded once the sources were last found current longer ago than this."
    )
    strategy: Literal["blueGreen", "inPlace"] = Field(
        default="blueGreen",
        description="blueGreen builds a new collection and switches; inPlace changes the one that serves.",
    )


class Pin(ApiModel):
    """Serve exactly this version; nothing is rebuilt."""

    digest: Digest = Field(description="Digest of a version in status.history.")


class AdoptFrom(ApiModel):
    """Take vectors from what an index of this namespace and name left in the artifact store before it was lost."""

    uid: Uid = Field(description="metadata.uid of the object that is gone; its artifacts are read and never changed.")


class Versions(ApiModel):
    """How many finished versions stay and which one serves."""

    keep: Annotated[int, Field(ge=1, le=10, strict=True)] = Field(
        default=2, description="Finished versions kept, the active one included."
    )
    pin: Pin | None = None
    adopt_from: AdoptFrom | None = Field(
        default=None,
        description="Until a first version serves, builds take the vectors of unchanged texts from there; ignored afterwards.",
    )
    drop_after_seconds: Seconds = Field(
        default=600, description="Time between a version's retirement and the removal of its collection."
    )


class Tenancy(ApiModel):
    """One tenant of the collection per value of the field."""

    model_config = ConfigDict(
        json_schema_extra=rules(("!self.enabled || has(self.field)", "tenancy.enabled needs tenancy.field"))
    )
    enabled: Flag = Field(default=False, description="Immutable.")
    field: FieldName | None = Field(
        default=None, description="A text field of schema.metadata; its value is the tenant."
    )

    @model_validator(mode="after")
    def _field(self) -> Tenancy:
        if self.enabled and self.field is None:
            raise ValueError("tenancy.enabled needs tenancy.field")
        return self


_IN_PLACE = "!has(self.refresh) || self.refresh.strategy != 'inPlace' || "
_SPEC_RULES = (
    (
        _IN_PLACE + "!has(self.evaluation) || !has(self.evaluation.gates) || self.evaluation.gates.size() == 0",
        "strategy inPlace cannot be combined with gates: a changed collection cannot be taken back",
    ),
    (_IN_PLACE + "!has(self.versions.pin)", "strategy inPlace cannot be combined with versions.pin"),
    (_IN_PLACE + "self.versions.keep == 1", "strategy inPlace keeps no versions: set versions.keep to 1"),
    ("self.embedding.normalize || self.vectorIndex.distance != 'dot'", "distance dot needs embedding.normalize"),
    (
        (
            "!has(self.retrieval.recency) || (has(self.schema.metadata) && "
            "self.schema.metadata.exists(m, m.name == self.retrieval.recency.field && m.type == 'date'))"
        ),
        "retrieval.recency.field must be a date field of schema.metadata",
    ),
    (
        (
            "!self.tenancy.enabled || !has(self.tenancy.field) || (has(self.schema.metadata) && "
            "self.schema.metadata.exists(m, m.name == self.tenancy.field && m.type == 'text'))"
        ),
        "tenancy.field must be a text field of schema.metadata",
    ),
    ("self.tenancy.enabled == oldSelf.tenancy.enabled", "tenancy.enabled is immutable"),
)


class RAGIndexSpec(ApiModel):
    """What a user declares."""

    model_config = ConfigDict(json_schema_extra=rules(*_SPEC_RULES))

    sources: Annotated[list[NamedSource], Field(min_length=1, max_length=64, json_schema_extra=map_list())] = Field(
        description="What the index is built from."
    )
    parsing: Parsing = Field(default_factory=Parsing)
    chunking: Chunking = Field(default_factory=Chunking)
    embedding: Embedding
    schema_: IndexSchema = Field(default_factory=IndexSchema, alias="schema")
    vector_index: VectorIndex = Field(default_factory=VectorIndex)
    retrieval: Retrieval = Field(default_factory=Retrieval)
    validation: Validation = Field(default_factory=Validation)
    evaluation: IndexEvaluation | None = None
    refresh: IndexRefresh | None = None
    versions: Versions = Field(default_factory=Versions)
    tenancy: Tenancy = Field(default_factory=Tenancy)
    compute: Compute = Field(default_factory=Compute)
    retry: Retry = Field(default_factory=Retry)
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000, strict=True)] = Field(
        default=21_600, description="An attempt that takes longer has failed."
    )
    suspend: Flag = Field(
        default=False, description="Stop the active Run and start none; the active version serves on."
    )

    @model_validator(mode="after")
    def _cross(self) -> RAGIndexSpec:
        fields = {m.name: m.type for m in self.schema_.metadata}
        if self.refresh is not None and self.refresh.strategy == "inPlace":
            if self.evaluation is not None and self.evaluation.gates:
                raise ValueError(_SPEC_RULES[0][1])
            if self.versions.pin is not None:
                raise ValueError(_SPEC_RULES[1][1])
            if self.versions.keep != 1:
                raise ValueError(_SPEC_RULES[2][1])
        if self.vector_index.distance == "dot" and not self.embedding.normalize:
            raise ValueError(_SPEC_RULES[3][1])
        if self.retrieval.recency is not None and fields.get(self.retrieval.recency.field) is not MetadataType.DATE:
            raise ValueError(_SPEC_RULES[4][1])
        if self.tenancy.enabled and fields.get(self.tenancy.field or "") is not MetadataType.TEXT:
            raise ValueError(_SPEC_RULES[5][1])
        return self


class RAGIndex(ReadModel):
    """A versioned search index over documents: built, validated, evaluated, and switched once its gates pass."""

    api_version: Literal["gradatim.dev/v1alpha1"] = "gradatim.dev/v1alpha1"
    kind: Literal["RAGIndex"] = "RAGIndex"
    metadata: ObjectMeta
    spec: RAGIndexSpec
    status: RAGIndexStatus | None = None
