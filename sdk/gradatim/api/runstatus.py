"""What status says about Runs: attempts, progress, validation summaries, metrics with intervals.

Shared by the status of every kind that runs something, and by the run contract (`run.py`). Values only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from gradatim.api.base import ATOMIC, Count, Currency, ReadModel, Short, Text, Timestamp, map_list


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

    value: float = Field(description="Mean over the samples.")
    low: float | None = Field(default=None, description="Lower end of the 95 % interval.")
    high: float | None = Field(default=None, description="Upper end of the 95 % interval.")
    samples: Count = Field(default=0, description="Questions or rows behind the value.")


class NamedMetric(MetricValue):
    """A metric in a list keyed by name."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="E.g. ndcg@10.")


Metrics = Annotated[
    list[NamedMetric], Field(max_length=64, json_schema_extra=map_list(), description="What was measured.")
]


class Progress(ReadModel):
    """How far a Run is. `percent` covers the whole Run, `step` of `total` the stage."""

    stage: Short = Field(description="What the Run is doing.")
    step: Count = Field(default=0, description="How far the stage is.")
    total: Count = Field(default=0, description="What the stage has to do; 0 means unknown.")
    percent: Annotated[int, Field(ge=0, le=100)] = Field(default=0, description="Share of the whole Run.")
    message: Text = Field(default="", description="For a person.")
    eta_seconds: Count | None = Field(default=None, description="Estimated time left.")
    updated: Timestamp | None = Field(default=None, description="When the workload wrote this.")


class Attempt(ReadModel):
    """One try at a Run. It is recorded here before it is created anywhere."""

    number: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Counted from 1.")
    outcome: Outcome = Outcome.RECORDED
    failure: Failure | None = None
    reason: Short | None = Field(default=None, description="Why it failed, for programs.")
    message: Text | None = Field(default=None, description="Why it failed, for a person.")
    recorded_at: Timestamp | None = Field(default=None, description="When it was written here, before it was created.")
    started_at: Timestamp | None = Field(default=None, description="When the runtime was first seen to run it.")
    finished_at: Timestamp | None = Field(default=None, description="When it ended.")
    heartbeat_at: Timestamp | None = Field(default=None, description="First sign of life of the workload.")
    waiting_since: Timestamp | None = Field(
        default=None, description="Since when it waits in a queue; its deadline stands still meanwhile."
    )
    waited_seconds: Count = Field(default=0, description="Time that it has spent waiting in queues before.")
    resumed_at: Timestamp | None = Field(default=None, description="When it last left a queue.")


class RunCost(ReadModel):
    """What the attempts of a Run held, and what that cost at the prices of the profile when it ended. No bill: pods outlive attempts.

    Time counts from when the runtime first knew an attempt to its end, without time in queues; on a standing cluster a worker is a CPU. Sizes
    are those that the profile gives pods when the Run ends. Absent where status no longer names every attempt.
    """

    amount: Annotated[str, Field(max_length=32)] = Field(description="Hours times prices.")
    currency: Currency = Field(description="ISO 4217 code, from the profile.")
    cpu_hours: Annotated[str, Field(max_length=32)] = Field(description="CPUs times hours, over all attempts.")
    accelerator_hours: Annotated[str, Field(max_length=32)] = Field(
        default="0.0000", description="Accelerators times hours, over all attempts."
    )


