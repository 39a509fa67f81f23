"""What the two transports share: httpx's arguments, credentials, and what counts as a failure.

Used by `transport_sync` and `transport_async`, the only modules of the client that touch the network. They decide nothing: no retry but one
after refreshed credentials, no parsing. All three are imported at first use, because httpx is slow to load.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import httpx

from gradatim.client.credentials import Credentials, Headers
from gradatim.client.effects import Request, Response
from gradatim.client.errors import NotConfiguredError, UnreachableError
from gradatim.client.kubeconfig import Connection
from gradatim.client.release import FIELD_OWNER, release

CONNECT_SECONDS = 10.0
USER_AGENT = f"{FIELD_OWNER}/{release()}"
LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=5)
FAILURES = (httpx.TransportError, httpx.InvalidURL)


class Setup:
    """A connection, its TLS context and its credentials. `other` requests get none of them."""

    def __init__(self, connection: Connection) -> None:
        parts = urlsplit(connection.server)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise NotConfiguredError(f"{connection.source}: the server {connection.server!r} is no http(s) address")
        self.connection = connection
        context = connection.ssl_context()
        self.credentials = Credentials(connection.identity, context)
        self.cluster: dict[str, Any] = {
            "verify": context,
            "proxy": connection.proxy,
            "limits": LIMITS,
            "trust_env": not is_loopback(parts.hostname),
        }

    def other(self, request: Request) -> dict[str, Any]:
        """Return the arguments of a client for another base."""
        host = urlsplit(request.base or "").hostname or ""
        return {"limits": LIMITS, "trust_env": not is_loopback(host)}

    def headers(self, request: Request, *, afresh: bool = False) -> Headers:
        """Return the credentials' headers; none for another base. May block."""
        return () if request.base else self.credentials.headers(afresh=afresh)

    def again(self, request: Request, status: int) -> bool:
        """Return whether refreshed credentials may help."""
        return status == 401 and request.base is None and self.credentials.refreshable

    def arguments(self, request: Request, headers: Headers) -> dict[str, Any]:
        """Return httpx's arguments for a request. `headers` may repeat a name, as the groups of an impersonated user do."""
        own = {"User-Agent": USER_AGENT, "Accept": "application/json", **request.headers}
        found: dict[str, Any] = {
            "method": request.method,
            "url": f"{request.base or self.connection.server}{request.path}",
            "params": dict(request.params),
            "content": request.content,
            # As bytes: the name of a user or group need not be ASCII, and the API server reads UTF-8.
            "headers": [(name.encode(), value.encode()) for name, value in (*own.items(), *headers)],
            "timeout": httpx.Timeout(request.read_timeout, connect=CONNECT_SECONDS),
        }
        if request.base is None and self.connection.server_name:
            found["extensions"] = {"sni_hostname": self.connection.server_name}
        return found

    def failure(self, request: Request, error: Exception) -> UnreachableError:
        """Return the error of a request that got no answer."""
        where, cause = request.base or self.connection.server, str(error) or type(error).__name__
        return UnreachableError(f"{where} did not answer {request.method} {request.path}: {cause}")


class LineCutter:
    """Cuts what arrives into lines, at line feeds and nowhere else.

    JSON leaves U+0085 and U+2028 in its strings as they are. Both end a line for `str.splitlines`, and with it for httpx, which would cut
    an object in two wherever somebody wrote one.
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    def take(self, piece: bytes) -> list[bytes]:
        """Return the lines that this piece ends."""
        first, *more = piece.split(b"\n")
        self._begun.append(first)
        if not more:
            return []
        lines = [b"".join(self._begun), *more[:-1]]
        self._begun = [more[-1]]
        return lines

    def end(self) -> list[bytes]:
        """Return the line that the stream left without an end, if any."""
        rest, self._begun = b"".join(self._begun), []
        return [rest] if rest else []


def answer(response: httpx.Response) -> Response:
    """Return a whole answer in our own terms."""
    return Response(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: such an address never goes through a proxy."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
