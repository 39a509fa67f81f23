"""Documents below `_control/` of the artifact store: what stops the processes of a Run, and which of them an object still has there.

Called by the applying steps and by clean-up. The request of a Run that was replaced stays, since a process that nobody has heard of for long
may come back and write what serves now; a list of those that stay lets them go with the object. It stops no process itself.
"""

from __future__ import annotations

import json
import logging
import re

from gradatim.api.run import StopRequest, control_path
from gradatim.operator.clock import now, rfc3339
from gradatim.operator.kube import Body
from gradatim.operator.naming import run_name
from gradatim.operator.stores.artifacts import CONTROL, ArtifactStore
from gradatim.operator.stores.documents import ResultRejected

logger = logging.getLogger(__name__)
KEPT_STOPS = 32  # replaced Runs of one object whose processes are still told to stop
_LIST_BYTES = 16_384
_DIGEST = re.compile("[0-9a-f]{10}")


async def request_stop(store: ArtifactStore, run: str, reason: str) -> None:
    """Ask whatever still runs for a Run to stop."""
    request = StopRequest(run=run, requested=rfc3339(now()), reason=reason[:253])
    await store.write_control(control_path(run), request.model_dump_json(by_alias=True).encode())


async def forget_stop(store: ArtifactStore, run: str) -> None:
    """Remove the stop request of a Run."""
    folder = control_path(run).rpartition("/")[0]
    await store.delete(folder, within=folder)


async def keep_stopped(store: ArtifactStore, owner: Body, run: str) -> None:
    """Leave a stop request for a Run that was replaced; the oldest ones beyond `KEPT_STOPS` go."""
    runs = [name for name in await _kept(store, owner) if name != run] + [run]
    for name in runs[:-KEPT_STOPS]:
        await forget_stop(store, name)
    # The list first: what is in no list would outlive the object.
    await store.write_control(f"{_folder(owner)}/stopped.json", json.dumps(runs[-KEPT_STOPS:]).encode())
    await request_stop(store, run, "another Run has taken its place")


async def forget_stopped(store: ArtifactStore, owner: Body) -> None:
    """Remove the stop requests of all replaced Runs of an object that goes, and the list of them."""
    for name in await _kept(store, owner):
        await forget_stop(store, name)
    await store.delete(_folder(owner), within=_folder(owner))


def _folder(owner: Body) -> str:
    return f"{CONTROL}/object-{owner['metadata']['uid']}"  # no Run is called so: its name ends in ten hex digits


async def _kept(store: ArtifactStore, owner: Body) -> list[str]:
    """Return which Runs are in the list. Workloads of the namespace can write there: only what may be a Run of the object counts."""
    path = f"{_folder(owner)}/stopped.json"
    try:
        raw = await store.read(path, _LIST_BYTES)
        found = json.loads(raw or b"[]")
    except (ResultRejected, ValueError, RecursionError) as error:
        logger.warning("%s is not what the operator has written and is made anew: %s", path, error)
        return []
    metadata = owner["metadata"]
    stem = run_name(metadata["name"], metadata["uid"], "").rpartition("-")[0] + "-"
    names = [n for n in found if isinstance(n, str)] if isinstance(found, list) else []
    return [n for n in names if n.startswith(stem) and _DIGEST.fullmatch(n.removeprefix(stem))][-KEPT_STOPS:]
