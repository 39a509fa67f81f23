"""The Weaviate of a Run: address from the config, key from the platform's mounted Secret."""

from __future__ import annotations

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.rag.store.address import VectorStoreAddress
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import WorkloadError

API_KEY = "api-key"


def vector_store(ctx: RunContext) -> VectorStoreAddress:
    """Return address and key. Raises WorkloadError User/InvalidSpec without a vector store, User/SecretRefused without its key."""
    config = ctx.config.vector_store
    if config is None:
        text = "the profile names no vectorStore; set it in the ComputeProfile"
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, text)
    key = ctx.secret(config.secret_name, API_KEY) if config.secret_name else None
    return VectorStoreAddress(config.endpoint, config.grpc_endpoint, key)
