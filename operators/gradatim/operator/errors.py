"""The operator's two error families: what will never work, and what may work later.

Raised by the edges (runtimes, stores, kube) and by plans; caught once, by the loop, which turns them into conditions and requeues.
A message reaches users through status: it says what to do and never carries a credential, a header or an unknown server's answer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError

from gradatim.api.reasons import Reason

_SHOWN = 5
Dependency = Literal["runtime", "artifactStore", "vectorStore"]

UNREACHABLE: dict[Dependency, Reason] = {
    "runtime": Reason.RUNTIME_UNREACHABLE,
    "artifactStore": Reason.STORE_UNREACHABLE,
    "vectorStore": Reason.VECTOR_STORE_UNREACHABLE,
}


class OperatorError(Exception):
    """Base of all errors of the operator. `reason` belongs to the public vocabulary, `message` is for a person."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Keep both parts; nothing else of the cause is shown to users."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class WillNeverWork(OperatorError):
    """Somebody has to change something: goes to a condition, and is not tried again until an input changes."""


class TryLater(OperatorError):
    """May work later: the key is run again after `delay` seconds, or after the queue's own back-off where it is None."""

    def __init__(self, message: str, delay: float | None = None, reason: Reason = Reason.RETRYING) -> None:
        """Keep the delay in seconds."""
        super().__init__(reason, message)
        self.delay = delay


class DependencyError(TryLater):
    """A runtime or a store did not answer, or answered nonsense: what it holds is unknown, nothing is proven absent or failed."""

    def __init__(
        self, dependency: Dependency, message: str, *, reason: Reason | None = None, delay: float | None = None
    ) -> None:
        """Keep which dependency it was; the reason defaults to the one for "unreachable"."""
        super().__init__(message, delay, reason or UNREACHABLE[dependency])
        self.dependency: Dependency = dependency


def explained(error: ValueError) -> str:
    """Return what is wrong in one line: the fields of a validation error, without pydantic's addresses and inputs."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(str(p) for p in e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in found[:_SHOWN]
    )


def credentials_refused(dependency: Dependency, where: str) -> DependencyError:
    """Return the error for a 401 or 403. It is tried again: a rotated Secret repairs it."""
    return DependencyError(
        dependency,
        f"{where} refused the operator's credentials; check the Secret that the ComputeProfile names",
        reason=Reason.CREDENTIALS_REFUSED,
        delay=60.0,
    )
