"""What a pass over a RAGIndex read: the values that its plan, its versions and its status are made from.

Filled by `reconcile` and `observe`. Values only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gradatim.api.ragindex import RAGIndex, RAGIndexStatus
from gradatim.operator.observing import Surrounding
from gradatim.operator.runs.model import Evidence


@dataclass(frozen=True, slots=True)
class Aliases:
    """The vector store as read. `collection` is where our alias points; `present` tells whether the wanted collection exists."""

    collection: str | None = None
    present: bool | None = None
    pointed_at: frozenset[str] = frozenset()
    known: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """What a pass over a RAGIndex read."""

    index: RAGIndex
    status: RAGIndexStatus
    alias: str
    around: Surrounding
    evidence: Evidence
    aliases: Aliases
    granted: bool
    now: datetime
    unknown: tuple[str, ...] = ()  # members of the spec that only a newer release knows
