"""What the Kubernetes API is made of: where kinds live, what its answers mean, who owns what.

Used by `kube`, which exports it, and by nobody else directly. Values and pure functions.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

import aiohttp

from gradatim.api.meta import API_VERSION, GROUP, VERSION
from gradatim.api.reasons import Reason
from gradatim.operator.errors import OperatorError, TryLater

Body = dict[str, Any]
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME_CHARS = 253


class KubeError(OperatorError):
    """The API server refused a call."""

    def __init__(self, status: int, api_reason: str, message: str) -> None:
        super().__init__(Reason.RETRYING, f"{status} {api_reason}: {message}")
        self.status = status
        self.api_reason = api_reason


class NotFound(KubeError):
    """404."""


class InvalidName(NotFound):
    """What was asked for has a name that no object can have, so it is not there. Nothing was sent."""

    def __init__(self, what: str, name: object) -> None:
        super().__init__(404, "InvalidName", f"{what} {str(name)[:100]!r} is no name of an object: not a DNS subdomain")


class Conflict(KubeError):
    """409 or 422 on a precondition: somebody wrote in between."""


class AlreadyExists(KubeError):
    """409 on create."""


class ApiUnreachable(TryLater):
    """No answer, or one that says later. An answer that a write has failed is a `KubeError`: a webhook may be behind it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API."""

    group: str
    version: str
    plural: str
    tries: int = 3  # of a call that the server asks us to repeat

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, the object or its subresource.

        Raises `InvalidName`. Names come from what tenants write, and clients resolve dots and slashes: a path of parts could leave its namespace.
        """
        for what, part in (("namespace", namespace), (self.plural, name)):
            if part and not is_name(part):
                raise InvalidName(what, part)
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def is_name(text: object) -> TypeGuard[str]:
    """Return whether objects of the kinds that are read here can be called so: a DNS subdomain, RFC 1123.

    >>> [is_name(text) for text in ("docs.v1", "../../victim/ragindices/docs", "a..b", "", None)]
    [True, False, False, False, False]
    """
    return isinstance(text, str) and len(text) <= _NAME_CHARS and _NAME.fullmatch(text) is not None


def ours(plural: str) -> Resource:
    """Return the resource of one of our kinds."""
    return Resource(GROUP, VERSION, plural)


CONFIG_MAPS = Resource("", "v1", "configmaps")
SECRETS = Resource("", "v1", "secrets")
EVENTS = Resource("", "v1", "events")
NAMESPACES = Resource("", "v1", "namespaces")


def parsed(text: str) -> Body:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiUnreachable(f"the API server answered something that is not JSON: {text[:80]!r}") from error
    if not isinstance(found, dict):
        raise ApiUnreachable("the API server answered something that is not an object")
    return found


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return how long to wait before repeating, or None when the answer is final."""
    if response.status not in {429, 503}:
        return None
    text = response.headers.get("Retry-After", "1")
    return min(float(text), 10.0) if text.isdigit() else 1.0


def error_of(status: int, text: str, method: str, path: str) -> OperatorError:
    try:
        found = json.loads(text)
        reason, message = found.get("reason", ""), found.get("message", "")
    except (ValueError, AttributeError):
        reason, message = "", text[:200]
    detail = f"{method} {path}: {message}"
    if status == 404:
        return NotFound(status, reason, detail)
    if status == 409 or (status == 422 and "resourceVersion" in message):
        return Conflict(status, reason, detail)
    if status in {429, 503} or (status >= 500 and method == "GET"):
        return ApiUnreachable(f"{status} {reason}: {detail}")
    return KubeError(status, reason, detail)


def owner_reference(owner: Body) -> Body:
    """Return the controller reference to `owner`, an object of our group as read."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_owned_by(child: Body, uid: str) -> bool:
    """Return whether the controller reference of `child` names `uid`."""
    references = child["metadata"].get("ownerReferences", [])
    return any(r.get("controller") and r.get("uid") == uid for r in references)


def without_managed_fields(metadata: Body) -> Body:
    """Return the metadata less the fields that the server keeps for itself, which are most of an object in memory. Pure."""
    return {k: v for k, v in metadata.items() if k != "managedFields"}
