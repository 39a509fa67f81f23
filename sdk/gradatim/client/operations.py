"""What the client can do to objects, as operations that both clients run: requests out, typed objects back.

Called by `Client` and `AsyncClient`. No I/O happens here (see `effects.py`). Throttled requests are repeated a few times after
the pause that the server asks for; nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from gradatim.api.base import ApiModel, ReadModel
from gradatim.api.kinds import Kind
from gradatim.api.meta import ANNOTATION_REQUESTED_AT
from gradatim.api.reasons import Reason
from gradatim.client.effects import Op, Request, send, sleep
from gradatim.client.errors import (
    ExpiredError,
    GradatimError,
    InvalidError,
    NotFoundError,
    ServerError,
    ThrottledError,
    UnsupportedError,
)
from gradatim.client.manifests import Manifest, desired, manifest_of
from gradatim.client.release import FIELD_OWNER
from gradatim.client.resources import (
    APPLY_PATCH,
    JSON,
    MERGE_PATCH,
    Resource,
    document,
    known_kind,
    resource_for,
    resource_of,
)
from gradatim.client.suggest import near_name, with_near_fields

M = TypeVar("M", bound=ReadModel)
Body = Mapping[str, Any]
_TRIES = 4
_PAGE = 500
_NAMES_ONLY = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
_NAMES_SECONDS = 3.0  # somebody waits for a hint, or for the shell's answer to a key


@dataclass(frozen=True, slots=True)
class Target:
    """One object, or all of a kind if `name` is None."""

    kind: Kind
    namespace: str | None
    name: str | None = None

    @property
    def path(self) -> str:
        """Return its path on the API server."""
        return resource_of(self.kind).path(self.namespace, self.name)

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.kind.namespaced and self.namespace else ""
        return f"{self.kind.singular} {where}{self.name or '*'}"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write. With `dry_run` the server checks and changes nothing."""

    force: bool = False
    dry_run: bool = False

    def params(self) -> dict[str, str]:
        """Return the query parameters."""
        found = {"fieldManager": FIELD_OWNER, "fieldValidation": "Strict"}
        return found | ({"dryRun": "All"} if self.dry_run else {})


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of one apply: `created`, `configured` or `unchanged`, and the object as it is now."""

    outcome: str
    kind: str
    name: str
    namespace: str | None
    body: Body = field(repr=False)

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name} {self.outcome}"


@dataclass(frozen=True, slots=True)
class Page:
    """A list: the objects and the resource version from which a watch goes on."""

    items: list[Body]
    resource_version: str


def target(kind: str | type[ReadModel], name: str | None, namespace: str | None) -> Target:
    """Return the target of a command; cluster-scoped kinds ignore the namespace."""
    found = known_kind(kind)
    return Target(found, namespace if found.namespaced else None, name)


def call(request: Request) -> Op[Body]:
    """Send a request and return the JSON answer, waiting out throttling."""
    for attempt in range(_TRIES):
        response = yield from send(request)
        try:
            return document(response)
        except ThrottledError as error:
            if attempt == _TRIES - 1:
                raise
            yield from sleep(error.retry_after)
    raise ServerError("unreachable")  # pragma: no cover - the loop returns or raises


def get(where: Target) -> Op[Body]:
    """Read one object. Raises `NotFoundError`."""
    try:
        return (yield from call(Request("GET", where.path)))
    except NotFoundError as error:
        raise (yield from missing(where)) from error


def missing(where: Target) -> Op[NotFoundError]:
    """Return the error for an object that is not there, with what was probably meant; that it is not there matters more than why."""
    found = NotFoundError(f"there is no {where}")
    try:
        names, more = yield from some_names(Target(where.kind, where.namespace))
    except GradatimError:
        return found
    place = f" in namespace {where.namespace}" if where.kind.namespaced else ""
    found.hint = near_name(where.name or "", names, where.kind.plural, place, more=more)
    return found


def some_names(where: Target) -> Op[tuple[list[str], bool]]:
    """Return the names of a kind's objects, one page of them, and whether there are more: one short request."""
    wanted = Request("GET", where.path, {"limit": str(_PAGE)}, headers=_NAMES_ONLY, read_timeout=_NAMES_SECONDS)
    page = document((yield from send(wanted)))
    names = [str(item["metadata"]["name"]) for item in page.get("items") or []]
    return names, bool((page.get("metadata") or {}).get("continue"))


def list_page(where: Target, *, labels: str | None = None, fields: str | None = None) -> Op[Page]:
    """Read all objects, page by page; a list that expires between its pages is started over once."""
    try:
        return (yield from _pages(where, labels, fields))
    except ExpiredError:
        return (yield from _pages(where, labels, fields))


def _pages(where: Target, labels: str | None, fields: str | None) -> Op[Page]:
    found: list[Body] = []
    params = {"limit": str(_PAGE)}
    params |= {"labelSelector": labels} if labels else {}
    params |= {"fieldSelector": fields} if fields else {}
    while True:
        page = yield from call(Request("GET", where.path, params))
        found += page.get("items") or []
        meta = page.get("metadata") or {}
        if not meta.get("continue"):
            return Page(found, str(meta.get("resourceVersion") or ""))
        params = params | {"continue": str(meta["continue"])}