class RunStatus(ReadModel):
    """The active or last Run of an object."""

    name: Annotated[str, Field(max_length=63)] = Field(description="Names the Run and its folder in the store.")
    trigger: Annotated[
        str, Field(max_length=128, description="Why it runs: generation, schedule, upstream, request or restore.")
    ]
    generation: int = Field(default=0, description="Generation of the spec that it executes.")
    spec_digest: Short | None = Field(default=None, description="Digest of the part of the spec that a Run depends on.")
    config_digest: Short | None = Field(default=None, description="Digest of the frozen inputs that bind all attempts.")
    created: Timestamp | None = Field(default=None, description="When it was decided.")
    attempts: Annotated[list[Attempt], Field(max_length=20, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Oldest first."
    )
    stop_requested_at: Timestamp | None = Field(default=None, description="When the workload was asked to stop.")
    stop_reason: Short | None = Field(default=None, description="Why it was asked to stop.")
    not_before: Timestamp | None = Field(default=None, description="When the next attempt may be recorded.")
    done: bool = Field(default=False, description="No further attempt follows.")
    succeeded: bool = Field(default=False, description="It is done and brought a result.")
    cost: RunCost | None = Field(
        default=None, description="What it cost, once it is done; absent where the profile names no prices."
    )


class ExpectationResult(ReadModel):
    """One expectation as observed. `failed` counts rows; -1 means the expectation is not about rows."""

    expectation: Short = Field(description="Name of the expectation.")
    column: Short | None = Field(default=None, description="Column that it is about, if one.")
    severity: Short = Field(default="critical", description="critical or warning.")
    success: bool = Field(default=False, description="Whether it held.")
    observed: Annotated[str, Field(max_length=256)] = Field(default="", description="What was observed.")
    failed: int = Field(default=0, description="Rows that broke it; -1 means it is not about rows.")
    examples: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=5, json_schema_extra=ATOMIC)] = (
        Field(default_factory=list, description="Where: source, file, row or page.")
    )


class ReasonCount(ReadModel):
    """How many documents or rows were rejected for one reason, with examples of where."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="The reason.")
    count: Count = Field(default=0, description="How many.")
    examples: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=5, json_schema_extra=ATOMIC)] = (
        Field(default_factory=list, description="Where: source, file, row or page.")
    )


ReasonCounts = Annotated[
    list[ReasonCount], Field(max_length=20, json_schema_extra=map_list(), description="Rejections by reason.")
]


class ValidationSummary(ReadModel):
    """The outcome of data validation."""

    success: bool = Field(
        default=False,
        description="No critical expectation failed on the data as read; under quarantine the rest may be used nevertheless.",
    )
    evaluated: Count = Field(default=0, description="Expectations checked.")
    failed: Count = Field(default=0, description="Expectations that did not hold.")
    rows: Count = Field(default=0, description="Rows read, those included that were rejected before any check.")
    rejected: Count = Field(default=0, description="Rows left out: unreadable, or put into quarantine.")
    results: Annotated[list[ExpectationResult], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="One entry per expectation."
    )
    rejections: ReasonCounts = Field(default_factory=list)

    @property
    def warned(self) -> int:
        """Return how many of `failed` only warn; 0 where the bounded list does not hold all that failed."""
        found = [result for result in self.results if not result.success]
        return sum(result.severity == "warning" for result in found) if len(found) == self.failed else 0


class GateVerdict(ReadModel):
    """One gate, judged by the operator from the metrics."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the gate.")
    passed: bool = Field(default=False, description="Whether the gate held.")
    reason: Short = Field(default="", description="Succeeded, GateFailed, GateUnproven or NoBaseline.")
    message: Text = Field(default="", description="What was measured and by how much the bound was missed.")


GateVerdicts = Annotated[
    list[GateVerdict], Field(max_length=32, json_schema_extra=map_list(), description="One verdict per gate.")
]


class StoreIdentity(ReadModel):
    """Where an object's artifacts and collections lie, copied at first use so that deletion needs no profile."""

    profile: Short = Field(description="Name of the ComputeProfile.")
    profile_uid: Short = Field(description="Its uid: a profile made anew under the same name is another one.")
    artifact_root: Annotated[str, Field(max_length=1024)] = Field(description="artifactStore.root.")
    artifact_endpoint: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="artifactStore.endpoint."
    )
    artifact_region: Short | None = Field(default=None, description="artifactStore.region.")
    artifact_secret: Short | None = Field(default=None, description="Name of the operator's Secret for the store.")
    vector_endpoint: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="vectorStore.endpoint."
    )
    vector_secret: Short | None = Field(default=None, description="Name of the operator's Secret for Weaviate.")
    runtime_type: Short | None = Field(default=None, description="runtime.type; absent means rayCluster.")
    runtime_address: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="Address of the Ray cluster."
    )
    runtime_secret: Short | None = Field(default=None, description="Name of the operator's Secret for Ray.")
