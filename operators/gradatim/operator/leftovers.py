"""What Runs leave in the artifact store, and what goes of it when another Run takes the place of one.

Called by `applying` between two Runs, when no process of the object has work to do. The folder of the Run that is replaced goes: progress,
results, downloads, working files. Of the versions go those that status does not name, once a Run has succeeded: until then the next one may
finish what the last one has begun. Everything is found and removed by name, so that it may be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from gradatim.api.reasons import Reason
from gradatim.api.run import MAX_DOCUMENT_BYTES, ProgressDocument
from gradatim.api.runstatus import RunStatus
from gradatim.operator.controls import forget_stop, keep_stopped
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.kube import Body
from gradatim.operator.observing import folder, stored_path
from gradatim.operator.stores.artifacts import ArtifactStore, StoreFull
from gradatim.operator.stores.documents import ResultRejected

logger = logging.getLogger(__name__)
VERSIONS = "versions"


async def collect(store: ArtifactStore, owner: Body, run: RunStatus) -> None:
    """Remove what a Run that is replaced has left. Raises `TryLater` while something is left that can be removed.

    A process of it that was cut off and comes back finds a request to stop: without the folder it sees no later attempt. None is needed where
    no second process can have begun. What the operator may not remove stays until the object goes: it must not keep every later Run from starting.
    """
    path = f"{folder(owner)}/{run.name}"
    if run.succeeded and await _worked_alone(store, path, run):
        await forget_stop(store, run.name)
    else:
        await _keep_stopped(store, owner, path, run.name)
    await _remove(store, path, owner)
    if run.succeeded:
        await _unnamed_versions(store, owner)


async def _keep_stopped(store: ArtifactStore, owner: Body, path: str, run: str) -> None:
    """Leave the request to stop. On a full disk there is no room for it before what was downloaded and worked on has gone."""
    try:
        await keep_stopped(store, owner, run)
    except StoreFull:
        for name in ("downloads", "work"):
            await _remove(store, f"{path}/{name}", owner)
        await keep_stopped(store, owner, run)


async def _remove(store: ArtifactStore, path: str, owner: Body) -> None:
    """Remove a folder of the object; one that the operator may not remove, or that is a link, is told and stays."""
    try:
        await store.delete(path, within=folder(owner))
    except (DependencyError, WillNeverWork) as error:
        if isinstance(error, DependencyError) and error.reason is not Reason.STORE_NOT_READABLE:
            raise
        logger.warning("%s stays: %s", path, error)


async def _worked_alone(store: ArtifactStore, path: str, run: RunStatus) -> bool:
    """Return whether one process has done all of the Run: its only attempt's first. Not known once the folder is gone."""
    if [a.number for a in run.attempts] != [1]:
        return False
    try:
        raw = await store.read(f"{path}/a1/progress.json", MAX_DOCUMENT_BYTES)
        return raw is not None and ProgressDocument.model_validate_json(raw).process <= 1
    except (ResultRejected, ValueError) as error:
        logger.warning("the progress of %s cannot be read: %s", run.name, error)
        return False


async def _unnamed_versions(store: ArtifactStore, owner: Body) -> None:
    """Remove versions that were never finished, or never became one of the object's. Too many to look through stay until the object goes."""
    above, uris = f"{folder(owner)}/{VERSIONS}", list(_uris(owner))
    if not all(uri.startswith(store.root) for uri in uris):
        return  # what status names lies elsewhere: nothing is known about what lies here
    try:
        found = await store.list(above)
    except (TryLater, WillNeverWork) as error:
        if isinstance(error, DependencyError) and error.reason is not Reason.STORE_NOT_READABLE:
            raise
        logger.warning("versions of %s are not looked through: %s", folder(owner), error)
        return
    named = {stored_path(store.root, uri) for uri in uris}
    depth = above.count("/") + 2
    for path in sorted({"/".join(path.split("/")[:depth]) for path in found} - named):
        logger.info("removing %s, which status does not name", path)
        await _remove(store, path, owner)


def _uris(owner: Body) -> Iterable[str]:
    status = owner.get("status") or {}
    return [v["uri"] for v in (*(status.get("history") or []), status.get("active")) if v and v.get("uri")]
