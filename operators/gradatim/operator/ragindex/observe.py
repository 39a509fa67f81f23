"""Reads the vector store for a RAGIndex: where its alias points, and whether the wanted collection is there.

Called by `reconcile`. A store that does not answer leaves `known` False; the plan then neither switches nor drops anything.
"""

from __future__ import annotations

from gradatim.api.ragindex import RAGIndexStatus
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.edges import Edges
from gradatim.operator.errors import DependencyError
from gradatim.operator.ragindex.model import Aliases

Trouble = tuple[Reason, str]


async def aliases(
    edges: Edges, identity: StoreIdentity | None, alias: str, status: RAGIndexStatus, *, every: bool
) -> tuple[Aliases, list[Trouble]]:
    """Return the alias as read, and with `every` what all others lead to: a list that grows with the store.

    Nothing is asked before a first version exists.
    """
    if identity is None or not status.history:
        return Aliases(), []
    try:
        store = await edges.vectors(identity)
        at = await store.alias(alias)
        wanted = status.promotion.collection if status.promotion else None
        present = None if wanted is None else await store.exists(wanted)
        pointed = frozenset((await store.aliases()).values()) if every else frozenset[str]()
    except DependencyError as error:
        return Aliases(), [(error.reason, error.message)]
    return Aliases(collection=at, present=present, pointed_at=pointed, known=True), []
