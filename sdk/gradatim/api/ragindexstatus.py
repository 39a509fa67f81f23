"""What the operator observed of a `RAGIndex`: versions, the candidate, the promotion on record.

Part of the kind `RAGIndex`, whose spec lies in `ragindex`. Written by the operator alone; read by the client and by queries.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gradatim.api.base import SET, Count, Digest, Name, ReadModel, Short, Text, Timestamp, Uid, map_list
from gradatim.api.meta import Conditions, ObservedGeneration, State
from gradatim.api.runstatus import (
    GateVerdicts,
    Metrics,
    Progress,
    ReasonCounts,
    RunStatus,
    StoreIdentity,
    ValidationSummary,
)


class IndexVersion(ReadModel):
    """A finished version: an artifact in the store and a collection in Weaviate."""

    digest: Digest = Field(description="Digest of the index artifact.")
    label: Annotated[str, Field(max_length=63)] = Field(description="Short name, e.g. v3.")
    collection: Annotated[str, Field(max_length=128, pattern=r"^[A-Z][A-Za-z0-9_]*$")] = Field(
        description="Name of the Weaviate collection."
    )
    uri: Annotated[str, Field(max_length=2048)] = Field(description="Folder of the artifact in the store.")
    resolved_digest: Digest | None = Field(
        default=None, description="Digest of the sources and of the part of the spec that the build depends on."
    )
    encoder_digest: Digest | None = Field(default=None, description="Digest of the encoder's files.")
    documents: Count = Field(default=0, description="Documents in it.")
    chunks: Count = Field(default=0, description="Chunks in it.")
    rejected: Count = Field(default=0, description="Documents that were rejected.")
    metrics: Metrics = Field(default_factory=list)
    gates: GateVerdicts = Field(default_factory=list)
    passed: bool = Field(default=False, description="Every gate passed; only such a version can be promoted or pinned.")
    created: Timestamp | None = Field(default=None, description="When its Run finished.")
    retired_at: Timestamp | None = Field(default=None, description="When it was no longer wanted.")
    dropping: bool = Field(
        default=False, description="What it has left in the stores is being removed; it cannot be pinned any more."
    )
    collection_dropped: bool = Field(default=False, description="Its collection is gone; it cannot be pinned.")
    run: Short | None = Field(default=None, description="The Run that made it.")
    generation: int = Field(default=0, description="Generation of the spec that it was built from.")


class Candidate(ReadModel):
    """What is being built or was refused."""

    run: Short = Field(description="Its Run.")
    stage: Short = Field(default="", description="Refused after a failed gate.")
    digest: Digest | None = Field(default=None, description="Digest of the artifact, once there is one.")
    collection: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="Its Weaviate collection, once there is one."
    )
    message: Text = Field(default="", description="What is going on, or why it was refused.")


class Promotion(ReadModel):
    """The recorded decision to switch; written before the alias moves."""

    digest: Digest = Field(description="The version to serve.")
    collection: Annotated[str, Field(max_length=128)] = Field(description="Where the alias shall point.")
    reason: Short = Field(description="Promoted or Pinned.")
    decided_at: Timestamp = Field(description="When it was decided.")


class Adoption(ReadModel):
    """What came of `versions.adoptFrom`. It stays once a version serves, whatever becomes of the field."""

    uid: Uid = Field(description="The object whose vectors are taken.")
    run: Short | None = Field(default=None, description="The Run that took them; absent until one has.")
    chunks: Count | None = Field(default=None, description="Chunks whose vector came from there.")
    embedded: Count | None = Field(default=None, description="Texts that this Run had to embed all the same.")


class RAGIndexStatus(ReadModel):
    """What the operator observed."""

    observed_generation: ObservedGeneration = -1
    state: State = State.PENDING
    conditions: Conditions = Field(default_factory=list)
    alias: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="Name that queries use; it points at the active version's collection."
    )
    endpoint: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="REST address to query.")
    grpc_endpoint: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="gRPC address to query."
    )
    active: IndexVersion | None = Field(default=None, description="The version that the alias was found to point at.")
    candidate: Candidate | None = None
    promotion: Promotion | None = None
    adoption: Adoption | None = None
    history: Annotated[list[IndexVersion], Field(max_length=10, json_schema_extra=map_list("digest"))] = Field(
        default_factory=list, description="Finished versions, newest first."
    )
    in_use_by: Annotated[list[Name], Field(max_length=64, json_schema_extra=SET)] = Field(
        default_factory=list, description="Labels of versions that a deployment still uses."
    )
    run: RunStatus | None = None
    progress: Progress | None = None
    progress_text: Short | None = Field(default=None, description="Progress in a few words, for the printer column.")
    reason_text: Short | None = Field(
        default=None, description="Why it is not well, in one word, for the printer column; absent while all is well."
    )
    quality_text: Short | None = Field(default=None, description="Main metric of the active version, for the column.")
    validation: ValidationSummary | None = None
    rejections: ReasonCounts = Field(default_factory=list, description="Rejected documents by reason.")
    upstream: Annotated[dict[str, Short], Field(max_length=128)] = Field(
        default_factory=dict,
        description="Dataset name to the digest that the last build was given, also one that failed or was refused.",
    )
    last_checked: Timestamp | None = Field(default=None, description="When sources were last found current.")
    next_refresh: Timestamp | None = Field(default=None, description="The next tick of the schedule.")
    last_tick: Timestamp | None = Field(default=None, description="The tick that last started a Run.")
    last_requested: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Value of `gradatim.dev/requested-at` that last started a Run."
    )
    versions_built: Count = Field(default=0, description="Versions ever built; the next label follows from it.")
    store: StoreIdentity | None = None
