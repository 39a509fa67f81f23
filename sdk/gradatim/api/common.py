"""Types that several kinds share: sources, models, compute, validation, gates, schedules.

Used by the kind modules. References are names in the object's own namespace; no reference has a namespace field.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import (
    ATOMIC,
    FREE_FORM,
    SET,
    ApiModel,
    Count,
    Fraction,
    Name,
    ObjectName,
    Seconds,
    Short,
    map_list,
    rules,
)


class SecretRef(ApiModel):
    """A Secret of this namespace, used by the workload only where its `gradatim.dev/hosts` allows."""

    name: ObjectName


class DatasetRef(ApiModel):
    """A Dataset of this namespace."""

    name: ObjectName


class ClaimSource(ApiModel):
    """Files on a volume claim of this namespace."""

    claim_name: ObjectName
    sub_path: Annotated[str, Field(max_length=1024, pattern=r"^[^/]")] | None = None


class S3Source(ApiModel):
    """Objects under a prefix of an S3-compatible store."""

    uri: Annotated[str, Field(max_length=1024, pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$")]
    endpoint: Annotated[str, Field(max_length=1024, pattern=r"^https?://")] | None = None
    region: Annotated[str, Field(max_length=63)] | None = None
    secret_ref: SecretRef | None = None


class GitSource(ApiModel):
    """Files of a Git repository at one revision; a branch is resolved to a commit once per Run."""

    url: Annotated[
        str, Field(max_length=1024, pattern=r"^(https|ssh|git)://[^@]+$", description="No credentials here.")
    ]
    revision: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = "HEAD"
    paths: Annotated[list[Short], Field(max_length=64, json_schema_extra=SET)] = ["**"]
    secret_ref: SecretRef | None = None


class HttpSource(ApiModel):
    """Documents behind URLs; redirects stay on the same host, every response is bounded."""

    urls: Annotated[
        list[Annotated[str, Field(max_length=2048, pattern=r"^https?://[^@\s]+$")]],
        Field(min_length=1, max_length=256, json_schema_extra=SET),
    ]
    max_bytes: Annotated[int, Field(ge=1, le=2**33)] = 10_485_760
    secret_ref: SecretRef | None = None


class HuggingFaceSource(ApiModel):
    """A data set of a Hugging Face hub, pinned to a commit."""

    repo: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", max_length=40, description="Full commit hash.")]
    config: Short = "default"
    split: Short = "train"
    secret_ref: SecretRef | None = None


SOURCE_MEMBERS = ("persistentVolumeClaim", "path", "s3", "git", "http", "huggingFace", "datasetRef")
_ONE_SOURCE = "[" + ", ".join(f"has(self.{m})" for m in SOURCE_MEMBERS) + "].filter(x, x).size() == 1"


class Source(ApiModel):
    """Where documents or examples come from: exactly one member."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (_ONE_SOURCE, f"exactly one of {', '.join(SOURCE_MEMBERS)} must be set"),
            ("!has(self.path) || !self.path.split('/').exists(p, p == '..')", "path must not contain '..'"),
        )
    )

    persistent_volume_claim: ClaimSource | None = None
    path: Annotated[str, Field(max_length=1024, pattern=r"^file:///")] | None = Field(
        default=None, description="A file or folder below an allowed root of the profile."
    )
    s3: S3Source | None = None
    git: GitSource | None = None
    http: HttpSource | None = None
    hugging_face: HuggingFaceSource | None = None
    dataset_ref: DatasetRef | None = None

    @property
    def member(self) -> str:
        """Return the wire name of the member that is set."""
        return next(iter(self.model_dump(by_alias=True, exclude_none=True)))

    @model_validator(mode="after")
    def _one_member(self) -> Self:
        if len(self.model_dump(by_alias=True, exclude_none=True)) != 1:
            raise ValueError(f"exactly one of {', '.join(SOURCE_MEMBERS)} must be set")
        if self.path is not None and ".." in self.path.split("/"):
            raise ValueError("path must not contain '..'")
        return self


class ModelRef(ApiModel):
    """Weights of a model: a folder, an object store prefix, a hub repository at a commit, or a package that ships them."""

    uri: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=r"^(file:///.+|s3://.+|hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}|package://[a-z0-9_]+)$",
            description="file:///path, s3://bucket/prefix, hf://org/name@commit or package://name.",
        ),
    ]


class ProfileRef(ApiModel):
    """A ComputeProfile of the cluster."""

    name: ObjectName = "default"


class Money(ApiModel):
    """An amount as a decimal string, never a float."""

    amount: Annotated[str, Field(max_length=20, pattern=r"^[0-9]+(\.[0-9]+)?$")]
    currency: Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$")] = "USD"


