"""`Dataset`: a validated, content-addressed snapshot of data, with its expectations.

The digest covers content and transformation: the same input gives the same digest. The operator and the `validate` workload read these
types; users write them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import (
    ApiModel,
    Count,
    Digest,
    FieldName,
    Flag,
    Name,
    ReadModel,
    Short,
    Timestamp,
    map_list,
    rules,
)
from gradatim.api.common import Compute, Retry, Schedule, Validation
from gradatim.api.meta import Conditions, ObjectMeta, ObservedGeneration, State
from gradatim.api.runstatus import Progress, ReasonCounts, RunStatus, StoreIdentity, ValidationSummary
from gradatim.api.sources import Source


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

    limit: Annotated[int, Field(ge=1, le=2**40, strict=True)] | None = Field(
        default=None, description="Rows to keep at most; absent means all."
    )
    seed: Annotated[int, Field(ge=0, le=2**31, strict=True)] = Field(
        default=0, description="Another seed gives another sample."
    )


class Split(ApiModel):
    """One named split and its share of the rows."""

    name: Name = Field(description="Name of the split; its file is data/<name>.parquet.")
    fraction: Annotated[float, Field(gt=0, le=1, strict=True)] = Field(description="Share of the rows.")


class Splits(ApiModel):
    """Split by hash of the row's content, so that adding rows moves none, or by a column's value."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.column) != (has(self.fractions) && self.fractions.size() > 0)",
                "splits need fractions or a column, not both",
            ),
            (
                (
                    "!has(self.fractions) || self.fractions.size() == 0 || "
                    "(self.fractions.map(f, f.fraction).sum() > 0.999 && self.fractions.map(f, f.fraction).sum() < 1.001)"
                ),
                "fractions must sum to 1",
            ),
        )
    )
    fractions: Annotated[list[Split], Field(max_length=16, json_schema_extra=map_list())] = Field(
        default_factory=list, description="Splits by hash; the fractions sum to 1."
    )
    column: FieldName | None = Field(default=None, description="Column whose value names the split of a row.")
    seed: Annotated[int, Field(ge=0, le=2**31, strict=True)] = Field(
        default=0, description="Another seed gives another split."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Splits:
        if (self.column is None) == (not self.fractions):
            raise ValueError("splits need fractions or a column, not both")
        if self.fractions and abs(sum(f.fraction for f in self.fractions) - 1) >= 0.001:
            raise ValueError("fractions must sum to 1")
        return self


class NearDedup(ApiModel):
    """MinHash over word shingles: rows whose estimated Jaccard similarity reaches the threshold count as one."""

    threshold: Annotated[float, Field(ge=0.5, le=1.0, strict=True)] = Field(
        default=0.85, description="Estimated Jaccard similarity from which rows count as one."
    )
    shingle: Annotated[int, Field(ge=1, le=20, strict=True)] = Field(default=5, description="Words in a shingle.")
    permutations: Annotated[int, Field(ge=16, le=512, strict=True)] = Field(
        default=128, description="Hash functions; more of them estimate better and take longer."
    )


class Dedup(ApiModel):
    """Which duplicates are dropped; the first occurrence stays."""

    exact: Flag = Field(default=True, description="Drop rows whose content has been seen.")
    near: NearDedup | None = None


class Decontamination(ApiModel):
    """Rows that share an n-gram of words with an evaluation set are dropped and counted."""

    name: Name = Field(description="Names the evaluation set in counts and messages.")
    source: Source
    ngram: Annotated[int, Field(ge=3, le=50, strict=True)] = Field(
        default=13, description="Words in a row that make a row contaminated."
    )


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
        default_factory=list, description="Evaluation sets that must not leak into the data."
    )
    refresh: Schedule | None = None
    compute: Compute = Field(default_factory=Compute)
    retry: Retry = Field(default_factory=Retry)
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000, strict=True)] = Field(
        default=3600, description="An attempt that takes longer has failed."
    )
    suspend: Flag = Field(default=False, description="Stop the active Run and start none.")


class SplitSize(ReadModel):
    """Rows of one split."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the split.")
    rows: Count = Field(description="Rows in it.")


class DatasetVersion(ReadModel):
    """A finished snapshot: folder with `data/<split>.parquet`, `rejected.parquet` and `manifest.json`."""

    digest: Digest = Field(description="Digest of content and transformation.")
    uri: Annotated[str, Field(max_length=2048)] = Field(description="Folder in the artifact store.")
    rows: Count = Field(default=0, description="Rows that passed.")
    rejected: Count = Field(default=0, description="Rows in quarantine.")
    duplicates: Count = Field(default=0, description="Rows dropped as duplicates.")
    contaminated: Count = Field(default=0, description="Rows dropped because an evaluation set holds them.")
    bytes: Count = Field(default=0, description="Size of the Parquet files.")
    splits: Annotated[list[SplitSize], Field(max_length=64, json_schema_extra=map_list())] = Field(
        default_factory=list, description="Rows by split."
    )
    created: Timestamp | None = Field(default=None, description="When the Run finished.")
    retired_at: Timestamp | None = Field(
        default=None, description="When it was no longer kept; its files stay for those who still read them."
    )
    run: Short | None = Field(default=None, description="The Run that made it.")


class DatasetStatus(ReadModel):
    """What the operator observed."""

    observed_generation: ObservedGeneration = -1
    state: State = State.PENDING
    conditions: Conditions = Field(default_factory=list)
    digest: Digest | None = Field(default=None, description="Digest of the active snapshot.")
    active: DatasetVersion | None = None
    history: Annotated[list[DatasetVersion], Field(max_length=10, json_schema_extra=map_list("digest"))] = Field(
        default_factory=list, description="Snapshots that are kept, newest first."
    )
    run: RunStatus | None = None
    progress: Progress | None = None
    progress_text: Short | None = Field(default=None, description="Progress in a few words, for the printer column.")
    reason_text: Short | None = Field(
        default=None, description="Why it is not well, in one word, for the printer column; absent while all is well."
    )
    validation: ValidationSummary | None = None
    rejections: ReasonCounts = Field(default_factory=list, description="Rejected rows by reason.")
    last_refresh: Timestamp | None = Field(default=None, description="When a Run last found the snapshot current.")
    next_refresh: Timestamp | None = Field(default=None, description="The next tick of the schedule.")
    last_tick: Timestamp | None = Field(default=None, description="The tick that last started a Run.")
    last_requested: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Value of `gradatim.dev/requested-at` that last started a Run."
    )
    store: StoreIdentity | None = None


class Dataset(ReadModel):
    """A validated, content-addressed snapshot of data, with its expectations."""

    api_version: Literal["gradatim.dev/v1alpha1"] = "gradatim.dev/v1alpha1"
    kind: Literal["Dataset"] = "Dataset"
    metadata: ObjectMeta
    spec: DatasetSpec
    status: DatasetStatus | None = None
