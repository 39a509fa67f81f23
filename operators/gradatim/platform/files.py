"""Write files so that a killed process leaves either the old content or the new one.

Called wherever the platform writes state, keys or configuration. Files are private unless asked otherwise: the state folder holds keys.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step. Missing parents are made private."""
    private_dir(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
        partial.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)  # a write that fails for want of space does not say where
        raise
    finally:
        partial.unlink(missing_ok=True)


def partial_dir(path: Path) -> Path:
    """Make a private folder in which another one is prepared, to be renamed to `path` when it is whole."""
    return Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))


def half_made(folder: Path, files: Iterable[str], folders: Iterable[str]) -> list[Path]:
    """Return what killed processes left in a folder of `write_atomic` for these files and of `partial_dir` for these folders."""
    named = "|".join(map(re.escape, files)), "|".join(map(re.escape, folders))
    pattern = re.compile(rf"\.(?:(?:{named[0]})\.\d+\.[0-9a-f]{{8}}|(?:{named[1]})-[a-z0-9_]{{8}})")
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))


def delete(paths: Iterable[Path]) -> None:
    """Delete files and whole folders in this order. What is gone already is fine, and no link is followed."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def private_dir(path: Path) -> Path:
    """Make a folder that only its owner can enter, and its missing parents."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def read_or_create_secret(path: Path) -> str:
    """Return the random token in a file, made at the first call."""
    if not path.is_file():
        write_atomic(path, secrets.token_hex(24).encode())
    return path.read_text().strip()
