"""What the instant runtime writes in a workload's place: progress and results built from a script. Pure.

Used by `instant` and by tests that forge documents. A script says the outcome and the figures; everything that binds a document to its
attempt comes from the RunConfig, so that only a `raw_result` can be invalid.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from gradatim.api.base import ApiModel, Count
from gradatim.api.dataset import SplitSize
from gradatim.api.run import (
    DatasetOutput,
    IndexOutput,
    PreviousVersion,
    ProgressDocument,
    RunConfig,
    RunResult,
    Stamp,
    canonical_digest,
)
from gradatim.api.runstatus import Failure, NamedMetric, Progress, ReasonCount, ValidationSummary
from gradatim.operator.runtimes.base import Phase


class Script(ApiModel):
    """How an attempt goes. `afterSeconds` null: it runs until it is stopped."""

    after_seconds: float | None = 0.0
    phase: Phase = Phase.SUCCEEDED
    running_phase: Phase = Phase.RUNNING
    runtime_message: str = ""
    runtime_failure: Failure | None = None
    heartbeats: bool = True
    honours_stop: bool = True
    stage: str = "Load"
    percent: int = 50
    writes_result: bool = True
    raw_result: str | None = Field(default=None, description="Written as it is, in place of a valid result.")
    outcome: Literal["Succeeded", "Unchanged", "Stopped", "Failed"] = "Succeeded"
    failure: Failure | None = None
    reason: str | None = None
    message: str = ""
    content: str = Field(default="1", description="Stands for what was read: the same content gives the same digest.")
    rows: Count = 100
    documents: Count = 10
    chunks: Count = 100
    rejected: Count = 0
    adopted: Count = Field(
        default=0, description="Chunks whose vector is taken from `adoptFrom`, where the config has it."
    )
    metrics: list[NamedMetric] = Field(default_factory=list)
    validation: ValidationSummary | None = None
    rejections: list[ReasonCount] = Field(default_factory=list)
    collection_objects: Count | None = Field(
        default=None, description="Make the real collection, with this many objects."
    )


def progress_document(script: Script, config: RunConfig, now: float) -> bytes:
    """Return `progress.json` with a heartbeat at `now`, in seconds since the epoch."""
    at = rfc3339(now)
    progress = Progress(stage=script.stage, step=script.percent, total=100, percent=script.percent, updated=at)
    document = ProgressDocument(stamp=Stamp.of(config), heartbeat=at, progress=progress)
    return document.model_dump_json(by_alias=True, exclude_none=True).encode()


def result_document(script: Script, config: RunConfig, now: float, *, stopped: bool = False) -> RunResult:
    """Return the result of the attempt, finished at `now`."""
    outcome = "Stopped" if stopped else script.outcome
    good = outcome == "Succeeded"
    return RunResult(
        stamp=Stamp.of(config),
        outcome=outcome,
        failure=(script.failure or Failure.USER) if outcome == "Failed" else None,
        reason=None if good else script.reason,
        message=script.message,
        finished=rfc3339(now),
        validation=script.validation,
        rejections=script.rejections,
        dataset=_dataset(script, config) if good and config.workload == "validate" else None,
        index=_index(script, config) if good and config.workload == "index" else None,
        timings={script.stage: 0.0},
    )


def output_digest(script: Script, config: RunConfig) -> str:
    """Return the digest that stands for this content in this object."""
    return canonical_digest({"uid": config.object.uid, "content": script.content})


def rfc3339(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _dataset(script: Script, config: RunConfig) -> DatasetOutput:
    digest = output_digest(script, config)
    return DatasetOutput(
        digest=digest,
        uri=_uri(config, "snapshots", digest),
        rows=script.rows,
        rejected=script.rejected,
        splits=[SplitSize(name="train", rows=script.rows)],
    )


def _index(script: Script, config: RunConfig) -> IndexOutput:
    digest = output_digest(script, config)
    inputs = config.index_inputs
    restore = inputs.restore if inputs else None
    if restore is not None:  # from an artifact that is taken to be there, whatever the content is now
        return _loaded(script, restore)
    collection = (inputs.collection_prefix if inputs else "G0000000000_") + digest.removeprefix("sha256:")[:10]
    refresh = config.index.refresh if config.index else None
    if refresh is not None and refresh.strategy == "inPlace" and inputs is not None and inputs.previous is not None:
        collection = inputs.previous.collection
    adopted = script.adopted if inputs is not None and inputs.adopt_from is not None else 0
    return IndexOutput(
        digest=digest,
        resolved_digest=canonical_digest({"resolved": script.content}),
        uri=_uri(config, "artifacts", digest),
        collection=collection,
        encoder_digest=canonical_digest("instant"),
        documents=script.documents,
        chunks=script.chunks,
        rejected=script.rejected,
        reused_vectors=adopted,
        adopted_vectors=adopted,
        embedded=script.chunks - adopted,
        metrics=script.metrics,
    )


def _loaded(script: Script, version: PreviousVersion) -> IndexOutput:
    return IndexOutput(
        digest=version.digest,
        resolved_digest=version.resolved_digest or version.digest,
        uri=version.uri,
        collection=version.collection,
        encoder_digest=canonical_digest("instant"),
        documents=script.documents,
        chunks=script.chunks,
        reused_vectors=script.chunks,
    )


def _uri(config: RunConfig, folder: str, digest: str) -> str:
    return f"{config.store.root}{config.object_path}/{folder}/{digest.removeprefix('sha256:')}/"
