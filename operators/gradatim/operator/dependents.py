"""Who depends on whom: which objects to look at again when a profile or a Dataset changes.

Written by every pass, read by `main` when an event arrives. In memory only: after a restart every object is looked at once, which fills it.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradatim.operator.queue import Key


class Dependents:
    """A two-way map between objects and what they read."""

    def __init__(self) -> None:
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

    def readers(self, key: Key) -> list[Key]:
        """Return who reads `key`, in a stable order."""
        return sorted(self._readers.get(key, ()))
