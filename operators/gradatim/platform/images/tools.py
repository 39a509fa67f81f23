"""The programs an image is built with: found, or installed where that is this user's to do.

Called once per build. Only Debian's own package manager installs anything, only as root, and the message says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradatim.platform.images.errors import ImageError


@dataclass(frozen=True)
class Tools:
    """Paths of the programs."""

    uv: Path
    mmdebstrap: Path


def find(env: Mapping[str, str], report: Callable[[str], None]) -> Tools:
    """Return the programs. Raises ImageError when this machine or user cannot build images."""
    if not shutil.which("unshare") or os.geteuid() != 0:
        raise ImageError(
            "images are built on Linux as root, because their root file system is: use sudo, or build the Dockerfiles"
        )
    cache = Path(env.get("GRADATIM_CACHE") or Path.home() / ".cache" / "gradatim").expanduser()
    uv = shutil.which("uv", path=env.get("PATH")) or shutil.which(cache / "tools" / "bin" / "uv")
    if not uv:
        raise ImageError("uv is not installed: run `make setup`, or see https://docs.astral.sh/uv/")
    return Tools(Path(uv), _mmdebstrap(env, report))


def _mmdebstrap(env: Mapping[str, str], report: Callable[[str], None]) -> Path:
    if found := shutil.which("mmdebstrap", path=env.get("PATH")):
        return Path(found)
    if not shutil.which("apt-get"):
        raise ImageError("mmdebstrap is not installed and this is no Debian: install it, or build the Dockerfiles")
    report("installing mmdebstrap")
    run(["apt-get", "install", "-y", "--no-install-recommends", "mmdebstrap"], env)
    return _mmdebstrap({**env, "PATH": f"{env.get('PATH', '')}:/usr/bin"}, _already_tried)


def _already_tried(message: str) -> None:
    raise ImageError(f"{message} did not help: install it, or build the Dockerfiles")


def run(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> str:
    """Run a tool and return what it printed. Raises ImageError with the end of its complaint."""
    done = subprocess.run(
        list(argv), env=dict(env), cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        end = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise ImageError(f"{Path(argv[0]).name} failed with {done.returncode}:\n{end}")
    return done.stdout
