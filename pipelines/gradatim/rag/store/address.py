"""Where Weaviate listens, and the key for it.

Made from a Run's config or a client's arguments. Apart from `connection` because an address needs no client library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gradatim.rag.store.errors import VectorStoreError

if TYPE_CHECKING:
    from weaviate.connect import ConnectionParams


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one request may take."""

    init: int = 10
    query: int = 30
    insert: int = 90


@dataclass(frozen=True, slots=True)
class VectorStoreAddress:
    """Where Weaviate listens. `endpoint` and `grpc_endpoint` are `http(s)://host:port`; the key never appears in `repr`."""

    endpoint: str
    grpc_endpoint: str
    api_key: str | None = field(default=None, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def http(self) -> tuple[str, int, bool]:
        """Return host, port and whether TLS is used; raises VectorStoreError for an address without host."""
        return _split(self.endpoint)

    def parameters(self) -> ConnectionParams:
        """Return the client's parameters; raises VectorStoreError for an address without host and for one address given twice."""
        from weaviate.connect import ConnectionParams

        http_host, http_port, http_secure = self.http()
        grpc_host, grpc_port, grpc_secure = _split(self.grpc_endpoint)
        if (http_host, http_port) == (grpc_host, grpc_port):  # Weaviate's client takes no such pair
            raise VectorStoreError(
                f"{self.endpoint!r} and {self.grpc_endpoint!r} are one host and port; give REST and gRPC a host or a port of their own"
            )
        return ConnectionParams.from_params(http_host, http_port, http_secure, grpc_host, grpc_port, grpc_secure)


def _split(address: str) -> tuple[str, int, bool]:
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise VectorStoreError(f"{address!r} is not an address; write http://host:port or https://host:port")
    secure = parts.scheme == "https"
    return parts.hostname, parts.port or (443 if secure else 80), secure
