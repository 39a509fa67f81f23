"""Writes one collection: creates it, makes it hold exactly the given rows, counts, describes and drops it.

Called by the index workload, one writer per collection. A load is a comparison with what is there already, so that a first load, a
repeated one after a crash, an update in place and the repair of wrong counts are the same code; each may be cut off and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import weaviate
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter
from weaviate.classes.tenants import Tenant
from weaviate.collections import Collection
from weaviate.exceptions import WeaviateInsertManyAllFailedError

from gradatim.rag.store import names as s
from gradatim.rag.store.connection import translated
from gradatim.rag.store.diff import Limits, ObjectKey, count_differences, pieces
from gradatim.rag.store.errors import CountMismatch, LoadRefused, VectorStoreUnreachable
from gradatim.rag.store.rows import IndexRow, size_of, to_properties
from gradatim.rag.store.schema import CollectionDesign, create_arguments

Vector = npt.NDArray[np.float32]
Rows = Iterable[tuple[IndexRow, Vector]]
AnyCollection = Collection[Any, Any]
_TRANSIENT_OBJECT = (
    "timeout",
    "deadline",
    "unavailable",
    "connection",
    "try again",
    "not ready",
    "memory pressure",
    "shard",
)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """Bounds of a load. The client itself waits up to 15 s for a lost connection in each of the `attempts`.

    `pause(seconds)` waits and may raise to stop; `progress(objects)` hears of every piece that arrived.
    """

    pause: Callable[[float], None]
    progress: Callable[[int], None]
    limits: Limits = field(default_factory=Limits)
    attempts: int = 3
    first_pause: float = 0.5
    in_flight: int = 2


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did."""

    inserted: int
    kept: int
    deleted: int


