"""Condition types and reasons, the vocabulary that users script against.

Used by the operator, the workloads and the client. A reason is added here or nowhere; it never changes its meaning.
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """What is observed about an object."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    CURRENT = "Current"
    DEGRADED = "Degraded"
    SOURCES_RESOLVED = "SourcesResolved"
    DATA_VALID = "DataValid"
    BUILT = "Built"
    EVALUATED = "Evaluated"
    RUNTIME_REACHABLE = "RuntimeReachable"
    STORE_READABLE = "StoreReadable"
    VECTOR_STORE_REACHABLE = "VectorStoreReachable"
    QUEUED = "Queued"
    ADMITTED = "Admitted"
    EVICTED = "Evicted"


class Reason(StrEnum):
    """Why a condition has its status."""

    # in progress
    PENDING = "Pending"
    RECORDED = "Recorded"
    IN_PROGRESS = "InProgress"
    QUEUED = "Queued"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    RETRYING = "Retrying"
    WAITING_FOR_DATASET = "WaitingForDataset"
    WAITING_FOR_PROFILE = "WaitingForProfile"
    PROMOTING = "Promoting"
    TERMINATING = "Terminating"
    # good
    SUCCEEDED = "Succeeded"
    UNCHANGED = "Unchanged"
    PROMOTED = "Promoted"
    PINNED = "Pinned"
    PROBED = "Probed"
    NOT_REQUESTED = "NotRequested"
    NO_BASELINE = "NoBaseline"
    RESUMED = "Resumed"
    NOT_SUSPENDED = "NotSuspended"
    # the user's to fix
    INVALID_SPEC = "InvalidSpec"
    PROFILE_NOT_FOUND = "ProfileNotFound"
    PROFILE_NOT_ALLOWED = "ProfileNotAllowed"
    PROFILE_NOT_READY = "ProfileNotReady"
    PROFILE_IDENTITY_CHANGED = "ProfileIdentityChanged"
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_NOT_READY = "DatasetNotReady"
    SOURCE_NOT_ALLOWED = "SourceNotAllowed"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SOURCE_EMPTY = "SourceEmpty"
    DATA_INVALID = "DataInvalid"
    TOO_MANY_REJECTED = "TooManyRejected"
    MODEL_NOT_FOUND = "ModelNotFound"
    GATE_FAILED = "GateFailed"
    GATE_UNPROVEN = "GateUnproven"
    EVALUATION_FAILED = "EvaluationFailed"
    NAME_CONFLICT = "NameConflict"
    PIN_NOT_FOUND = "PinNotFound"
    ADOPTION_FAILED = "AdoptionFailed"
    STRATEGY_REFUSED = "StrategyRefused"
    SECRET_REFUSED = "SecretRefused"  # noqa: S105 - a reason, not a secret
    SUSPENDED = "Suspended"
    # faults
    USER_ERROR = "UserError"
    NODE_LOST = "NodeLost"
    OUT_OF_MEMORY = "OutOfMemory"
    PREEMPTED = "Preempted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    HEARTBEAT_LOST = "HeartbeatLost"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    RUNTIME_UNREACHABLE = "RuntimeUnreachable"
    STORE_UNREACHABLE = "StoreUnreachable"
    STORE_NOT_READABLE = "StoreNotReadable"
    VECTOR_STORE_UNREACHABLE = "VectorStoreUnreachable"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    RESULT_REJECTED = "ResultRejected"
    ARTIFACT_CORRUPT = "ArtifactCorrupt"
    COUNT_MISMATCH = "CountMismatch"
    STALE = "Stale"
    CLEANUP_ABANDONED = "CleanupAbandoned"
