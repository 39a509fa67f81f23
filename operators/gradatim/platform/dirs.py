"""Where the local platform keeps things: state, cache, and the short-lived run-time folder.

Called by every module that touches a path, so that no path is spelled twice. It creates nothing but the run-time folder, whose
ownership it must check because it lies in the shared temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gradatim.platform.errors import StateError
from gradatim.platform.files import half_made

# Ray appends about 75 characters for its sockets and the kernel allows 107 (103 on macOS).
_LONGEST_RUNTIME_BASE = 18


def default_state_dir(env: Mapping[str, str]) -> Path:
    """Return `$GRADATIM_STATE`, else `$XDG_STATE_HOME/gradatim`, else `~/.local/state/gradatim`."""
    if explicit := env.get("GRADATIM_STATE"):
        return Path(explicit).expanduser().absolute()
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "gradatim"


def cache_dir(env: Mapping[str, str]) -> Path:
    """Return the folder of compiled and downloaded programs: `bin` below `$GRADATIM_CACHE`, else below `~/.cache/gradatim`."""
    if explicit := env.get("GRADATIM_CACHE"):
        return Path(explicit).expanduser().absolute() / "bin"
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradatim" / "bin"


def user_runtime_dir() -> Path:
    """Return a private, short folder in the temporary folder, made if absent.

    Raises StateError when somebody else owns the name: sockets in it would be theirs to replace.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST_RUNTIME_BASE and Path("/tmp").is_dir():  # noqa: S108 - only for the length of socket paths
        base = Path("/tmp")  # noqa: S108
    folder = base / f"gradatim-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise StateError(f"{folder} is not a private folder of this user: remove it, or set TMPDIR to another folder")
    return folder


@dataclass(frozen=True)
class Layout:
    """Every path of one platform below its state folder."""

    root: Path

    @classmethod
    def of(cls, state_dir: Path) -> Self:
        """Return the layout of a state folder, its path made absolute and free of links."""
        return cls(state_dir.expanduser().resolve())

    @property
    def identity(self) -> str:
        """Eight characters that tell this state folder from any other of this machine."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def other_state(self) -> Path:
        """The state file of the other kind of platform, a node cluster: two kinds do not share a folder."""
        return self.root / "node.json"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def private(self) -> Path:
        """Credentials of the platform itself; nothing a workload may read."""
        return self.root / "private"

    @property
    def secrets(self) -> Path:
        """What workloads may read: one sub-folder per Secret, one file per key."""
        return self.root / "secrets"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        return self.private / "operator.kubeconfig"

    @property
    def data_root(self) -> Path:
        return self.root / "data"

    @property
    def client_files(self) -> tuple[Path, ...]:
        """What the command line leaves for clients: their file, and the one that was to replace it."""
        return (self.root / "client.json", self.root / "client.json.new")

    @property
    def marks(self) -> tuple[Path, ...]:
        """The files that tell a platform's folder from somebody else's, in which there may be `data` and `logs` too."""
        return (self.lock, self.ports, self.state)

    def owned(self) -> tuple[Path, ...]:
        """Return everything a platform puts into its state folder; nothing else but `leftovers` may be deleted from it."""
        folders = (self.pki, self.private, self.secrets, self.artifacts, self.logs, self.data_root)
        # First what clients look at, so that they do not find half a platform; the lock last.
        return (*self.client_files, *folders, self.kubeconfig, self.ports, self.state, self.lock)

    def leftovers(self) -> list[Path]:
        """Return what killed processes left half made in the state folder, keys among it."""
        return half_made(self.root, [path.name for path in self.owned()], [self.pki.name])

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def data(self, component: str) -> Path:
        return self.data_root / component

    def ray_temp(self) -> Path:
        """Return Ray's folder: outside the state folder because its sockets need a short path."""
        return user_runtime_dir() / self.identity
