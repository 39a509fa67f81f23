"""Names that belong to the whole API group, object metadata and conditions.

Used by every kind, by the operator and by the client. Constants and plain types only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from gradatim.api.base import ReadModel, Short, Timestamp, map_list

GROUP = "gradatim.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
MANAGER = "gradatim-operator"  # as field manager and in the label managed-by
FINALIZER = f"{GROUP}/cleanup"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_KIND = f"{GROUP}/kind"
LABEL_OWNER = f"{GROUP}/owner"
LABEL_RUN = f"{GROUP}/run"
ANNOTATION_REQUESTED_AT = f"{GROUP}/requested-at"


class State(StrEnum):
    """Flat summary for printer columns and Argo resource templates; never decided upon by our own code."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    READY = "Ready"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"


class Condition(ReadModel):
    """A Kubernetes condition."""

    type: Annotated[str, Field(min_length=1, max_length=63, description="CamelCase name of what is observed.")]
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)] = Field(
        description="True, False or Unknown."
    )
    observed_generation: int | None = Field(default=None, description="Generation that this observation belongs to.")
    last_transition_time: Timestamp = Field(description="When `status` last changed.")
    reason: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")] = (
        Field(description="CamelCase word for programs; it never changes its meaning.")
    )
    message: Annotated[str, Field(max_length=1024, description="For a person: what happened and what to do.")] = ""


class ObjectMeta(ReadModel):
    """The part of Kubernetes metadata that the platform looks at."""

    name: Annotated[str, Field(max_length=253)]
    namespace: Short | None = None
    uid: Short | None = None
    resource_version: Short | None = None
    generation: int | None = None
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: list[str] = Field(default_factory=list)
    owner_references: list[dict[str, Any]] = Field(default_factory=list)


Conditions = Annotated[
    list[Condition],
    Field(max_length=16, json_schema_extra=map_list("type"), description="What is observed, one entry per type."),
]
ObservedGeneration = Annotated[int, Field(description="Generation of the spec that this status belongs to.")]
