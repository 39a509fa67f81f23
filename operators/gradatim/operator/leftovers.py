"""What Runs leave in the artifact store, and what goes of it when another Run takes the place of one.

Called by `applying` between two Runs, when no process of the object has work to do. The folder of the Run that is replaced goes: progress,
results, downloads, working files. Of the versions go those that status does not name, once a Run has succeeded: until then the next one may
finish what the last one has begun. Everything is found and removed by name, so that it may be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from gradatim.api.run import MAX_DOCUMENT_BYTES, ProgressDocument
from gradatim.api.runstatus import RunStatus
from gradatim.operator.controls import forget_stop, keep_stopped
from gradatim.operator.errors import DependencyError, TryLater
from gradatim.operator.kube import Body
from gradatim.operator.observing import folder, stored_path
from gradatim.operator.stores.artifacts import ArtifactStore
from gradatim.operator.stores.documents import ResultRejected

logger = logging.getLogger(__name__)
VERSIONS = "versions"


async def collect(store: ArtifactStore, owner: Body, run: RunStatus) -> None:
    """Remove what a Run that is replaced has left. Raises `TryLater` while something is left.

    A process of it that was cut off and comes back finds a request to stop: without the folder it sees no later attempt. None is needed where
    no second process can have begun.
    """
    path = f"{folder(owner)}/{run.name}"
    if run.succeeded and await _worked_alone(store, path, run):
        await forget_stop(store, run.name)
    else:
        await keep_stopped(store, owner, run.name)
    await store.delete(path, within=folder(owner))
    if run.succeeded:
        await _unnamed_versions(store, owner)


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
    except DependencyError:
        raise
    except TryLater as error:
        logger.warning("versions of %s are not looked through: %s", folder(owner), error)
        return
    named = {stored_path(store.root, uri) for uri in uris}
    depth = above.count("/") + 2
    for path in sorted({"/".join(path.split("/")[:depth]) for path in found} - named):
        logger.info("removing %s, which status does not name", path)
        await store.delete(path, within=folder(owner))


def _uris(owner: Body) -> Iterable[str]:
    status = owner.get("status") or {}
    return [v["uri"] for v in (*(status.get("history") or []), status.get("active")) if v and v.get("uri")]
