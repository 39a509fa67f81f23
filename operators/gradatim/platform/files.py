"""Write files so that a killed process leaves either the old content or the new one.

Called wherever the platform writes state, keys or configuration. Files are private unless asked otherwise: the state folder holds keys.
"""

from __future__ import annotations

import os
import secrets
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
    finally:
        partial.unlink(missing_ok=True)


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