def apply(thing: Manifest, namespace: str, options: WriteOptions) -> Op[Applied]:
    """Apply one manifest server-side. Raises `InvalidError` with field causes, or `ConflictError` naming the owner of the fields."""
    resource = yield from resource_for(thing)
    manifest = thing.with_namespace(namespace) if resource.namespaced else thing
    path = resource.path(manifest.namespace, manifest.name)
    before = yield from _present(path)
    content = json.dumps(desired(manifest.body)).encode()
    params = options.params() | {"force": "true" if options.force else "false"}
    try:
        body = yield from call(Request("PATCH", path, params, content, APPLY_PATCH))
    except InvalidError as error:
        raise _explained(error, resource) from error
    outcome = "created" if before is None else "unchanged" if _same(before, body) else "configured"
    if options.dry_run:
        outcome = f"{'valid' if outcome == 'unchanged' else outcome} (server dry run)"
    return Applied(outcome, manifest.kind, manifest.name, body["metadata"].get("namespace"), body)


def _explained(error: InvalidError, resource: Resource) -> InvalidError:
    """Return the error with the fields that were probably meant, for kinds of this release."""
    if resource.kind is None or not error.causes:
        return error
    return InvalidError(error.summary, with_near_fields(error.causes, resource.kind.model))


def _present(path: str) -> Op[Body | None]:
    try:
        return (yield from call(Request("GET", path)))
    except NotFoundError:
        return None


def _same(before: Body, after: Body) -> bool:
    """Compare all but book-keeping: a resource version may move although nothing did."""

    def told(body: Body) -> dict[str, Any]:
        meta = {
            k: v for k, v in body["metadata"].items() if k not in {"resourceVersion", "managedFields", "generation"}
        }
        return {**body, "metadata": meta, "status": None}

    return told(before) == told(after)


def create(thing: ApiModel | Mapping[str, Any], namespace: str, options: WriteOptions) -> Op[Body]:
    """Create an object. Raises `AlreadyExistsError`."""
    manifest = manifest_of(thing)
    resource: Resource = yield from resource_for(manifest)
    manifest = manifest.with_namespace(namespace) if resource.namespaced else manifest
    content = json.dumps(desired(manifest.body)).encode()
    try:
        return (yield from call(Request("POST", resource.path(manifest.namespace), options.params(), content, JSON)))
    except InvalidError as error:
        raise _explained(error, resource) from error


def patch(where: Target, change: Mapping[str, Any]) -> Op[Body]:
    """Merge a change into an object. Raises `NotFoundError`."""
    content = json.dumps(change).encode()
    try:
        return (yield from call(Request("PATCH", where.path, WriteOptions().params(), content, MERGE_PATCH)))
    except NotFoundError as error:
        raise (yield from missing(where)) from error


def rerun(where: Target) -> Op[Body]:
    """Ask for one new Run by the annotation `requested-at`.

    Raises `UnsupportedError` while the object is suspended or pinned: the operator would not take the request up.
    """
    _runs(where)
    spec: Mapping[str, Any] = (yield from get(where)).get("spec") or {}
    if spec.get("suspend"):
        raise UnsupportedError(f"{where} is suspended and starts no run", hint=remedy(where, Reason.SUSPENDED))
    if (spec.get("versions") or {}).get("pin"):
        raise UnsupportedError(f"{where} is pinned to a version and starts no run", hint=remedy(where, Reason.PINNED))
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return (yield from patch(where, {"metadata": {"annotations": {ANNOTATION_REQUESTED_AT: now}}}))


def remedy(where: Target, reason: str) -> str:
    """Return what to do about an object that gets no further, by the reason."""
    name = f"{where.kind.singular} {where.name}"
    if reason == Reason.SUSPENDED:
        return f"`gradatim resume {name}` lets it run"
    if reason == Reason.PINNED:
        return f"`gradatim index rollback {where.name} --unpin` takes spec.versions.pin away and lets it run"
    return f"`gradatim describe {name}` tells more; after a correction outside the manifest: `gradatim rerun {name}`"


def suspend(where: Target, *, value: bool) -> Op[Body]:
    """Set or clear `spec.suspend`."""
    _runs(where)
    return (yield from patch(where, {"spec": {"suspend": value}}))


def _runs(where: Target) -> None:
    if not where.kind.namespaced:
        raise UnsupportedError(f"a {where.kind.name} runs nothing")


def typed_body(kind: Kind, body: Body, model: type[M] | None = None) -> M:
    """Return an answer as the kind's type. Raises `ServerError` if the server's object does not fit this release."""
    try:
        return cast("M", (model or kind.model).model_validate(body))
    except ValidationError as error:
        name = (body.get("metadata") or {}).get("name")
        raise ServerError(
            f"{kind.singular} {name} does not fit the types of this release: {error.errors()[0]['msg']}",
            hint="the cluster may run another release of Gradatim: compare `gradatim version` with its operator",
        ) from error
