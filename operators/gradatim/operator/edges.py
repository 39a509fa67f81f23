"""What a pass may reach besides the API server: the runtime and the stores of one identity.

Built by `main`, used by the observing and applying steps and by clean-up. A protocol, so that the fault matrices can put the runtime that
finishes at once in the place of Ray; stores are always the real ones.
"""

from __future__ import annotations

from typing import Protocol

from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.runtimes.base import Runtime, Tenant
from gradatim.operator.stores.artifacts import ArtifactStore
from gradatim.operator.stores.weaviate import Weaviate


class Edges(Protocol):
    """Opened lazily and shared between passes; each method raises `DependencyError` when credentials cannot be read."""

    async def runtime(self, identity: StoreIdentity, tenant: Tenant) -> Runtime:
        """Return the runtime that the identity names, as one object may use it."""
        ...

    async def artifacts(self, identity: StoreIdentity, namespace: str) -> ArtifactStore:
        """Return the artifact store, rooted at the namespace."""
        ...

    async def vectors(self, identity: StoreIdentity) -> Weaviate:
        """Return the vector store. Raises `WillNeverWork` when the identity has none."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