@dataclass(slots=True)
class CollectionWriter:
    """The only writer of a collection. `tenants` says whether the collection has one shard per tenant."""

    client: weaviate.WeaviateClient
    name: str
    vector_name: str
    tenants: bool
    settings: LoadSettings
    _known_tenants: set[str] = field(default_factory=set)

    def exists(self) -> bool:
        """Tell whether the collection is there."""
        with translated(f"looking for collection {self.name}"):
            return self.name in self.client.collections.list_all(simple=True)

    def create(self, design: CollectionDesign) -> None:
        """Create the collection; raises LoadRefused's base when the server refuses the definition."""
        with translated(f"creating collection {self.name}"):
            self.client.collections.create(**create_arguments(design))

    def describe(self, description: str) -> None:
        """Replace the manifest in the collection's description."""
        with translated(f"describing collection {self.name}"):
            self._handle().config.update(description=description)

    def drop(self) -> None:
        """Delete the collection with everything in it; none is no error."""
        with translated(f"dropping collection {self.name}"):
            self.client.collections.delete(self.name)

    def counts(self) -> dict[str | None, int]:
        """Return the number of objects by tenant (key None without tenancy). Empty tenants count too."""
        with translated(f"counting collection {self.name}"):
            return {
                tenant: int(handle.aggregate.over_all(total_count=True).total_count or 0)
                for tenant, handle in self._handles()
            }

    def stored(self) -> dict[ObjectKey, str]:
        """Return the fingerprint of every object in the collection."""
        found: dict[ObjectKey, str] = {}
        with translated(f"reading collection {self.name}"):
            for tenant, handle in self._handles():
                for item in handle.iterator(return_properties=[s.FINGERPRINT], cache_size=2000):
                    found[ObjectKey(tenant, str(item.uuid))] = str(item.properties.get(s.FINGERPRINT) or "")
        return found

    def sync(self, rows: Rows) -> LoadReport:
        """Make the collection hold exactly these rows: insert what lacks or changed, then delete what nobody wants.

        Raises VectorStoreUnreachable after the last attempt, LoadRefused for objects that the server will never take.
        """
        existing = self.stored() if sum(self.counts().values()) else {}
        kept = [0]

        def wanted() -> Iterator[tuple[str | None, DataObject[Any, Any], int]]:
            for row, vector in rows:
                properties = to_properties(row)
                if existing.pop(ObjectKey(row.tenant, row.id), None) == properties[s.FINGERPRINT]:
                    kept[0] += 1
                    continue
                item = DataObject(uuid=row.id, properties=properties, vector={self.vector_name: cast("Any", vector)})
                yield row.tenant, item, size_of(row, len(vector))

        inserted = self._insert_all(pieces(wanted(), self.settings.limits))
        self._delete(list(existing))
        return LoadReport(inserted=inserted, kept=kept[0], deleted=len(existing))

    def reconcile(self, expected: Mapping[str | None, int], rows: Callable[[], Rows]) -> LoadReport | None:
        """Compare counts by tenant with `expected`; on a difference compare every object once more and repair.

        Returns what the repair did, None when nothing was wrong. Raises CountMismatch when the counts still differ.
        """
        if not count_differences(expected, self._counts_with_empty(expected)):
            return None
        report = self.sync(rows())
        left = count_differences(expected, self._counts_with_empty(expected))
        if left:
            shown = "; ".join(str(difference) for difference in left[:_SHOWN])
            raise CountMismatch(
                f"collection {self.name} holds {shown}; another writer may be at work, the next attempt loads it again"
            )
        return report

    def _counts_with_empty(self, expected: Mapping[str | None, int]) -> dict[str | None, int]:
        found = self.counts()
        return {tenant: count for tenant, count in found.items() if count or tenant in expected}

    def _handle(self) -> AnyCollection:
        return self.client.collections.use(self.name)

    def _handles(self) -> list[tuple[str | None, AnyCollection]]:
        base = self._handle()
        if not self.tenants:
            return [(None, base)]
        self._known_tenants = set(base.tenants.get())
        return [(tenant, base.with_tenant(tenant)) for tenant in sorted(self._known_tenants)]

    def _target(self, tenant: str | None) -> AnyCollection:
        base = self._handle()
        if tenant is None:
            return base
        if tenant not in self._known_tenants:
            with translated(f"creating tenant {tenant} of collection {self.name}"):
                base.tenants.create([Tenant(name=tenant)])
            self._known_tenants.add(tenant)
        return base.with_tenant(tenant)

    def _insert_all(self, batches: Iterator[tuple[str | None, list[DataObject[Any, Any]]]]) -> int:
        """Keep a few requests under way: the server indexes one piece while the next is read and sent."""
        total = 0
        running: set[Future[int]] = set()
        with ThreadPoolExecutor(max_workers=self.settings.in_flight, thread_name_prefix="load") as pool:
            try:
                for tenant, batch in batches:
                    target = self._target(tenant)
                    if len(running) >= self.settings.in_flight:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        total += self._collect(done)
                    running.add(pool.submit(self._insert, target, batch))
                total += self._collect(running)
            except BaseException:
                for future in running:
                    future.cancel()
                raise
        return total

    def _collect(self, done: Iterable[Future[int]]) -> int:
        total = 0
        for future in done:
            count = future.result()
            self.settings.progress(count)
            total += count
        return total

    def _insert(self, target: AnyCollection, batch: list[DataObject[Any, Any]]) -> int:
        """Insert one piece; objects that fail for a reason that may pass are sent again, by themselves and later."""
        left, pause = batch, self.settings.first_pause
        for attempt in range(1, self.settings.attempts + 1):
            failed: dict[int, str] = {}
            try:
                with translated(f"loading collection {self.name}"):
                    failed = _send(target, left)
            except VectorStoreUnreachable:
                if attempt == self.settings.attempts:
                    raise
            else:
                _refuse_hopeless(self.name, left, failed)
                left = [left[index] for index in sorted(failed)]
                if not left:
                    return len(batch)
            self.settings.pause(pause)
            pause *= 2
        raise VectorStoreUnreachable(
            f"collection {self.name} did not take {len(left)} objects in {self.settings.attempts} attempts: "
            f"{next(iter(failed.values()))}"
        )

    def _delete(self, keys: list[ObjectKey]) -> None:
        by_tenant: dict[str | None, list[str]] = {}
        for key in keys:
            by_tenant.setdefault(key.tenant, []).append(key.id)
        for tenant, ids in by_tenant.items():
            target = self._target(tenant)
            for start in range(0, len(ids), self.settings.limits.objects):
                part = sorted(ids)[start : start + self.settings.limits.objects]
                with translated(f"deleting from collection {self.name}"):
                    target.data.delete_many(where=Filter.by_id().contains_any(part))


def _send(target: AnyCollection, batch: list[DataObject[Any, Any]]) -> dict[int, str]:
    """Return the messages of failed objects by position."""
    try:
        result = target.data.insert_many(batch)
    except WeaviateInsertManyAllFailedError as error:
        return dict.fromkeys(range(len(batch)), error.message)
    return {index: failure.message for index, failure in result.errors.items()}


def _refuse_hopeless(name: str, batch: list[DataObject[Any, Any]], failed: Mapping[int, str]) -> None:
    for index, message in failed.items():
        if not any(sign in message.lower() for sign in _TRANSIENT_OBJECT):
            properties = batch[index].properties or {}
            raise LoadRefused(
                f"collection {name} refused chunk {batch[index].uuid} of {properties.get(s.URI)}: {message[:300]}"
            )
