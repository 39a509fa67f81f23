"""Who may start a Run now: the concurrency limits of a profile, fair between namespaces.

Used by `loop`, between a plan and its application, without awaiting in between. In memory only: after a restart every object is looked at
once before anything new starts (`primed`), so that Runs already active are counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gradatim.api.computeprofile import ConcurrencyLimit
from gradatim.operator.queue import Key


@dataclass(slots=True)
class Slots:
    """Active and waiting Runs by profile."""

    primed: bool = False
    _active: dict[str, set[Key]] = field(default_factory=dict)
    _waiting: dict[str, dict[Key, None]] = field(default_factory=dict)

    def may_start(self, key: Key, profile: str, limit: ConcurrencyLimit) -> bool:
        """Return whether `key` may take a slot now. Whoever may not is remembered as waiting."""
        if limit.total is None and limit.per_namespace is None:
            return True
        active = self._active.setdefault(profile, set())
        if key in active:
            return True  # a start that did not come to its status write: it still holds the slot it was given
        waiting = self._waiting.setdefault(profile, {})
        running = Counter(k.namespace for k in active)
        waiting.setdefault(key, None)
        if not self.primed:
            return False
        if limit.total is not None and len(active) >= limit.total:
            return False
        if limit.per_namespace is not None and running[key.namespace] >= limit.per_namespace:
            return False
        rivals = [k for k in waiting if limit.per_namespace is None or running[k.namespace] < limit.per_namespace]
        fewest = min(running[k.namespace] for k in rivals)
        return running[key.namespace] == fewest

    def take(self, key: Key, profile: str) -> None:
        """Count `key` as active."""
        self._waiting.get(profile, {}).pop(key, None)
        self._active.setdefault(profile, set()).add(key)

    def release(self, key: Key) -> list[Key]:
        """Count `key` as idle and no longer waiting; return the keys that may now have a turn."""
        freed: list[Key] = []
        for profile, active in self._active.items():
            self._waiting.get(profile, {}).pop(key, None)
            if key in active:
                active.discard(key)
                freed.extend(self._waiting.get(profile, {}))
        return freed

    def waiting(self, profile: str) -> list[Key]:
        """Return the keys that wait for a slot of `profile`, oldest first."""
        return list(self._waiting.get(profile, {}))

    def active(self, profile: str) -> int:
        """Return how many Runs of `profile` are active."""
        return len(self._active.get(profile, ()))

    def all_waiting(self) -> list[Key]:
        """Return every waiting key."""
        return [key for keys in self._waiting.values() for key in keys]
