"""Errors of workloads, and the one place that decides which failure class an exception belongs to.

Raised by every workload, read by `__main__`. The class decides whether another attempt is made: only a fault that time may cure is a
Dependency; a bug stays a User failure, because trying again would only hide it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure, ReasonCount, ValidationSummary

MESSAGE_CHARS = 1024
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
TRANSIENT = frozenset(
    {
        errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH,
        errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ENFILE, errno.EMFILE,
    }
)  # fmt: skip
# Other libraries' exceptions are known by module and name: importing weaviate or ray here would cost every workload a second.
_CONNECTION = (
    ("httpx", ("TransportError",)),
    ("httpx2", ("TransportError",)),
    ("grpc", ("RpcError",)),
    ("weaviate", ("WeaviateConnectionError", "WeaviateStartUpError", "WeaviateGRPCUnavailableError", "WeaviateTimeoutError",
                  "WeaviateClosedClientError")),
)  # fmt: skip
_NODE_LOST = ("NodeDiedError", "WorkerCrashedError", "ActorDiedError", "ActorUnavailableError", "ObjectLostError")
_REFUSED = re.compile(
    r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN_ID)"
    # Codes of S3 that Arrow has no name for; what HEAD answers to an expired token has not even a code.
    r"|\b(ExpiredToken|InvalidToken|TokenRefreshRequired)\b|HTTP status 400\) during Head",
    re.IGNORECASE,
)
# What S3-compatible stores answer when their disks or a quota are full, as Arrow tells it: Amazon's own never is.
_STORE_FULL = re.compile(r"HTTP status 507|\b\w*(StorageFull|QuotaExceeded)\b")
_URL_CREDENTIALS = re.compile(r"://[^/\s@]*@")


class WorkloadError(Exception):
    """A failure with its class and reason. The message names file, row or field and says what to do."""

    def __init__(
        self,
        failure: Failure,
        reason: Reason,
        message: str,
        *,
        validation: ValidationSummary | None = None,
        rejections: Sequence[ReasonCount] = (),
    ) -> None:
        super().__init__(failure, reason, message)  # what it is made again from behind a process boundary
        self.failure = failure
        self.reason = reason
        self.message = message
        self.validation = validation
        self.rejections = list(rejections)

    def __str__(self) -> str:
        return self.message


class StopRequested(Exception):
    """The operator or a signal asked this attempt to end; finished cache entries stay."""


class StoreError(Exception):
    """The artifact store refuses a path or a size."""


class NotFound(StoreError):
    """Nothing lies at this path of the artifact store."""


class SecretError(Exception):
    """A secret's folder or file is missing, too large or may not be used here."""


@dataclass(frozen=True, slots=True)
class Classified:
    """What the result says about an exception. `explained` is one whose message tells a user all: the place in our code adds nothing."""

    failure: Failure
    reason: Reason
    message: str
    explained: bool = False


def classify(error: BaseException) -> Classified:
    """Return the failure class, reason and message of any exception; never raises."""
    cause = _unwrap(error)
    if isinstance(cause, WorkloadError):
        explained = cause.failure in {Failure.USER, Failure.DATA}
        return Classified(cause.failure, cause.reason, shorten(cause.message), explained=explained)
    if isinstance(cause, MemoryError):
        return Classified(
            Failure.OUT_OF_MEMORY,
            Reason.OUT_OF_MEMORY,
            "out of memory; give the workers more memory or use more of them",
        )
    if isinstance(cause, SecretError):
        return Classified(Failure.USER, Reason.SECRET_REFUSED, shorten(str(cause)), explained=True)
    known = _by_name(cause)
    if known is not None:
        return known
    if isinstance(cause, OSError):
        return _os_error(cause)
    text = f"{type(cause).__name__}: {cause}; this looks like a defect, see the log of the attempt"
    return Classified(Failure.USER, Reason.USER_ERROR, shorten(text))


def shorten(text: str, limit: int = MESSAGE_CHARS) -> str:
    """Return `text` on one line, without credentials in URLs, cut to `limit` characters."""
    clean = _URL_CREDENTIALS.sub("://", " ".join(text.split()))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _unwrap(error: BaseException) -> BaseException:
    """Ray wraps what a task raised; the cause decides."""
    for _ in range(8):
        inner = getattr(error, "cause", None)
        if not type(error).__module__.startswith("ray.") or not isinstance(inner, BaseException):
            return error
        error = inner
    return error


def _by_name(error: BaseException) -> Classified | None:
    for base in type(error).__mro__:
        package = base.__module__.partition(".")[0]
        if any(package == module and base.__name__ in names for module, names in _CONNECTION):
            reason = Reason.VECTOR_STORE_UNREACHABLE if package in {"weaviate", "grpc"} else Reason.SOURCE_UNREACHABLE
            text = f"cannot reach a service: {type(error).__name__}: {error}"
            return Classified(Failure.DEPENDENCY, reason, shorten(text))
        if package == "ray" and base.__name__ == "OutOfMemoryError":
            return Classified(Failure.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, shorten(str(error)))
        if package == "ray" and base.__name__ in _NODE_LOST:
            return Classified(Failure.NODE_LOST, Reason.NODE_LOST, shorten(f"{type(error).__name__}: {error}"))
    return None


def disk_full(error: BaseException) -> bool:
    """Return whether a write failed because a disk, a quota or an object store is full."""
    if not isinstance(error, OSError):
        return False
    return error.errno in _DISK_FULL or (error.errno is None and _STORE_FULL.search(str(error)) is not None)


def _os_error(error: OSError) -> Classified:
    text = str(error)
    if disk_full(error):
        message = f"disk full: {text}; free space in the artifact store or on the node, the next attempt continues"
        return Classified(Failure.DEPENDENCY, Reason.STORE_UNREACHABLE, shorten(message))
    if _REFUSED.search(text):
        message = f"the object store refused the credentials: {text}; check the profile's workloadSecretName"
        return Classified(Failure.USER, Reason.CREDENTIALS_REFUSED, shorten(message))
    # Arrow reports a remote store's failures as OSError without a number.
    remote = error.errno is None and not isinstance(error, FileNotFoundError)
    if remote or error.errno in TRANSIENT or isinstance(error, (ConnectionError, TimeoutError)):
        return Classified(Failure.DEPENDENCY, Reason.STORE_UNREACHABLE, shorten(f"a store or service failed: {text}"))
    return Classified(Failure.USER, Reason.USER_ERROR, shorten(f"{type(error).__name__}: {text}"))


def stop_behind(error: BaseException) -> StopRequested | None:
    """Return the order to stop that led to an error: a signal that arrives in compiled code leaves it as a SystemError. None where there is none."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        found = todo.pop()
        if isinstance(found, StopRequested):
            return found
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            todo += [found.__context__, found.__cause__]
    return None