class Compute(ApiModel):
    """What a user may say about compute; everything else belongs to the ComputeProfile."""

    profile_ref: ProfileRef = Field(default_factory=ProfileRef)
    workers: Annotated[int, Field(ge=1, le=1024)] = 1


class Severity(StrEnum):
    """Whether a failed expectation stops the data."""

    CRITICAL = "critical"
    WARNING = "warning"


class Expectation(ApiModel):
    """A Great Expectations core expectation by its own name, over the columns that the stage documents."""

    type: Annotated[str, Field(max_length=128, pattern=r"^expect_[a-z0-9_]+$")]
    kwargs: Annotated[dict[str, Any], Field(json_schema_extra=FREE_FORM)] = Field(default_factory=dict)
    severity: Severity = Severity.CRITICAL


class SuiteRef(ApiModel):
    """A ConfigMap of this namespace whose key `suite.json` holds a Great Expectations suite."""

    name: ObjectName


class OnFailure(StrEnum):
    """What a failed critical expectation does."""

    BLOCK = "block"
    QUARANTINE = "quarantine"


class Validation(ApiModel):
    """Expectations on the data and what happens when they fail."""

    expectations: Annotated[list[Expectation], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list
    )
    suite_ref: SuiteRef | None = None
    on_failure: OnFailure = OnFailure.BLOCK
    max_rejected_fraction: Fraction = Field(
        default=0.05, description="Quarantine goes on only while the rejected share of rows stays at or below this."
    )


class Threshold(ApiModel):
    """An absolute bound."""

    model_config = ConfigDict(json_schema_extra=rules(("has(self.min) || has(self.max)", "threshold needs min or max")))
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("threshold needs min or max")
        return self


_GATE_RULES = (
    ("has(self.threshold) != has(self.baseline)", "a gate has either a threshold or a baseline"),
    (
        "!has(self.baseline) || has(self.maxDecrease) || has(self.maxIncrease) || has(self.maxRatio)",
        "a baseline needs maxDecrease, maxIncrease or maxRatio",
    ),
    (
        "has(self.baseline) || !(has(self.maxDecrease) || has(self.maxIncrease) || has(self.maxRatio))",
        "maxDecrease, maxIncrease and maxRatio need a baseline",
    ),
)


class Gate(ApiModel):
    """One condition on a metric. Fails closed: a missing metric, too few samples or a failed evaluation is a failure."""

    model_config = ConfigDict(json_schema_extra=rules(*_GATE_RULES))

    name: Name
    metric: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_.]*(@[0-9]+)?$")]
    threshold: Threshold | None = None
    baseline: Literal["active"] | None = Field(default=None, description="What to compare with.")
    max_decrease: Annotated[float, Field(ge=0)] | None = None
    max_increase: Annotated[float, Field(ge=0)] | None = None
    max_ratio: Annotated[float, Field(gt=0)] | None = None
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 1
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] | None = Field(
        default=None,
        description="Judge the worse end of the interval at this confidence instead of the mean.",
    )

    @model_validator(mode="after")
    def _shape(self) -> Self:
        relative = any(v is not None for v in (self.max_decrease, self.max_increase, self.max_ratio))
        if (self.threshold is None) == (self.baseline is None):
            raise ValueError(_GATE_RULES[0][1])
        if self.baseline is not None and not relative:
            raise ValueError(_GATE_RULES[1][1])
        if self.baseline is None and relative:
            raise ValueError(_GATE_RULES[2][1])
        return self


class Schedule(ApiModel):
    """When to look for new data. A tick during a Run is dropped; after an outage one tick is caught up at most."""

    schedule: Annotated[str, Field(max_length=128, description="Five cron fields.")] | None = None
    time_zone: Annotated[str, Field(max_length=64, description="IANA name.")] = "UTC"
    starting_deadline_seconds: Seconds = 600
    jitter_seconds: Annotated[int, Field(ge=0, le=3600)] = 0


class Retry(ApiModel):
    """Attempts after the first, for failures that another try may cure."""

    max_retries: Annotated[int, Field(ge=0, le=10)] = 3


SourceList = Annotated[list["NamedSource"], Field(min_length=1, max_length=64, json_schema_extra=map_list())]


class NamedSource(ApiModel):
    """One source of an index, with metadata that every document of it carries."""

    name: Name
    source: Source
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=32)] = Field(
        default_factory=dict
    )


class Rows(ApiModel):
    """Rows counted in one place."""

    total: Count = 0
    rejected: Count = 0
