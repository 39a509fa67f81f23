"""What the platform installs is sent again to a server that is only slow, and a silent one is an error that says what to do."""

from __future__ import annotations

import ssl

import httpx
import pytest

from gradatim.platform.bootstrap import Admin
from gradatim.platform.errors import BootstrapError

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}


class Server:
    """Says nothing to the first `silent` requests."""

    def __init__(self, silent: int) -> None:
        self.silent, self.asked = silent, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked <= self.silent:
            raise httpx.ReadTimeout("The read operation timed out", request=request)
        return httpx.Response(200, json={"metadata": {"name": "n"}})


def admin(server: Server) -> Admin:
    found = Admin("https://api.test", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    found._client = httpx.Client(base_url="https://api.test", transport=httpx.MockTransport(server))
    return found


def test_a_slow_server_is_asked_again() -> None:
    server = Server(silent=1)
    admin(server).apply([NAMESPACE])
    assert server.asked == 2


def test_a_silent_server_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(
        BootstrapError, match=r"does not answer PATCH /api/v1/namespaces/n \(The read .*`gradatim up` again"
    ):
        admin(Server(silent=9)).apply([NAMESPACE])
