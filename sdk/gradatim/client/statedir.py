"""Where the local platform says how to reach it: `<state>/client.json`, written by `gradatim up`.

Read by the kubeconfig lookup, by logs and by index queries. It starts nothing, and a platform that is not there is simply not found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gradatim.client.errors import NotConfiguredError

_KEYS = ("kubeconfig", "ray_token_file", "ray", "weaviate_api_key_file", "weaviate", "weaviate_grpc")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class LocalPlatform:
    """Files and addresses of a local platform; what its `client.json` leaves out is None."""

    state: Path
    kubeconfig: Path | None = None
    ray_token_file: Path | None = None
    ray: str | None = None
    weaviate_api_key_file: Path | None = None
    weaviate: str | None = None
    weaviate_grpc: str | None = None


def default_state(env: Mapping[str, str] | None = None) -> Path:
    """Return `$GRADATIM_STATE`, else `$XDG_STATE_HOME/gradatim`, else `~/.local/state/gradatim`."""
    env = os.environ if env is None else env
    if explicit := env.get("GRADATIM_STATE"):
        return Path(explicit).expanduser().absolute()
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "gradatim"


def local_platform(state: Path | None = None) -> LocalPlatform | None:
    """Return the local platform of a state folder, or None if none was started there.

    Raises `NotConfiguredError` if its `client.json` cannot be read.
    """
    folder = state or default_state()
    path = folder / "client.json"
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise NotConfiguredError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise NotConfiguredError(f"{path} is not a JSON object")
    text = {key: value for key in _KEYS if isinstance(value := found.get(key), str) and value}

    def file(key: str) -> Path | None:
        return folder / text[key] if key in text else None

    return LocalPlatform(
        state=folder,
        kubeconfig=file("kubeconfig"),
        ray_token_file=file("ray_token_file"),
        ray=text.get("ray"),
        weaviate_api_key_file=file("weaviate_api_key_file"),
        weaviate=text.get("weaviate"),
        weaviate_grpc=text.get("weaviate_grpc"),
    )


def same_server(one: str | None, other: str | None) -> bool:
    """Return whether two addresses name the same server: scheme, host and port. No name is resolved, so that none can be made to match."""
    try:
        return one is not None and other is not None and _server(one) == _server(other)
    except ValueError:  # a port that is none: whoever connects says so
        return False


def _server(address: str) -> tuple[str, str, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def read_secret_file(path: Path, what: str) -> str:
    """Return a secret file's content without surrounding space. Raises `NotConfiguredError`."""
    try:
        value = path.read_text().strip()
    except OSError as error:
        raise NotConfiguredError(f"the file with {what} cannot be read: {error}") from error
    if not value:
        raise NotConfiguredError(f"the file with {what} is empty: {path}")
    return value
