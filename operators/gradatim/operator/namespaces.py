"""Which of the namespaces that the operator is told to watch it may read.

Called by `main` before anything is watched, and run beside the loop while some are refused. A namespace that is deleted takes the operator's
rights in it along; neither the watches nor the resync go on without a list, so that it would keep all others from being looked at. It must
never widen what is watched: where every namespace is refused, the process ends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from gradatim.api.kinds import KINDS
from gradatim.api.reasons import Reason
from gradatim.operator.errors import TryLater, WillNeverWork
from gradatim.operator.kube import Kube, KubeError, ours
from gradatim.operator.settings import Settings

logger = logging.getLogger(__name__)
TRIES = 3
PAUSE = 5.0  # seconds between them: rights may arrive a moment after the pod that has them
AGAIN = 300.0  # seconds; the alert GradatimForbidden looks at a quarter of an hour
REFUSALS = frozenset({403, 404})


async def narrowed(kube: Kube, settings: Settings, pause: float = PAUSE) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings with the namespaces that may be read, and those that may not.

    Raises `WillNeverWork` where that is none of them, and what the API server is to blame for as it is.
    """
    named, refused = settings.watch_namespaces, settings.watch_namespaces
    for attempt in range(TRIES):
        if attempt and refused:
            await asyncio.sleep(pause)
        refused = tuple([n for n in refused if not await may_read(kube, n)])
    left = tuple(n for n in named if n not in refused)
    if named and not left:
        message = f"no namespace of GRADATIM_WATCH_NAMESPACES may be read: {', '.join(named)}"
        raise WillNeverWork(Reason.CREDENTIALS_REFUSED, message[:900])
    for namespace in refused:
        logger.error(
            "namespace %r is not watched: the API server refuses its lists; where it is gone, take it out of watchNamespaces",
            namespace,
        )
    return dataclasses.replace(settings, watch_namespaces=left), refused


async def until_readable(kube: Kube, refused: tuple[str, ...], pause: float) -> None:
    """Look at the refused ones from time to time. Raises `TryLater` once one may be read: only a new process watches it."""
    while True:
        await asyncio.sleep(pause)
        for namespace in refused:
            if await may_read(kube, namespace):
                raise TryLater(f"namespace {namespace!r} may be read now: the operator starts anew to watch it")


async def may_read(kube: Kube, namespace: str) -> bool:
    """Return whether our kinds may be listed in a namespace."""
    try:
        for kind in KINDS:
            if kind.namespaced:
                async for _ in kube.pages(ours(kind.plural), namespace, limit=1, metadata_only=True):
                    break
    except KubeError as error:
        if error.status in REFUSALS:
            return False
        raise
    return True
