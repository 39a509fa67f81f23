"""Where objects live on the API server: paths of our kinds from the table, of other kinds by discovery.

Used by the operations. Pure but for `discover`, an operation of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gradatim.api.base import ReadModel
from gradatim.api.kinds import KINDS, Kind, kind_of
from gradatim.api.meta import API_VERSION, GROUP, VERSION
from gradatim.client.effects import Op, Request, Response, send
from gradatim.client.errors import NotFoundError, ServerError, UnknownKindError, from_response
from gradatim.client.manifests import Manifest

JSON = {"Content-Type": "application/json"}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
APPLY_PATCH = {"Content-Type": "application/apply-patch+yaml"}


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the API server; `kind` is set for those of this release."""

    api_version: str
    plural: str
    namespaced: bool
    kind: Kind | None = None

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of the collection (of all namespaces if None) or of one object."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        last = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{inside}/{self.plural}{last}"


EVENTS = Resource("v1", "events", namespaced=True)


def resource_of(kind: Kind) -> Resource:
    """Return the resource of a kind of this release."""
    return Resource(f"{GROUP}/{VERSION}", kind.plural, kind.namespaced, kind)


def known_kind(kind: str | type[ReadModel]) -> Kind:
    """Return the kind called so, or whose type it is. Raises `UnknownKindError`."""
    if isinstance(kind, str):
        try:
            return kind_of(kind)
        except KeyError as error:
            raise UnknownKindError(str(error.args[0]), hint="") from error
    for found in KINDS:
        if issubclass(kind, found.model):
            return found
    raise UnknownKindError(f"{kind.__name__} is not the type of a kind", hint="")


def resource_for(manifest: Manifest) -> Op[Resource]:
    """Return the resource that a manifest belongs to, asking the server about kinds of others and of other versions."""
    if manifest.ours is not None and manifest.api_version == API_VERSION:
        return resource_of(manifest.ours)
    return (yield from discover(manifest.api_version, manifest.kind))


def discover(api_version: str, kind: str) -> Op[Resource]:
    """Ask the server for the resource of a kind. Raises `UnknownKindError`."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    response = yield from send(Request("GET", root))
    try:
        found = document(response)
    except NotFoundError as error:
        raise _unknown(api_version, kind) from error
    for entry in found.get("resources") or []:
        if entry.get("kind") == kind and "/" not in entry.get("name", "/"):
            return Resource(api_version, str(entry["name"]), bool(entry.get("namespaced")))
    raise _unknown(api_version, kind)


def _unknown(api_version: str, kind: str) -> UnknownKindError:
    hint = None
    if api_version.startswith(f"{GROUP}/"):
        hint = f"kinds of {API_VERSION} are " + ", ".join(k.name for k in KINDS)
        if api_version != API_VERSION and any(kind == k.name for k in KINDS):
            hint = f"{kind} is known as {API_VERSION}: correct apiVersion"
    return UnknownKindError(f"the cluster does not know {api_version} {kind}", hint=hint)


def document(response: Response) -> Mapping[str, Any]:
    """Return an answer's JSON object. Raises the error that the status stands for."""
    if response.status >= 400:
        raise from_response(response.status, response.headers, response.body)
    try:
        found = json.loads(response.body)
    except ValueError as error:
        raise ServerError(f"the server answered {response.status} with something that is not JSON") from error
    if not isinstance(found, dict):
        raise ServerError(f"the server answered {response.status} with something that is not a JSON object")
    return found
