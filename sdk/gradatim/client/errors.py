"""What can go wrong, one class per cause, and the one function that maps an API server's answer to it.

Every function of `gradatim.client` raises a `GradatimError` or lets a programming error through; the command line prints `str(error)` and
`error.hint`. The original exception is always chained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class GradatimError(Exception):
    """Anything that the client reports. `hint` says what to do, and may be empty."""

    hint = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class NotConfiguredError(GradatimError):
    """No cluster is known, or its kubeconfig cannot be used."""

    hint = "start the local platform with `gradatim up`, or name a cluster with --kubeconfig"


class UnreachableError(GradatimError):
    """The other side did not answer, or not in HTTP."""

    hint = "is it running? `gradatim status` shows the local platform"


class UnauthorizedError(GradatimError):
    """The credentials were refused."""

    hint = "log in again, or check the user of the kubeconfig's context"


class ForbiddenError(GradatimError):
    """The identity is known but may not do this."""

    hint = "ask whoever runs the cluster for the RBAC rule named above"


class NotFoundError(GradatimError):
    """There is no such object."""


class UnknownKindError(GradatimError):
    """Neither this release nor the cluster knows the kind."""

    hint = "`gradatim crds | kubectl apply -f -` installs the kinds of this release"


class AlreadyExistsError(GradatimError):
    """An object of that name exists."""

    hint = "use apply to change it"


class ConflictError(GradatimError):
    """Somebody else changed or owns what was to be changed."""

    hint = "read it again and repeat, or take over the fields with --force"


class ExpiredError(GradatimError):
    """A resource version or a list's continuation is too old; reading afresh cures it."""


class ThrottledError(GradatimError):
    """The server asks for a pause. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerError(GradatimError):
    """The server failed, or answered what the API does not allow."""


class UnsupportedError(GradatimError):
    """The request makes no sense here, or needs something this release does not have."""


class MissingExtraError(GradatimError):
    """An optional part of the distribution is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra {extra!r}", hint=f"pip install 'gradatim[{extra}]'")


class ManifestError(GradatimError):
    """A file or a mapping is not a manifest; the message names file and document."""


@dataclass(frozen=True, slots=True)
class FieldCause:
    """One wrong field: its path in the manifest, and what is wrong."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InvalidError(GradatimError):
    """The API server or the types refused the content. `causes` name the fields."""

    def __init__(self, message: str, causes: tuple[FieldCause, ...] = ()) -> None:
        super().__init__("\n  ".join([message, *map(str, causes)]))
        self.summary, self.causes = message, causes


class WaitTimeoutError(GradatimError):
    """The condition did not hold in time; the message says how far it came."""


class StalledError(GradatimError):
    """The object will not get further without a change. `reason` is the condition's."""

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class RunFailedError(StalledError):
    """A run without a cluster failed, or its result did not pass a gate."""


_BY_REASON: Mapping[str, type[GradatimError]] = {
    "AlreadyExists": AlreadyExistsError,
    "Conflict": ConflictError,
    "Expired": ExpiredError,
    "Gone": ExpiredError,
    "Forbidden": ForbiddenError,
    "NotFound": NotFoundError,
    "Unauthorized": UnauthorizedError,
}
_BY_CODE: Mapping[int, type[GradatimError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: UnsupportedError,
    409: ConflictError,
    410: ExpiredError,
}


_UNCHECKED = "some validation rules were not checked"
# Server-side apply reports an unknown field as an internal error with this text.
_TYPED_PATCH = re.compile(r"failed to create typed patch object \((?P<what>[^;)]*)[^)]*\):(?P<rest>.*)", re.DOTALL)
# A create reports them in the text of a bad request.
_STRICT = re.compile(r"strict decoding error: (?P<rest>.*)", re.DOTALL)
_STRICT_FIELD = re.compile(r'unknown field "(?P<field>[^"]+)"')
_TYPED_FIELD = re.compile(r"\.(?P<field>[\w.\[\]\"=-]+): (?P<message>[^\n]+)")


def _undeclared(what: str, rest: str) -> InvalidError:
    causes = tuple(
        FieldCause(m["field"], m["message"].replace("field not declared in schema", "unknown field"))
        for m in _TYPED_FIELD.finditer(rest)
    )
    return InvalidError(f"{what.strip()} is not valid" + ("" if causes else f": {rest.strip()}"), causes)


def from_response(code: int, headers: Mapping[str, str], body: bytes) -> GradatimError:
    """Return the error for an HTTP answer of 400 or above, from its Kubernetes `Status` where there is one."""
    return from_status(_status(body), code, headers)


def from_status(status: Mapping[str, Any], code: int, headers: Mapping[str, str] | None = None) -> GradatimError:
    """Return the error for a Kubernetes `Status`; an answer without one is told by its code."""
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or f"the server answered {code} without a reason")
    if typed := _TYPED_PATCH.match(message):
        return _undeclared(typed["what"], typed["rest"])
    if code == 429 or reason in {"TooManyRequests", "ServerTimeout"}:
        return ThrottledError(message, retry_after=_retry_after(headers or {}, status))
    if code in {400, 422} or reason in {"Invalid", "BadRequest"}:
        return _invalid(message, status)
    cls = _BY_REASON.get(reason) or _BY_CODE.get(code)
    if cls is None:
        return ServerError(message) if code >= 500 else UnsupportedError(message)
    return cls(message)


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        text = body[:300].decode(errors="replace").strip()
        return {"message": text} if text else {}
    return found if isinstance(found, dict) else {}


def _invalid(message: str, status: Mapping[str, Any]) -> InvalidError:
    details = status.get("details")
    found = details.get("causes") if isinstance(details, dict) else None
    causes = tuple(
        dict.fromkeys(
            FieldCause(_shortened(str(c.get("field") or "")), _plainer(str(c.get("message") or "is not valid")))
            for c in found or []
            if isinstance(c, dict) and _UNCHECKED not in str(c.get("message"))
        )
    )
    if causes:
        kind, name = str(details.get("kind") or "object"), str(details.get("name") or "")  # type: ignore[union-attr]
        return InvalidError(f"{kind} {name} is not valid".replace("  ", " "), causes)
    if strict := _STRICT.search(message):
        unknown = tuple(FieldCause(m["field"], "unknown field") for m in _STRICT_FIELD.finditer(strict["rest"]))
        if unknown and len(unknown) == strict["rest"].count(", ") + 1:
            return InvalidError("the object is not valid", unknown)
    return InvalidError(message)


def _plainer(message: str) -> str:
    """Return the message, with an example where the pattern alone would have to be read."""
    return f"{message}: write an absolute address, such as file:///srv/handbook" if "'^file:///" in message else message


def _shortened(field: str) -> str:
    return "" if field == "<nil>" else field


def _retry_after(headers: Mapping[str, str], status: Mapping[str, Any]) -> float:
    details = status.get("details")
    told = headers.get("retry-after") or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        return min(max(float(told or 1), 0.1), 60.0)
    except ValueError:
        return 1.0
