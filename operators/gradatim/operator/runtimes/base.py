"""What the operator may ask of a runtime, whatever it is.

Called by the kinds' observe and apply steps. A runtime starts, observes and ends one process per attempt; it must not judge results, which
come from the artifact store, and it must never report "absent" because it could not look.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gradatim.api.runstatus import Failure
from gradatim.operator.runtimes.queueing import Queueing


class Phase(StrEnum):
    """How the process of an attempt stands in its runtime."""

    ABSENT = "Absent"
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    UNKNOWN = "Unknown"

    @property
    def terminal(self) -> bool:
        """Return whether the process has ended for certain. `ABSENT` counts: the runtime proved that there is none."""
        return self in {Phase.ABSENT, Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED}


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose attempts: the namespace and uid of the object. A runtime never touches what belongs to another uid."""

    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A look at one attempt. Times are RFC 3339 in UTC, `message` is the runtime's own, shortened and without control characters.

    `failure` is what the runtime itself knows about a failed process; None where only the process could tell. `queueing` is how a queue
    before the runtime judges the attempt; None where there is no queue. `lost`: the node of the process does not answer, so that the
    process may have ended or be cut off.
    """

    phase: Phase
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    failure: Failure | None = None
    queueing: Queueing | None = None
    lost: bool = False

    @property
    def waiting(self) -> bool:
        """Return whether the attempt holds no resources because a queue has not admitted it: its deadlines stand still."""
        return self.phase is Phase.PENDING and self.queueing is not None and not self.queueing.admitted


@dataclass(frozen=True, slots=True)
class Launch:
    """One attempt to start. `name` is the submission's id, `config_json` the sealed RunConfig, which holds no secrets.

    `earlier` names the attempts of the same Run before this one.
    """

    name: str
    namespace: str
    config_json: str
    config_digest: str
    uid: str
    workers: int
    earlier: tuple[str, ...] = ()


class Runtime(Protocol):
    """A place where attempts execute. Every method raises `DependencyError` where the runtime cannot be asked."""

    async def submit(self, launch: Launch) -> None:
        """Start the attempt. Idempotent: the same uid and digest under that name is success, another one raises `WillNeverWork`.

        Raises `TryLater` where a process of an earlier attempt may still be running although the attempt has ended.
        """
        ...

    async def observe(self, name: str) -> Observed:
        """Return how the attempt stands; `ABSENT` only where the runtime itself said so."""
        ...

    async def stop(self, name: str) -> None:
        """Ask the attempt to end; absent and ended ones are fine."""
        ...

    async def delete(self, name: str) -> None:
        """Remove the attempt's record, stopping it first; raises `TryLater` while it still runs."""
        ...

    async def release(self, name: str, ended: str | None) -> float:
        """Return for how many seconds the attempt of a finished Run may still hold resources; `ended` is when it did.

        0 where it holds none, or has just been made to give them up.
        """
        ...

    async def logs(self, name: str, tail_bytes: int) -> str:
        """Return the last `tail_bytes` bytes of the log, for people; nothing is ever decided from it."""
        ...

    async def version(self) -> str:
        """Return the runtime's version; the cheapest proof that it answers."""
        ...
