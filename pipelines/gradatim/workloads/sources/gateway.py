"""The only way on which an S3 client reaches an address that a user has named: a proxy on loopback for that one host.

AWS's client resolves names by itself and follows redirects wherever they lead, and neither can be turned off. So it is given a proxy which connects
to the host of the endpoint alone, each time at an address that was checked just before, and answers anything else with 403. Opened by the s3
source and for models on S3 where the profile allows no private networks. It reads no content: what is encrypted stays so.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import socketserver
import threading
from typing import cast
from urllib.parse import urlsplit

from gradatim.api.reasons import Reason
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources.base import not_allowed, unreachable
from gradatim.workloads.sources.guard import PORTS, Endpoint, check_url

HEAD_BYTES = 64 * 1024
PIECE_BYTES = 256 * 1024
CONNECT_SECONDS, IDLE_SECONDS = 10.0, 90.0
_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]")
_HOP = re.compile(rb"(?i)(?:proxy-[a-z-]+|connection|keep-alive):")


class Gateway:
    """A proxy to the host of one URL, until the process ends.

    `trouble` says why the last connection did not come about, which the client's own error does not; None where it did.
    """

    def __init__(self, source: str, url: str) -> None:
        parts = urlsplit(url)
        self._source, self._url = source, url
        self._scheme = parts.scheme
        self._place = (parts.hostname or "", parts.port or PORTS[parts.scheme])
        self.trouble: WorkloadError | None = None
        gateway = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    gateway._serve(self.request)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port: int = server.server_address[1]
        threading.Thread(target=server.serve_forever, name=f"gateway-{self.port}", daemon=True).start()

    @property
    def proxy(self) -> dict[str, str | int]:
        """What Arrow's S3FileSystem takes as `proxy_options`."""
        return {"scheme": "http", "host": "127.0.0.1", "port": self.port}

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(IDLE_SECONDS)
        head, rest = _read_head(client)
        found = _REQUEST.match(head)
        if found is None:
            client.sendall(_answer(400))
            return
        method, target = found[1].decode(), found[2].decode("latin-1")
        tunnel = method == "CONNECT"
        if not tunnel and method not in {"GET", "HEAD"}:
            client.sendall(_answer(405))  # a source is read, and only these have no body to pass on
            return
        try:
            server = self._connect(self._check(f"https://{target}" if tunnel else target))
        except WorkloadError as error:
            self.trouble = error
            client.sendall(_answer(403 if error.reason is Reason.SOURCE_NOT_ALLOWED else 502))
            return
        self.trouble = None
        with server:
            server.settimeout(IDLE_SECONDS)
            if tunnel:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                server.sendall(rest)
            else:
                server.sendall(_plain(head, method, target))
            _relay(client, server)

    def _connect(self, end: Endpoint) -> socket.socket:
        problem = ""
        for address in (end.address, *end.others):
            try:
                return socket.create_connection((address, end.port), CONNECT_SECONDS)
            except OSError as error:
                problem = error.strerror or str(error)
        raise unreachable(self._source, f"{self._url} cannot be reached ({problem})")

    def _check(self, url: str) -> Endpoint:
        """Return where to connect to. Raises WorkloadError SourceNotAllowed for any place but this gateway's own."""
        parts = urlsplit(url)
        try:
            place = (parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0))
        except ValueError:
            place = ("", 0)
        if (parts.scheme, place) != (self._scheme, self._place):
            where = f"{parts.scheme}://{parts.netloc[:200]}"
            text = f"{self._url} leads to {where}, and redirects must stay on their host; name that as the endpoint if it is meant"
            raise not_allowed(self._source, text)
        return check_url(self._source, self._url, allow_private=False)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a request with its final line break, and what came after it. Raises OSError where there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(PIECE_BYTES)
        if not piece or len(data) > HEAD_BYTES:
            raise ConnectionError("no request")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n", rest


def _plain(head: bytes, method: str, target: str) -> bytes:
    """Return a request to a proxy as one to the server itself, which closes the connection after its answer.

    The next request on the client's connection may be for anybody: each comes on a new one.
    """
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [line for line in head.split(b"\r\n")[1:] if line and not _HOP.match(line)]
    first = f"{method} {path} HTTP/1.1".encode("latin-1")
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Pass on what either side sends until one of them has ended, or both are silent for too long."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while ready := selector.select(IDLE_SECONDS):
            for key, _ in ready:
                piece = cast("socket.socket", key.fileobj).recv(PIECE_BYTES)
                if not piece:
                    return
                key.data.sendall(piece)


def _answer(status: int) -> bytes:
    return f"HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
