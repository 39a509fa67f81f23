"""What the loop hands to every reconcile and gets back.

The seam between `loop` and the kinds: one frozen context per process, one outcome per pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gradatim.operator.dependents import Dependents
from gradatim.operator.edges import Edges
from gradatim.operator.events import EventQueue
from gradatim.operator.kube import Body, Kube
from gradatim.operator.metrics import Metrics
from gradatim.operator.queue import Key
from gradatim.operator.settings import Settings
from gradatim.operator.slots import Slots


@dataclass(slots=True)
class Context:
    """Everything a pass may use. The mutable parts are caches that a restart rebuilds."""

    kube: Kube
    edges: Edges
    settings: Settings
    metrics: Metrics
    slots: Slots
    dependents: Dependents
    events: EventQueue = field(default_factory=EventQueue)
    unreachable_since: dict[Key, datetime] = field(default_factory=dict)
    moving_since: dict[Key, datetime] = field(default_factory=dict)
    answered: dict[Key, datetime] = field(default_factory=dict)  # by the runtime, about the active attempt
    unswept: set[Key] = field(default_factory=set)  # indexes whose stray collections could not be removed
    released: dict[Key, str] = field(default_factory=dict)  # finished Runs of which no pods are kept any more
    wake: list[Key] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended. `requeue` in seconds; `written` is the resourceVersion of our own write, whose event says nothing new."""

    requeue: float | None = None
    written: str | None = None


class Reconciler(Protocol):
    """One kind's pass: read, plan, apply, write status, tell."""

    async def __call__(self, context: Context, key: Key, body: Body, now: datetime) -> Outcome:
        """Bring the object closer to its spec."""
        ...
