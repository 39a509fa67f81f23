"""What can go wrong with the vector store, one class per thing that the caller would do about it.

Raised by `rag.store` and `rag.retrieve`; the index workload maps them to failure classes, clients show them as they are.
"""

from __future__ import annotations

from gradatim.rag.model import RagError


class VectorStoreError(RagError):
    """Base of every error of the vector store; raised itself for an answer that nothing here expects."""


class VectorStoreUnreachable(VectorStoreError):
    """No connection, a time-out or a server fault: the same call may succeed later."""


class CredentialsRefused(VectorStoreError):
    """The API key is missing, unknown or may not do this. `problem` is that alone, for who knows another cure."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; check the profile's vector store secret")
        self.problem = problem


class CollectionNotFound(VectorStoreError):
    """Neither a collection nor an alias has this name, or the collection was dropped since it was resolved."""


class ManifestError(VectorStoreError):
    """A collection carries no retrieval manifest, or one that this release cannot read."""


class EncoderMismatch(VectorStoreError):
    """The encoder at hand is not the one that made the collection's vectors."""


class TenantError(VectorStoreError):
    """A tenant is missing, unknown, or given for a collection without tenants."""


class LoadRefused(VectorStoreError):
    """The server refuses objects as they are: trying again would not help."""


class CountMismatch(VectorStoreError):
    """The collection does not hold what was loaded into it."""
