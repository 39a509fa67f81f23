"""Opens Weaviate by explicit HTTP and gRPC addresses, and translates its client's exceptions.

Called by the index workload, the retriever and tests. Every call into the client happens inside `translated()`, so that no other module
has to know the client's error classes. The key is handed over by the caller, never read from the environment.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import grpc  # type: ignore[import-untyped]
import httpx
import weaviate
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.exceptions import (
    AuthenticationFailedError,
    InsufficientPermissionsError,
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateClosedClientError,
    WeaviateConnectionError,
    WeaviateGRPCUnavailableError,
    WeaviateRetryError,
    WeaviateStartUpError,
    WeaviateTimeoutError,
)

from gradatim.rag.store.address import VectorStoreAddress
from gradatim.rag.store.errors import (
    CollectionNotFound,
    CredentialsRefused,
    EncoderMismatch,
    TenantError,
    VectorStoreError,
    VectorStoreUnreachable,
)

__all__ = ["VectorStoreAddress", "connected", "open_client", "translated"]

# The client logs whole objects, vectors included, whenever one of a batch fails; the loader reports them itself.
logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)

_DOWN = (
    WeaviateConnectionError,
    WeaviateGRPCUnavailableError,
    WeaviateStartUpError,
    WeaviateTimeoutError,
    WeaviateRetryError,
    WeaviateClosedClientError,
    httpx.TransportError,
    ConnectionError,
    TimeoutError,
)
_TRANSIENT_GRPC = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
    }
)
_REFUSED_GRPC = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_GONE = ("could not find class", "class not found", "collection not found")
_WRONG_VECTOR = "does not have named vector"
_TENANT = ("tenant not found", "multi-tenancy enabled", "multi-tenancy disabled", "tenant name")
_UNAVAILABLE_TEXT = ("unavailable", "deadline exceeded", "connection refused", "socket closed", "failed to connect")


def open_client(address: VectorStoreAddress) -> weaviate.WeaviateClient:
    """Connect and check that HTTP and gRPC both answer. Raises VectorStoreUnreachable or CredentialsRefused."""
    limits = address.timeouts
    client = weaviate.WeaviateClient(
        connection_params=address.parameters(),
        auth_client_secret=Auth.api_key(address.api_key) if address.api_key else None,
        additional_config=AdditionalConfig(
            timeout=Timeout(init=limits.init, query=limits.query, insert=limits.insert), trust_env=False
        ),
        skip_init_checks=False,
    )
    with translated(f"connecting to Weaviate at {address.endpoint}, gRPC at {address.grpc_endpoint}"):
        try:
            client.connect()
        except BaseException:
            client.close()
            raise
    return client


@contextlib.contextmanager
def connected(address: VectorStoreAddress) -> Iterator[weaviate.WeaviateClient]:
    """Open a client for a block and close it at its end, whatever happens."""
    client = open_client(address)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the client's exceptions into VectorStoreError and its kinds; `doing` opens the message."""
    try:
        yield
    except (WeaviateBaseError, grpc.RpcError, httpx.TransportError, ConnectionError, TimeoutError) as error:
        raise _translate(doing, error) from error


def _translate(doing: str, error: Exception) -> VectorStoreError:
    text = _one_line(str(error))
    code = _status(error)
    if isinstance(error, (AuthenticationFailedError, InsufficientPermissionsError)) or code in (401, 403):
        return CredentialsRefused(f"{doing}: the API key was refused ({text})")
    rpc = _rpc_code(error)
    if rpc in _REFUSED_GRPC:
        return CredentialsRefused(f"{doing}: the API key was refused ({text})")
    lower = text.lower()
    if code == 404 or any(sign in lower for sign in _GONE):
        return CollectionNotFound(f"{doing}: the collection does not exist ({text})")
    if _WRONG_VECTOR in lower:
        return EncoderMismatch(f"{doing}: the collection's vectors come from another encoder ({text})")
    if any(sign in lower for sign in _TENANT):
        return TenantError(f"{doing}: {text}")
    faulty = code is not None and code >= 500
    if isinstance(error, _DOWN) or rpc in _TRANSIENT_GRPC or faulty or any(sign in lower for sign in _UNAVAILABLE_TEXT):
        return VectorStoreUnreachable(f"{doing}: {type(error).__name__}: {text}")
    return VectorStoreError(f"{doing}: {type(error).__name__}: {text}")


def _status(error: Exception) -> int | None:
    return error.status_code if isinstance(error, UnexpectedStatusCodeError) else None


def _rpc_code(error: BaseException) -> grpc.StatusCode | None:
    """The client hides the gRPC status in the chain of causes."""
    found: BaseException | None = error
    for _ in range(5):
        if found is None:
            return None
        code = getattr(found, "code", None)
        if callable(code):
            value = code()
            return value if isinstance(value, grpc.StatusCode) else None
        found = found.__cause__ or found.__context__
    return None


def _one_line(text: str, limit: int = 400) -> str:
    clean = " ".join(text.split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
