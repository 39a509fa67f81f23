"""Who the client is: certificates, tokens, token files and exec plugins of a kubeconfig's user.

Used by the transports. A plugin is run as kubectl runs it: the argv of the user's own kubeconfig, no shell. Nothing here is ever logged.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gradatim.client.errors import NotConfiguredError, UnauthorizedError

if TYPE_CHECKING:
    import ssl

Headers = tuple[tuple[str, str], ...]
"""Names and values; a name may occur more than once."""
_TOKEN_FILE_SECONDS = 60.0
_PLUGIN_SECONDS = 120
_EARLY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A credential plugin: `ExecCredential` in, `ExecCredential` out."""

    argv: tuple[str, ...]
    api_version: str
    env: Mapping[str, str] = field(default_factory=dict)
    cluster: Mapping[str, object] | None = None
    install_hint: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a kubeconfig's user holds; PEM texts, never paths."""

    token: str | None = None
    token_file: Path | None = None
    basic: tuple[str, str] | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    plugin: ExecPlugin | None = None
    impersonate: Headers = ()

    @property
    def refreshable(self) -> bool:
        """Return whether asking again may give something else."""
        return self.token_file is not None or self.plugin is not None


class Credentials:
    """The headers of an identity, read again when they expire; safe to use from several threads."""

    def __init__(self, identity: Identity, context: ssl.SSLContext) -> None:
        self._identity = identity
        self._context = context
        self._lock = threading.Lock()
        self._token = identity.token
        self._valid_until = 0.0
        if identity.certificate is not None and identity.key is not None:
            load_certificate(context, identity.certificate, identity.key)

    @property
    def refreshable(self) -> bool:
        """Return whether a refused request is worth a second try."""
        return self._identity.refreshable

    def headers(self, *, afresh: bool = False) -> Headers:
        """Return the request headers. May read a file or run the plugin: call it off the event loop."""
        with self._lock:
            if self.refreshable and (afresh or time.monotonic() >= self._valid_until):
                self._refresh()
            return (*self._identity.impersonate, *self._authorization())

    def _authorization(self) -> Headers:
        if self._token:
            return (("Authorization", f"Bearer {self._token}"),)
        if self._identity.basic:
            encoded = base64.b64encode(":".join(self._identity.basic).encode()).decode()
            return (("Authorization", f"Basic {encoded}"),)
        return ()

    def _refresh(self) -> None:
        if self._identity.plugin is not None:
            self._run(self._identity.plugin)
        elif self._identity.token_file is not None:
            try:
                self._token = self._identity.token_file.read_text().strip()
            except OSError as error:
                raise UnauthorizedError(f"the token file cannot be read: {error}") from error
            self._valid_until = time.monotonic() + _TOKEN_FILE_SECONDS

    def _run(self, plugin: ExecPlugin) -> None:
        status = run_plugin(plugin)
        self._token = status.get("token")
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        if certificate and key:
            load_certificate(self._context, certificate.encode(), key.encode())
        self._valid_until = time.monotonic() + _lifetime(status.get("expirationTimestamp"))


def run_plugin(plugin: ExecPlugin) -> dict[str, str]:
    """Run a credential plugin and return its status. Raises `UnauthorizedError`.

    What it says to a person (a device code, a link to log in) goes to the terminal if there is one, and into the error otherwise.
    """
    import subprocess

    spec: dict[str, object] = {"interactive": False}
    if plugin.cluster is not None:
        spec["cluster"] = plugin.cluster
    info = json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})
    name, seen = plugin.argv[0], _on_terminal()
    try:
        done = subprocess.run(
            plugin.argv,
            env={**os.environ, **plugin.env, "KUBERNETES_EXEC_INFO": info},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if seen else subprocess.PIPE,
            # Whoever sees the prompt decides how long logging in takes; without anybody to see it, waiting is in vain.
            timeout=None if seen else _PLUGIN_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise UnauthorizedError(f"the credential plugin {name} is not installed", hint=plugin.install_hint) from error
    except subprocess.TimeoutExpired as error:
        told = _said(error.stderr)
        raise UnauthorizedError(f"the credential plugin {name} was not done after {_PLUGIN_SECONDS} s{told}") from error
    except OSError as error:
        raise UnauthorizedError(f"the credential plugin {name} did not run: {error}") from error
    if done.returncode != 0:
        raise UnauthorizedError(f"the credential plugin {name} failed with {done.returncode}{_said(done.stderr)}")
    try:
        answer = json.loads(done.stdout)
        status = answer["status"]
        found = {str(k): str(v) for k, v in status.items() if v}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnauthorizedError(f"the credential plugin {name} printed no ExecCredential") from error
    if not found.get("token") and not (found.get("clientCertificateData") and found.get("clientKeyData")):
        raise UnauthorizedError(f"the credential plugin {name} gave neither a token nor a client certificate")
    return found


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _said(errors: bytes | None) -> str:
    """Return what was captured of a plugin's standard error, as the end of a message; empty where a terminal showed it."""
    told = (errors or b"").decode(errors="replace").strip()[-500:]
    return f": {told}" if told else ""


def _lifetime(expires: str | None) -> float:
    if not expires:
        return float("inf")
    try:
        at = datetime.fromisoformat(expires)
    except ValueError as error:
        raise UnauthorizedError(f"the credential plugin gave a wrong expirationTimestamp: {expires}") from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds() - _EARLY_SECONDS)


def load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a client certificate; OpenSSL takes files only, so both lie for a moment in a private folder."""
    import ssl
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gradatim-") as folder:
        cert_path, key_path = Path(folder, "tls.crt"), Path(folder, "tls.key")
        for path, data in ((cert_path, certificate), (key_path, key)):
            path.write_bytes(data)
        try:
            context.load_cert_chain(cert_path, key_path)
        except (ssl.SSLError, OSError) as error:
            raise NotConfiguredError(f"the client certificate and its key do not load: {error}") from error


def decoded(data: str, what: str) -> bytes:
    """Return the bytes of a base64 field of a kubeconfig. Raises `NotConfiguredError`."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotConfiguredError(f"{what} is not base64") from error
