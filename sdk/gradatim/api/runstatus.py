"""What status says about Runs: attempts, progress, validation summaries, metrics with intervals.

Shared by the status of every kind that runs something, and by the run contract (`run.py`). Values only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from gradatim.api.base import ATOMIC, Count, ReadModel, Short, Text, Timestamp, map_list


class Outcome(StrEnum):
    """How an attempt stands."""

    RECORDED = "Recorded"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    UNCHANGED = "Unchanged"
    STOPPED = "Stopped"
    FAILED = "Failed"
    GONE = "Gone"


class Failure(StrEnum):
    """Why an attempt failed. The class decides whether another one may help."""

    USER = "User"
    DATA = "Data"
    NODE_LOST = "NodeLost"
    OUT_OF_MEMORY = "OutOfMemory"
    PREEMPTED = "Preempted"
    DEPENDENCY = "Dependency"
    DEADLINE = "Deadline"


class MetricValue(ReadModel):
    """A measured value with its interval; `samples` is the number of questions or rows behind it."""

    value: float
    low: float | None = None
    high: float | None = None
    samples: Count = 0


class NamedMetric(MetricValue):
    """A metric in a list keyed by name."""

    name: Annotated[str, Field(min_length=1, max_length=63)]


Metrics = Annotated[list[NamedMetric], Field(max_length=64, json_schema_extra=map_list())]


class Progress(ReadModel):
    """How far a Run is. `percent` covers the whole Run, `step` of `total` the stage."""

    stage: Short
    step: Count = 0
    total: Count = 0
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    message: Text = ""
    eta_seconds: Count | None = None
    updated: Timestamp | None = None


class Attempt(ReadModel):
    """One try at a Run. It is recorded here before it is created anywhere."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    outcome: Outcome = Outcome.RECORDED
    failure: Failure | None = None
    reason: Short | None = None
    message: Text | None = None
    recorded_at: Timestamp | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    heartbeat_at: Timestamp | None = None


class RunStatus(ReadModel):
    """The active or last Run of an object."""

    name: Annotated[str, Field(max_length=63)]
    trigger: Annotated[
        str, Field(max_length=128, description="Why it runs: generation, schedule, upstream or request.")
    ]
    generation: int = 0
    spec_digest: Short | None = Field(default=None, description="Digest of the part of the spec that a Run depends on.")
    config_digest: Short | None = None
    created: Timestamp | None = None
    attempts: Annotated[list[Attempt], Field(max_length=20, json_schema_extra=ATOMIC)] = Field(default_factory=list)
    stop_requested_at: Timestamp | None = None
    stop_reason: Short | None = None
    not_before: Timestamp | None = Field(default=None, description="When the next attempt may be recorded.")
    done: bool = False
    succeeded: bool = False


class ExpectationResult(ReadModel):
    """One expectation as observed. `failed` counts rows; -1 means the expectation is not about rows."""

    expectation: Short
    column: Short | None = None
    severity: Short = "critical"
    success: bool = False
    observed: Annotated[str, Field(max_length=256)] = ""
    failed: int = 0
    examples: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=5, json_schema_extra=ATOMIC)] = (
        Field(default_factory=list, description="Where: source, file, row or page.")
    )


class ReasonCount(ReadModel):
    """How many documents or rows were rejected for one reason, with examples of where."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    count: Count = 0
    examples: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=5, json_schema_extra=ATOMIC)] = (
        Field(default_factory=list)
    )


ReasonCounts = Annotated[list[ReasonCount], Field(max_length=20, json_schema_extra=map_list())]


class ValidationSummary(ReadModel):
    """The outcome of data validation."""

    success: bool = False
    evaluated: Count = 0
    failed: Count = 0
    rows: Count = 0
    rejected: Count = 0
    results: Annotated[list[ExpectationResult], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list
    )
    rejections: ReasonCounts = Field(default_factory=list)


class GateVerdict(ReadModel):
    """One gate, judged by the operator from the metrics."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    passed: bool = False
    reason: Short = ""
    message: Text = ""


GateVerdicts = Annotated[list[GateVerdict], Field(max_length=32, json_schema_extra=map_list())]


class StoreIdentity(ReadModel):
    """Where an object's artifacts and collections lie, copied at first use so that deletion needs no profile."""

    profile: Short
    profile_uid: Short
    artifact_root: Annotated[str, Field(max_length=1024)]
    artifact_endpoint: Annotated[str, Field(max_length=1024)] | None = None
    artifact_region: Short | None = None
    artifact_secret: Short | None = None
    vector_endpoint: Annotated[str, Field(max_length=1024)] | None = None
    vector_secret: Short | None = None
    runtime_address: Annotated[str, Field(max_length=1024)] | None = None
    runtime_secret: Short | None = None
