"""The safety net under the watches: lists every kind from time to time and looks at what changed unseen.

Run by `main` beside the loop. One paged list per kind; an object whose resourceVersion has not been seen, whose refresh is due or that has
vanished is enqueued in the slow lane. The first list after a start is one of whole objects, which are handed to the passes. Frozen inputs that
no Run names are removed. Losing the API server raises: the process must not go on blind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta

from gradatim.api.kinds import KINDS, Kind
from gradatim.api.meta import API_VERSION, LABEL_KIND, LABEL_MANAGED_BY, LABEL_OWNER, MANAGER
from gradatim.operator import clock, firstlist
from gradatim.operator.dependents import DELETED, DEPENDED_UPON, says
from gradatim.operator.errors import OperatorError
from gradatim.operator.kube import CONFIG_MAPS, Body, is_owned_by, ours
from gradatim.operator.loop import Loop, run_name
from gradatim.operator.owners import owner_key
from gradatim.operator.queue import Key, Lane

logger = logging.getLogger(__name__)


class Resync:
    """Leaves the resourceVersions of the last list with the loop; remembers nothing else."""

    def __init__(self, loop: Loop, namespaces: Iterable[str]) -> None:
        self._loop = loop
        self._namespaces = tuple(namespaces) or ("",)
        self.first = asyncio.Event()

    async def once(self) -> None:
        """List everything once."""
        present: dict[Key, str] = {}
        for kind in KINDS:
            number = 0
            for namespace in self._namespaces if kind.namespaced else ("",):
                async for page in self._pages(kind, namespace):
                    for item in page:
                        number += 1
                        self._look(kind.plural, item, present)
            self._loop.context.metrics.objects.labels(kind.plural).set(number)
        for key in self._loop.seen.keys() - present.keys():
            if key.plural in DEPENDED_UPON:
                self._loop.upstream(key, DELETED, Lane.RESYNC)
            self._loop.queue.add(key, Lane.RESYNC)
        self._loop.seen = present
        if not self.first.is_set():
            self._loop.first_list_ended()
            self.first.set()
        await self._strays()
        self._loop.context.metrics.resyncs.inc()

    @property
    def listed(self) -> frozenset[Key]:
        """Return the keys of the last list."""
        return frozenset(self._loop.seen)

    async def _pages(self, kind: Kind, namespace: str) -> AsyncIterator[list[Body]]:
        kube, plural = self._loop.context.kube, kind.plural
        if self.first.is_set():
            async for page in kube.pages(ours(plural), namespace, metadata_only=plural not in DEPENDED_UPON):
                yield page
            return
        async for page in kube.pages(ours(plural), namespace, limit=firstlist.PAGE):
            for item in page:
                item.setdefault("kind", kind.name)  # servers may leave it to the list
                item.setdefault("apiVersion", API_VERSION)
            yield page
            await self._loop.first.room()

    def _look(self, plural: str, item: Body, present: dict[Key, str]) -> None:
        metadata = item["metadata"]
        key = Key(plural, metadata.get("namespace", ""), metadata["name"])
        version = metadata["resourceVersion"]
        present[key] = version
        if plural in DEPENDED_UPON:
            self._loop.upstream(key, says(plural, item), Lane.RESYNC)
        if self._loop.seen.get(key) == version or self._loop.written.get(key) == version:
            return
        if self.first.is_set():
            self._loop.copies.heard(key, version)
            self._loop.queue.add(key, Lane.RESYNC)
        else:
            self._loop.hand(key, item)

    async def _strays(self) -> None:
        """Remove frozen inputs whose object lives and names another Run. Those of deleted objects the garbage collector takes."""
        kube = self._loop.context.kube
        labels = f"{LABEL_MANAGED_BY}={MANAGER},{LABEL_KIND}"
        for namespace in self._namespaces:
            async for page in kube.pages(CONFIG_MAPS, namespace, labels=labels, metadata_only=True):
                for item in page:
                    if await self._is_stray(item):
                        await self._sweep(item)

    async def _is_stray(self, item: Body) -> bool:
        metadata = item["metadata"]
        owner = owner_key(item)
        # A Run freezes its inputs just before its status names it.
        age = clock.now() - datetime.fromisoformat(metadata["creationTimestamp"])
        if owner is None or age < timedelta(seconds=self._loop.context.settings.stray_age):
            return False
        uid = metadata.get("labels", {}).get(LABEL_OWNER, "")
        if not is_owned_by(item, uid) or self._loop.runs.get(owner) == (uid, metadata["name"]):
            return False
        body = await self._loop.context.kube.find(ours(owner.plural), owner.namespace, owner.name)
        return body is not None and body["metadata"]["uid"] == uid and run_name(body) != metadata["name"]

    async def _sweep(self, item: Body) -> None:
        """Remove one. Whoever may write ConfigMaps can have it refused, and that must not end the process: the next resync tries again.

        An API server that does not answer is noticed by the next page.
        """
        name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        try:
            await self._loop.context.kube.delete(CONFIG_MAPS, item)
            logger.info("removed stray ConfigMap %s", name)
        except OperatorError as error:
            logger.warning("stray ConfigMap %s stays for now: %s", name, error)
