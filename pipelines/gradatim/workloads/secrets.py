"""Reads secrets from mounted files: `<secretsPath>/<secret>/<key>`.

Used by `RunContext` and the store. A Secret that a user names may only go to the hosts listed, one a line, in its key `hosts`: neither a pod
nor a node sees labels or annotations. The platform's own (artifact store, vector store) are named by the profile. Values never enter
messages, logs or the environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gradatim.workloads.errors import SecretError

HOSTS_FILE = "hosts"
MAX_SECRET_BYTES = 65_536
_MAKE = (
    "create it in the Run's namespace, or outside of pods as a folder below secretsPath, with the keys that are needed; "
    f"one that a source or model names needs the key {HOSTS_FILE} too"
)
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")


@dataclass(frozen=True, slots=True)
class SecretFolder:
    """The folder that holds one sub-folder per Secret; `root` is None where no secrets are mounted."""

    root: Path | None

    def read(self, name: str, key: str) -> str:
        """Return the value without a final line end. Raises SecretError when it is missing, too large or lies outside its folder."""
        folder = self._folder(name)
        if not _NAME.fullmatch(key):
            raise SecretError(f"secret {name} cannot have a key {key!r}")
        file = folder / key
        if not file.is_file():
            raise SecretError(f"secret {name} has no key {key}; add it to the Secret and mount it again")
        # Kubernetes mounts keys as links inside the folder; a link that leaves it would read another's secret.
        if not file.resolve().is_relative_to(folder.resolve()):
            raise SecretError(f"key {key} of secret {name} lies outside its folder")
        if file.stat().st_size > MAX_SECRET_BYTES:
            raise SecretError(f"key {key} of secret {name} is larger than {MAX_SECRET_BYTES} bytes")
        return file.read_text(encoding="utf-8").rstrip("\r\n")

    def has(self, name: str, key: str) -> bool:
        """Tell whether the Secret carries the key."""
        return bool(_NAME.fullmatch(key)) and (self._folder(name) / key).is_file()

    def read_for_host(self, name: str, key: str, host: str) -> str:
        """Return the value if the Secret's `hosts` allows `host` (`name` or `name:port`); raises SecretError otherwise."""
        if not self.has(name, HOSTS_FILE):
            raise SecretError(
                f"secret {name} names no hosts; add the key {HOSTS_FILE} with the hosts it may be sent to, one a line"
            )
        allowed = [line.strip() for line in self.read(name, HOSTS_FILE).replace(",", "\n").splitlines()]
        if not any(host_matches(pattern, host) for pattern in allowed if pattern and not pattern.startswith("#")):
            raise SecretError(f"secret {name} may not be sent to {host}; add the host to its key {HOSTS_FILE}")
        return self.read(name, key)

    def _folder(self, name: str) -> Path:
        if self.root is None:
            raise SecretError(
                f"secret {name} is needed but no secrets are mounted here; set secretsPath in the profile"
            )
        if not _NAME.fullmatch(name):
            raise SecretError(f"{name!r} is not the name of a Secret")
        folder = self.root / name
        # Kubernetes mounts a Secret that does not exist as a folder with nothing in it but links of its own.
        if not folder.is_dir() or all(entry.name.startswith("..") for entry in folder.iterdir()):
            raise SecretError(f"secret {name} is not mounted, or empty: {_MAKE}")
        return folder


def host_matches(pattern: str, host: str) -> bool:
    """Compare `host[:port]` with a pattern `name`, `name:port` or `*.domain`; a pattern without port allows every port.

    >>> host_matches("*.example.com", "git.example.com:443"), host_matches("example.com:443", "example.com:80")
    (True, False)
    """
    wanted, wanted_port = _split(pattern)
    actual, actual_port = _split(host)
    if wanted_port and wanted_port != actual_port:
        return False
    if wanted.startswith("*."):
        return actual.endswith(wanted[1:]) and actual != wanted[2:]
    return wanted == actual


def _split(host: str) -> tuple[str, str]:
    text = host.strip().lower()
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = text.partition(":")
    return (text, "") if ":" in port else (name, port)
