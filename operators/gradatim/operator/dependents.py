"""Who depends on whom: which objects to look at again when a profile or a Dataset changes.

Written by every pass, read by `main` when an event arrives. In memory only: after a restart every object is looked at once, which fills it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradatim.operator.queue import Key

Says = tuple[object, ...]
DELETED: Says = ("deleted",)
DEPENDED_UPON = frozenset({"computeprofiles", "datasets"})


def says(plural: str, body: dict[str, Any]) -> Says:
    """Return what readers of an object depend on: how far a Run is, or how many are active, concerns none of them. Pure."""
    metadata, status = body["metadata"], body.get("status") or {}
    told: Says = (metadata.get("uid"), metadata.get("generation"))
    if plural == "computeprofiles":
        ready: dict[str, Any] = next((c for c in status.get("conditions") or [] if c.get("type") == "Ready"), {})
        return (*told, ready.get("status"), ready.get("reason"), ready.get("message"))
    active = status.get("active") or {}
    return (*told, active.get("digest"), active.get("uri"))


class Dependents:
    """A two-way map between objects and what they read, and what was last heard of those that are read."""

    def __init__(self) -> None:
        self._said: dict[Key, Says] = {}
        self._reads: dict[Key, frozenset[Key]] = {}
        self._readers: dict[Key, set[Key]] = {}

    def update(self, reader: Key, reads: Iterable[Key]) -> None:
        """Record what `reader` reads; replaces what was known."""
        new, old = frozenset(reads), self._reads.get(reader, frozenset())
        for key in old - new:
            readers = self._readers.get(key, set())
            readers.discard(reader)
            if not readers:
                self._readers.pop(key, None)
        for key in new - old:
            self._readers.setdefault(key, set()).add(reader)
        if new:
            self._reads[reader] = new
        else:
            self._reads.pop(reader, None)

    def news(self, key: Key, told: Says) -> bool:
        """Record what an object says to its readers; return whether it said something else before."""
        known = self._said.get(key)
        self._said[key] = told
        return known != told

    def gone(self, key: Key) -> None:
        """Forget an object that is gone: as a reader, and what it said."""
        self.update(key, ())
        self._said.pop(key, None)

    def readers(self, key: Key) -> list[Key]:
        """Return who reads `key`, in a stable order."""
        return sorted(self._readers.get(key, ()))
