"""Who may start a Run now: the concurrency limits of a profile, fair between namespaces.

Used by `loop`, between a plan and its application, without awaiting in between. An object is counted for one profile at a time, as active or
as waiting. In memory only: after a restart every object is looked at once before anything new starts (`primed`), so that Runs already
active are counted.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from gradatim.api.computeprofile import ConcurrencyLimit
from gradatim.operator.queue import Key


@dataclass(slots=True)
class Slots:
    """Active and waiting Runs by profile."""

    primed: bool = False
    _active: dict[str, set[Key]] = field(default_factory=dict)
    _waiting: dict[str, dict[Key, None]] = field(default_factory=dict)
    _limits: dict[str, ConcurrencyLimit] = field(default_factory=dict)

    def may_start(self, key: Key, profile: str, limit: ConcurrencyLimit | None) -> bool:
        """Return whether `key` may take a slot now; without a limit, by the last one heard of. Whoever may not is remembered as waiting.

        To be followed by `take`, `wait` or `release`, which forget what else was counted for `key`.
        """
        if limit is None:
            limit = self._limits.get(profile, ConcurrencyLimit())
        else:
            self._limits[profile] = limit
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

    def take(self, key: Key, profile: str) -> list[Key]:
        """Count `key` as active in this profile alone; return whose turn it is next, if that is new."""
        freed = self._leave(key, self._active, but=profile)
        self._waiting.get(profile, {}).pop(key, None)
        active = self._active.setdefault(profile, set())
        if key in active:
            return freed
        active.add(key)
        return [*freed, *self.turns(profile)]

    def wait(self, key: Key, profile: str) -> list[Key]:
        """Let `key` go on waiting for this profile alone; return whose turn it is elsewhere."""
        return self._leave(key, self._active, but=profile)

    def release(self, key: Key) -> list[Key]:
        """Count `key` as idle and no longer waiting; return whose turn it is now."""
        return self._leave(key, self._active)

    def step_back(self, key: Key) -> list[Key]:
        """Stop waiting without giving a slot back, so that who cannot start holds up nobody; return whose turn it is now."""
        return self._leave(key, {})

    def _leave(self, key: Key, holders: dict[str, set[Key]], but: str | None = None) -> list[Key]:
        freed: list[Key] = []
        for profile in {**self._active, **self._waiting}:
            if profile == but:
                continue
            active, waiting = holders.get(profile, set()), self._waiting.get(profile, {})
            if key in active or key in waiting:
                active.discard(key)
                waiting.pop(key, None)
                freed.extend(self.turns(profile))
        return freed

    def turns(self, profile: str) -> list[Key]:
        """Return who may start now, fair between namespaces, oldest first: not everybody who waits, of whom there may be thousands."""
        limit, active = self._limits.get(profile, ConcurrencyLimit()), self._active.get(profile, set())
        waiting = self._waiting.get(profile, {})
        free = len(waiting) if limit.total is None else limit.total - len(active)
        if not self.primed or free <= 0 or not waiting:
            return []
        running = Counter(k.namespace for k in active)
        queues: dict[str, deque[Key]] = {}
        for key in waiting:
            queues.setdefault(key.namespace, deque()).append(key)
        found: list[Key] = []
        while queues and len(found) < free:
            namespace = min(queues, key=lambda n: running[n])
            if limit.per_namespace is not None and running[namespace] >= limit.per_namespace:
                break
            found.append(queues[namespace].popleft())
            running[namespace] += 1
            if not queues[namespace]:
                del queues[namespace]
        return found

    def waiting(self, profile: str) -> list[Key]:
        """Return the keys that wait for a slot of `profile`, oldest first."""
        return list(self._waiting.get(profile, {}))

    def active(self, profile: str) -> int:
        """Return how many Runs of `profile` are active."""
        return len(self._active.get(profile, ()))

    def all_waiting(self) -> list[Key]:
        """Return every waiting key."""
        return [key for keys in self._waiting.values() for key in keys]
