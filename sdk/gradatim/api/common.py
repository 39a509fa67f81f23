"""Types that several kinds share: models, compute, validation, gates, schedules; sources live in `sources`.

Used by the kind modules. References are names in the object's own namespace; no reference has a namespace field.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from gradatim.api.base import (
    ATOMIC,
    FREE_FORM,
    MAX_NESTING,
    ODD_PATH,
    WHOLE,
    Address,
    ApiModel,
    Fraction,
    Name,
    ObjectName,
    Region,
    Seconds,
    nested_deeper,
    odd,
    rules,
)
from gradatim.api.sources import (
    SOURCE_MEMBERS,
    ClaimSource,
    DatasetRef,
    GitSource,
    HttpSource,
    HuggingFaceSource,
    NamedSource,
    S3Source,
    SecretRef,
    Source,
)

__all__ = [
    "SOURCE_MEMBERS",
    "ClaimSource",
    "Compute",
    "DatasetRef",
    "Expectation",
    "Gate",
    "GitSource",
    "HttpSource",
    "HuggingFaceSource",
    "ModelRef",
    "NamedSource",
    "OnFailure",
    "ProfileRef",
    "Retry",
    "S3Source",
    "Schedule",
    "SecretRef",
    "Severity",
    "Source",
    "SuiteRef",
    "Threshold",
    "Validation",
]


_MODEL_URI = (
    "the uri of a model must not contain '..', a backslash, a control character or an encoded dot, slash or backslash"
)


class ModelRef(ApiModel):
    """Weights of a model: a folder, an object store prefix, a hub repository at a commit, or a package that ships them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (f"!(self.uri.matches(r'{ODD_PATH}') || self.uri.split('/').exists(p, p == '..'))", _MODEL_URI)
        )
        | WHOLE
    )

    uri: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=r"^(file:///[!-~]+|s3://[!-~]+|hf://[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+@[0-9a-f]{40}|package://[a-z0-9_]+)$",
            description="file:///path, s3://bucket/prefix, hf://org/name@commit or package://name.",
        ),
    ]
    endpoint: Address | None = Field(
        default=None, description="Address of the store of an s3 uri; absent means Amazon S3."
    )
    region: Region | None = Field(default=None, description="Region of the bucket.")
    secret_ref: SecretRef | None = Field(
        default=None, description="Keys `access-key-id` and `secret-access-key` for s3, `token` for hf."
    )

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if odd(self.uri, ODD_PATH, climbs=True):
            raise ValueError(_MODEL_URI)
        return self


class ProfileRef(ApiModel):
    """A ComputeProfile of the cluster."""

    name: ObjectName = Field(default="default", description="Name of the profile.")


class Compute(ApiModel):
    """What a user may say about compute; everything else belongs to the ComputeProfile."""

    profile_ref: ProfileRef = Field(default_factory=ProfileRef)
    workers: Annotated[int, Field(ge=1, le=1024, strict=True)] = Field(
        default=1, description="Processes that share the heavy stages; at most limits.maxWorkers of the profile."
    )
    priority: Name | None = Field(
        default=None,
        description="WorkloadPriorityClass of Kueue that the profile allows; profiles without a queue ignore it.",
    )


class Severity(StrEnum):
    """Whether a failed expectation stops the data."""

    CRITICAL = "critical"
    WARNING = "warning"


class Expectation(ApiModel):
    """A Great Expectations core expectation by its own name, over the columns that the stage documents."""

    type: Annotated[str, Field(max_length=128, pattern=r"^expect_[a-z0-9_]+$")] = Field(
        description="Name of the expectation, e.g. expect_column_values_to_not_be_null."
    )
    kwargs: Annotated[dict[str, Any], Field(json_schema_extra=FREE_FORM)] = Field(
        default_factory=dict, description="Arguments of the expectation, as Great Expectations names them."
    )
    severity: Severity = Severity.CRITICAL

    @field_validator("kwargs")
    @classmethod
    def _shallow(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        if nested_deeper(kwargs):
            raise ValueError(f"kwargs are nested deeper than {MAX_NESTING} levels")
        return kwargs


class SuiteRef(ApiModel):
    """A ConfigMap of this namespace whose key `suite.json` holds a Great Expectations suite."""

    model_config = ConfigDict(json_schema_extra=WHOLE)

    name: ObjectName = Field(description="Name of the ConfigMap.")


class OnFailure(StrEnum):
    """What a failed critical expectation does."""

    BLOCK = "block"
    QUARANTINE = "quarantine"


class Validation(ApiModel):
    """Expectations on the data and what happens when they fail."""

    expectations: Annotated[list[Expectation], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Checked in order, beside those of suiteRef."
    )
    suite_ref: SuiteRef | None = None
    on_failure: OnFailure = OnFailure.BLOCK
    max_rejected_fraction: Fraction = Field(
        default=0.05, description="Quarantine goes on only while the rejected share of rows stays at or below this."
    )


class Threshold(ApiModel):
    """An absolute bound."""

    model_config = ConfigDict(json_schema_extra=rules(("has(self.min) || has(self.max)", "threshold needs min or max")))
    min: Annotated[float, Field(strict=True)] | None = Field(default=None, description="The metric must reach this.")
    max: Annotated[float, Field(strict=True)] | None = Field(
        default=None, description="The metric must not exceed this."
    )

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

    name: Name = Field(description="Names the gate in verdicts and messages.")
    metric: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_.]*(@[0-9]+)?$")] = Field(
        description="A measured metric, e.g. ndcg@10."
    )
    threshold: Threshold | None = None
    baseline: Literal["active"] | None = Field(default=None, description="What to compare with.")
    max_decrease: Annotated[float, Field(ge=0, strict=True)] | None = Field(
        default=None, description="The metric may fall by this much below the baseline."
    )
    max_increase: Annotated[float, Field(ge=0, strict=True)] | None = Field(
        default=None, description="The metric may rise by this much above the baseline."
    )
    max_ratio: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        default=None, description="The metric may be at most this many times the baseline."
    )
    min_samples: Annotated[int, Field(ge=1, le=10_000_000, strict=True)] = Field(
        default=1, description="Fewer questions than this prove nothing: the gate fails."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1.0, strict=True)] | None = Field(
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


# The rest of what makes a cron line and a zone the operator tells, beside the Runs that go on.
FIVE_FIELDS = r"^ *[0-9A-Za-z*,/#-]+( +[0-9A-Za-z*,/#-]+){4} *$"
ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"


class Schedule(ApiModel):
    """When to look for new data. A tick during a Run is dropped; after an outage one tick is caught up at most."""

    schedule: Annotated[str, Field(max_length=128, pattern=FIVE_FIELDS, description="Five cron fields.")] | None = None
    time_zone: Annotated[str, Field(max_length=64, pattern=ZONE, description="IANA name.")] = "UTC"
    starting_deadline_seconds: Seconds = Field(
        default=600, description="A tick that could not start within this time is dropped."
    )
    jitter_seconds: Annotated[int, Field(ge=0, le=3600, strict=True)] = Field(
        default=0, description="Every object is shifted by a fixed share of this, so that not all start at once."
    )


class Retry(ApiModel):
    """Attempts after the first, for failures that another try may cure."""

    max_retries: Annotated[int, Field(ge=0, le=10, strict=True)] = Field(
        default=3, description="Attempts after the first; a wrong spec or bad data is never tried again."
    )
