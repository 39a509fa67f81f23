"""Deleting objects and waiting until they are gone, as operations that both clients run.

Called by `Client` and `AsyncClient`. The finalizers of an object do the work behind it; this only asks for it and looks. No I/O happens
here (see `effects.py`).
"""

from __future__ import annotations

from gradatim.client.effects import Op, Request, clock, sleep
from gradatim.client.errors import NotFoundError, WaitTimeoutError
from gradatim.client.manifests import Manifest
from gradatim.client.operations import Target, call, missing, target
from gradatim.client.resources import resource_for

_POLL_SECONDS = 0.5


def delete(where: Target, *, wait_seconds: float | None) -> Op[None]:
    """Delete an object; with `wait_seconds`, until it is gone.

    Raises `NotFoundError`, or `WaitTimeoutError` with the finalizers that hold it.
    """
    try:
        yield from _removed(where.path, str(where), wait_seconds)
    except NotFoundError as error:
        raise (yield from missing(where)) from error


def delete_manifest(thing: Manifest, namespace: str, *, wait_seconds: float | None) -> Op[None]:
    """Delete the object of a manifest, of any kind that the cluster knows. Raises `UnknownKindError`, and as `delete`."""
    resource = yield from resource_for(thing)
    manifest = thing.with_namespace(namespace) if resource.namespaced else thing
    if resource.kind is not None:
        yield from delete(target(resource.kind.name, manifest.name, manifest.namespace), wait_seconds=wait_seconds)
        return
    inside = f"{manifest.namespace}/" if resource.namespaced else ""
    what = f"{manifest.kind.lower()} {inside}{manifest.name}"
    try:
        yield from _removed(resource.path(manifest.namespace, manifest.name), what, wait_seconds)
    except NotFoundError as error:
        raise NotFoundError(f"there is no {what}") from error


def _removed(path: str, what: str, wait_seconds: float | None) -> Op[None]:
    """Delete what lies at a path. Raises the server's `NotFoundError`, which says nothing about what was meant."""
    yield from call(Request("DELETE", path, {"propagationPolicy": "Background"}))
    if wait_seconds is None:
        return
    deadline = (yield from clock()) + wait_seconds
    while True:
        try:
            body = yield from call(Request("GET", path))
        except NotFoundError:
            return
        if (yield from clock()) >= deadline:
            held = ", ".join(body["metadata"].get("finalizers") or []) or "nothing that shows"
            raise WaitTimeoutError(f"{what} is still there after {wait_seconds:g} s; held by: {held}")
        yield from sleep(_POLL_SECONDS)
