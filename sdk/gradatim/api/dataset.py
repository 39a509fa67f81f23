"""`Dataset`: a validated, content-addressed snapshot of data, with its expectations.

The digest covers content and transformation: the same input gives the same digest. The operator and the `validate` workload read these
types; users write them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import ApiModel, Count, Digest, FieldName, Name, ReadModel, Short, Timestamp, map_list, rules
from gradatim.api.common import Compute, Retry, Schedule, Source, Validation
from gradatim.api.meta import Condition, ObjectMeta, State
from gradatim.api.runstatus import Progress, ReasonCounts, RunStatus, StoreIdentity, ValidationSummary


class DataFormat(StrEnum):
    """How files are read; `auto` goes by name and content."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"
    DOCX = "docx"


class SchemaKind(StrEnum):
    """What a row is."""

    DOCUMENTS = "documents"
    INSTRUCTION = "instruction"
    CHAT = "chat"
    PREFERENCE = "preference"
    TEXT = "text"


class Sampling(ApiModel):
    """A reproducible sample by hash; adding rows keeps those already chosen as far as the limit allows."""

    limit: Annotated[int, Field(ge=1, le=2**40)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0


class Split(ApiModel):
    """One named split and its share of the rows."""

    name: Name
    fraction: Annotated[float, Field(gt=0, le=1)]


class Splits(ApiModel):
    """Split by hash of the row's content, so that adding rows moves none, or by a column's value."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.column) != (has(self.fractions) && self.fractions.size() > 0)",
                "splits need fractions or a column, not both",
            ),
            (
                "!has(self.fractions) || self.fractions.size() == 0 || (self.fractions.map(f, f.fraction).sum() > 0.999 && self.fractions.map(f, f.fraction).sum() < 1.001)",
                "fractions must sum to 1",
            ),
        )
    )
    fractions: Annotated[list[Split], Field(max_length=16, json_schema_extra=map_list())] = Field(default_factory=list)
    column: FieldName | None = None
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0

    @model_validator(mode="after")
    def _one_way(self) -> Splits:
        if (self.column is None) == (not self.fractions):
            raise ValueError("splits need fractions or a column, not both")
        if self.fractions and abs(sum(f.fraction for f in self.fractions) - 1) >= 0.001:
            raise ValueError("fractions must sum to 1")
        return self


class NearDedup(ApiModel):
    """MinHash over word shingles: rows whose estimated Jaccard similarity reaches the threshold count as one."""

    threshold: Annotated[float, Field(ge=0.5, le=1.0)] = 0.85
    shingle: Annotated[int, Field(ge=1, le=20)] = 5
    permutations: Annotated[int, Field(ge=16, le=512)] = 128


class Dedup(ApiModel):
    """Which duplicates are dropped; the first occurrence stays."""

    exact: bool = True
    near: NearDedup | None = None


class Decontamination(ApiModel):
    """Rows that share an n-gram of words with an evaluation set are dropped and counted."""

    name: Name
    source: Source
    ngram: Annotated[int, Field(ge=3, le=50)] = 13


class DatasetSpec(ApiModel):
    """What a user declares."""

    source: Source
    format: DataFormat = DataFormat.AUTO
    schema_kind: SchemaKind = SchemaKind.DOCUMENTS
    columns: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=64)] = Field(
        default_factory=dict, description="Canonical column name to the name in the source, e.g. {text: body}."
    )
    validation: Validation = Field(default_factory=Validation)
    sampling: Sampling | None = None
    splits: Splits | None = None
    dedup: Dedup = Field(default_factory=Dedup)
    decontaminate: Annotated[list[Decontamination], Field(max_length=8, json_schema_extra=map_list())] = Field(
        default_factory=list
    )
    refresh: Schedule | None = None
    compute: Compute = Field(default_factory=Compute)
    retry: Retry = Field(default_factory=Retry)
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 3600
    suspend: bool = False


class SplitSize(ReadModel):
    """Rows of one split."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    rows: Count


class DatasetVersion(ReadModel):
    """A finished snapshot: folder with `data/<split>.parquet`, `rejected.parquet` and `manifest.json`."""

    digest: Digest
    uri: Annotated[str, Field(max_length=2048)]
    rows: Count = 0
    rejected: Count = 0
    duplicates: Count = 0
    contaminated: Count = 0
    bytes: Count = 0
    splits: Annotated[list[SplitSize], Field(max_length=64, json_schema_extra=map_list())] = Field(default_factory=list)
    created: Timestamp | None = None
    run: Short | None = None


class DatasetStatus(ReadModel):
    """What the operator observed."""

    observed_generation: int = -1
    state: State = State.PENDING
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    digest: Digest | None = None
    active: DatasetVersion | None = None
    history: Annotated[list[DatasetVersion], Field(max_length=10, json_schema_extra=map_list("digest"))] = Field(
        default_factory=list
    )
    run: RunStatus | None = None
    progress: Progress | None = None
    progress_text: Short | None = None
    validation: ValidationSummary | None = None
    rejections: ReasonCounts = Field(default_factory=list)
    last_refresh: Timestamp | None = None
    next_refresh: Timestamp | None = None
    last_tick: Timestamp | None = None
    last_requested: Annotated[str, Field(max_length=64)] | None = None
    store: StoreIdentity | None = None


class Dataset(ReadModel):
    """A Dataset as applied and as observed."""

    api_version: Literal["gradatim.dev/v1alpha1"] = "gradatim.dev/v1alpha1"
    kind: Literal["Dataset"] = "Dataset"
    metadata: ObjectMeta
    spec: DatasetSpec
    status: DatasetStatus | None = None
