"""Values that flow through a pass of a kind that runs something.

The loop fills `Evidence` from what it read; the engine turns it into a `Step`: the record to write and the actions to take. An action is
only ever taken for an attempt that status, as read, already names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gradatim.api.reasons import Reason
from gradatim.api.run import ProgressDocument, RunConfig, RunResult
from gradatim.api.runstatus import Failure, RunStatus
from gradatim.operator.runtimes.base import Observed


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a new Run should start. `id` names it for ever; the rest is what status remembers of it."""

    id: str
    cause: str
    tick: str | None = None
    requested: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What the spec says about a Run. Seconds."""

    max_retries: int
    deadline: int
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the active attempt. None means unknown, never absent; `unread`: the store did not answer.

    `document` is the frozen config as it stands, for the attempts to come. `answered`: when the runtime last answered about the attempt, or
    when this process first asked; the attempt cannot have been handed over since.
    """

    config: RunConfig | None = None
    observed: Observed | None = None
    progress: ProgressDocument | None = None
    result: RunResult | None = None
    rejected: str | None = None
    unknown: tuple[str, ...] = ()
    unread: bool = False
    unknown_reason: Reason = Reason.RETRYING
    document: Mapping[str, Any] | None = None
    answered: datetime | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Hand the recorded attempt to the runtime."""

    attempt: int


@dataclass(frozen=True, slots=True)
class RequestStop:
    """Ask the workload to checkpoint and stop."""

    reason: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop the attempt by force."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove what is left of an attempt in the runtime."""

    attempt: int


RunAction = Submit | RequestStop | Kill | Discard


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine decided. `finished` is set in the pass in which the Run's last result becomes known.

    `held` is the record to keep where what the step does cannot be done yet; None where `run` says nothing that depends on it.
    """

    run: RunStatus | None
    actions: tuple[RunAction, ...] = ()
    finished: RunResult | None = None
    failure: Failure | None = None
    reason: Reason = Reason.IN_PROGRESS
    message: str = ""
    requeue: float | None = None
    held: RunStatus | None = None
