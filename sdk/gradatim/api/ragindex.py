"""`RAGIndex`: builds, validates, evaluates and switches a versioned Weaviate index.

The spec is what a user declares; the status names what serves now (`active`), what is being built (`candidate`) and what came before
(`history`). The operator and the `index` workload read these types.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import (
    SET,
    ApiModel,
    Count,
    Digest,
    FieldName,
    Name,
    ReadModel,
    Seconds,
    Short,
    Text,
    Timestamp,
    map_list,
    rules,
)
from gradatim.api.common import Compute, Gate, ModelRef, NamedSource, Retry, Schedule, Source, Validation
from gradatim.api.meta import Condition, ObjectMeta, State
from gradatim.api.runstatus import (
    GateVerdicts,
    Metrics,
    Progress,
    ReasonCounts,
    RunStatus,
    StoreIdentity,
    ValidationSummary,
)


class Parsing(ApiModel):
    """How files become text."""

    tables: Literal["markdown", "text"] = "markdown"
    max_pages: Annotated[int, Field(ge=1, le=100_000)] = 5000


class ChunkStrategy(StrEnum):
    """Where text is cut."""

    RECURSIVE = "recursive"
    SENTENCE = "sentence"
    SEMANTIC = "semantic"
    MARKDOWN = "markdown"
    FIXED = "fixed"


class ParentChunks(ApiModel):
    """Larger windows that stand in for their chunks when the answer is written."""

    enabled: bool = False
    max_tokens: Annotated[int, Field(ge=32, le=8192)] = 1024


class Chunking(ApiModel):
    """Sizes are in tokens of the embedding model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.overlapTokens < self.maxTokens", "overlapTokens must be below maxTokens"),
            (
                "!self.parent.enabled || self.parent.maxTokens > self.maxTokens",
                "parent.maxTokens must exceed maxTokens",
            ),
        )
    )
    strategy: ChunkStrategy = ChunkStrategy.RECURSIVE
    max_tokens: Annotated[int, Field(ge=8, le=8192)] = 256
    overlap_tokens: Annotated[int, Field(ge=0, le=4096)] = 32
    parent: ParentChunks = Field(default_factory=ParentChunks)

    @model_validator(mode="after")
    def _sizes(self) -> Chunking:
        if self.overlap_tokens >= self.max_tokens:
            raise ValueError("overlapTokens must be below maxTokens")
        if self.parent.enabled and self.parent.max_tokens <= self.max_tokens:
            raise ValueError("parent.maxTokens must exceed maxTokens")
        return self


class Prefix(ApiModel):
    """Text put before every query and every document, as some encoders were trained with."""

    query: Annotated[str, Field(max_length=256)] = ""
    document: Annotated[str, Field(max_length=256)] = ""


class Embedding(ApiModel):
    """The encoder and how it is run."""

    model: ModelRef
    batch_tokens: Annotated[int, Field(ge=128, le=1_048_576)] = 8192
    normalize: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
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

    name: FieldName
    type: MetadataType = MetadataType.TEXT
    filterable: bool = True


class IndexSchema(ApiModel):
    """Metadata kept beside every chunk."""

    metadata: Annotated[list[MetadataField], Field(max_length=32, json_schema_extra=map_list())] = Field(
        default_factory=list
    )


class VectorIndex(ApiModel):
    """The vector index of each collection."""

    type: Literal["hnsw", "flat"] = "hnsw"
    distance: Literal["cosine", "dot", "l2-squared"] = "cosine"
    ef_construction: Annotated[int, Field(ge=8, le=4096)] = 128
    max_connections: Annotated[int, Field(ge=4, le=512)] = 32
    quantization: Literal["none", "rq", "pq", "bq"] = "none"
    replicas: Annotated[int, Field(ge=1, le=16)] = 1
    shards: Annotated[int, Field(ge=1, le=128)] = 1


class Rerank(ApiModel):
    """A cross-encoder that orders the best candidates again."""

    model: ModelRef
    top_n: Annotated[int, Field(ge=1, le=200)] = 8


class Diversity(ApiModel):
    """Maximal marginal relevance: 1 is relevance alone."""

    mmr_lambda: Annotated[float, Field(ge=0, le=1)] = 0.7


class Recency(ApiModel):
    """Scores halve every `halfLifeDays` of the date field."""

    half_life_days: Annotated[float, Field(gt=0, le=100_000)] = 180
    field: FieldName


