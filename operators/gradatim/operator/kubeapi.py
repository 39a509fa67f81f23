"""What the Kubernetes API is made of: where kinds live, what its answers mean, who owns what.

Used by `kube`, which exports it, and by nobody else directly. Values and pure functions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from gradatim.api.meta import API_VERSION, GROUP, VERSION
from gradatim.api.reasons import Reason
from gradatim.operator.errors import OperatorError, TryLater

Body = dict[str, Any]


class KubeError(OperatorError):
    """The API server refused a call."""

    def __init__(self, status: int, api_reason: str, message: str) -> None:
        super().__init__(Reason.RETRYING, f"{status} {api_reason}: {message}")
        self.status = status
        self.api_reason = api_reason


class NotFound(KubeError):
    """404."""


class Conflict(KubeError):
    """409 or 422 on a precondition: somebody wrote in between."""


class AlreadyExists(KubeError):
    """409 on create."""


class ApiUnreachable(TryLater):
    """No answer, or one that says later."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, the object or its subresource."""
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
    if status == 429 or status >= 500:
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