class Retrieval(ApiModel):
    """Default retrieval of this index, used by evaluation, queries and serving."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.candidates >= self.topK", "candidates must be at least topK"))
    )
    mode: Literal["hybrid", "vector", "keyword"] = "hybrid"
    alpha: Annotated[float, Field(ge=0, le=1, description="1 is vector alone, 0 is keyword alone.")] = 0.5
    fusion: Literal["relativeScore", "ranked"] = "relativeScore"
    top_k: Annotated[int, Field(ge=1, le=200)] = 8
    candidates: Annotated[int, Field(ge=1, le=1000)] = 50
    rerank: Rerank | None = None
    diversity: Diversity | None = None
    recency: Recency | None = None
    ordering: Literal["edges", "score"] = "score"

    @model_validator(mode="after")
    def _counts(self) -> Retrieval:
        if self.candidates < self.top_k:
            raise ValueError("candidates must be at least topK")
        return self


class IndexEvaluation(ApiModel):
    """Questions with gold passages, and the gates that promotion must pass.

    Questions are JSON lines: `{"id", "question", "gold": [{"document": <path>, "start": int, "end": int} | {"document", "quote"}]}`.
    """

    questions: Source | None = None
    k: Annotated[
        list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1, max_length=8, json_schema_extra=SET)
    ] = [1, 5, 10]
    gates: Annotated[list[Gate], Field(max_length=32, json_schema_extra=map_list())] = Field(default_factory=list)

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.gates) || self.gates.size() == 0 || has(self.questions)", "gates need evaluation.questions")
        )
    )

    @model_validator(mode="after")
    def _questions(self) -> IndexEvaluation:
        if self.gates and self.questions is None:
            raise ValueError("gates need evaluation.questions")
        return self


class IndexRefresh(Schedule):
    """When and how the index follows its sources."""

    on_change: bool = Field(default=False, description="Rebuild when a Dataset used as a source has a new digest.")
    max_staleness_seconds: Annotated[int, Field(ge=1, le=315_360_000)] | None = None
    strategy: Literal["blueGreen", "inPlace"] = "blueGreen"


class Pin(ApiModel):
    """Serve exactly this version; nothing is rebuilt."""

    digest: Digest


class Versions(ApiModel):
    """How many finished versions stay and which one serves."""

    keep: Annotated[int, Field(ge=1, le=10, description="Finished versions kept, the active one included.")] = 2
    pin: Pin | None = None
    drop_after_seconds: Seconds = 600


class Tenancy(ApiModel):
    """One tenant of the collection per value of the field."""

    model_config = ConfigDict(
        json_schema_extra=rules(("!self.enabled || has(self.field)", "tenancy.enabled needs tenancy.field"))
    )
    enabled: bool = False
    field: FieldName | None = None

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
        "!has(self.retrieval.recency) || (has(self.schema.metadata) && "
        "self.schema.metadata.exists(m, m.name == self.retrieval.recency.field && m.type == 'date'))",
        "retrieval.recency.field must be a date field of schema.metadata",
    ),
    (
        "!self.tenancy.enabled || !has(self.tenancy.field) || (has(self.schema.metadata) && "
        "self.schema.metadata.exists(m, m.name == self.tenancy.field && m.type == 'text'))",
        "tenancy.field must be a text field of schema.metadata",
    ),
    ("self.tenancy.enabled == oldSelf.tenancy.enabled", "tenancy.enabled is immutable"),
)


class RAGIndexSpec(ApiModel):
    """What a user declares."""

    model_config = ConfigDict(json_schema_extra=rules(*_SPEC_RULES))

    sources: Annotated[list[NamedSource], Field(min_length=1, max_length=64, json_schema_extra=map_list())]
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
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 21_600
    suspend: bool = False

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


class IndexVersion(ReadModel):
    """A finished version: an artifact in the store and a collection in Weaviate."""

    digest: Digest
    label: Annotated[str, Field(max_length=63)]
    collection: Annotated[str, Field(max_length=128, pattern=r"^[A-Z][A-Za-z0-9_]*$")]
    uri: Annotated[str, Field(max_length=2048)]
    resolved_digest: Digest | None = None
    encoder_digest: Digest | None = None
    documents: Count = 0
    chunks: Count = 0
    rejected: Count = 0
    metrics: Metrics = Field(default_factory=list)
    gates: GateVerdicts = Field(default_factory=list)
    passed: bool = Field(default=False, description="Every gate passed; only such a version can be promoted or pinned.")
    created: Timestamp | None = None
    retired_at: Timestamp | None = None
    collection_dropped: bool = False
    run: Short | None = None
    generation: int = 0


class Candidate(ReadModel):
    """What is being built or was refused."""

    run: Short
    stage: Short = ""
    digest: Digest | None = None
    collection: Annotated[str, Field(max_length=128)] | None = None
    message: Text = ""


class Promotion(ReadModel):
    """The recorded decision to switch; written before the alias moves."""

    digest: Digest
    collection: Annotated[str, Field(max_length=128)]
    reason: Short
    decided_at: Timestamp


class RAGIndexStatus(ReadModel):
    """What the operator observed."""

    observed_generation: int = -1
    state: State = State.PENDING
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    alias: Annotated[str, Field(max_length=128)] | None = None
    endpoint: Annotated[str, Field(max_length=1024)] | None = None
    grpc_endpoint: Annotated[str, Field(max_length=1024)] | None = None
    active: IndexVersion | None = None
    candidate: Candidate | None = None
    promotion: Promotion | None = None
    history: Annotated[list[IndexVersion], Field(max_length=10, json_schema_extra=map_list("digest"))] = Field(
        default_factory=list
    )
    in_use_by: Annotated[list[Name], Field(max_length=64, json_schema_extra=SET)] = Field(default_factory=list)
    run: RunStatus | None = None
    progress: Progress | None = None
    progress_text: Short | None = None
    quality_text: Short | None = None
    validation: ValidationSummary | None = None
    rejections: ReasonCounts = Field(default_factory=list)
    upstream: Annotated[dict[str, Short], Field(max_length=64)] = Field(
        default_factory=dict, description="Dataset name to the digest that the active version was built from."
    )
    last_checked: Timestamp | None = Field(default=None, description="When sources were last found current.")
    next_refresh: Timestamp | None = None
    last_tick: Timestamp | None = None
    last_requested: Annotated[str, Field(max_length=64)] | None = None
    versions_built: Count = 0
    store: StoreIdentity | None = None


class RAGIndex(ReadModel):
    """A RAGIndex as applied and as observed."""

    api_version: Literal["gradatim.dev/v1alpha1"] = "gradatim.dev/v1alpha1"
    kind: Literal["RAGIndex"] = "RAGIndex"
    metadata: ObjectMeta
    spec: RAGIndexSpec
    status: RAGIndexStatus | None = None
