"""Files of a folder on this machine: the `path` source, and the volume claims that a pod has mounted.

Nothing outside the folder can be reached: links that leave it are counted and skipped, and an opened file is checked again. Hidden files
are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources.base import (
    FileRejected,
    Listing,
    Skipped,
    SourceFile,
    listing,
    not_allowed,
    unreachable,
)


def list_path(source: str, uri: str, allowed: list[str], limit: int) -> Listing:
    """List a file or folder named by `file:///…`, which must lie below one of the `allowed` roots."""
    start = Path(uri.removeprefix("file://"))
    try:
        real = start.resolve()
        roots = [Path(root).resolve() for root in allowed]
    except OSError as error:
        raise unreachable(source, f"{start} cannot be read ({error.strerror})") from error
    if not any(real.is_relative_to(root) for root in roots):
        where = ", ".join(allowed) or "none"
        told = f"{start} does not lie below an allowed root of the profile ({where})"
        raise not_allowed(
            source, f"{told}; once its limits allow it (local platform: `gradatim up --allow-source`), rerun"
        )
    return list_folder(source, real, limit)


def list_folder(source: str, start: Path, limit: int) -> Listing:
    """List a folder, or a single file, that was already checked and resolved."""
    try:
        mode = start.stat().st_mode
    except FileNotFoundError as error:
        raise WorkloadError(Failure.DATA, Reason.SOURCE_EMPTY, f"source {source}: {start} does not exist") from error
    except OSError as error:
        raise unreachable(source, f"{start} cannot be read ({error.strerror})") from error
    if stat.S_ISREG(mode):
        return listing(source, [_file(source, start.parent, start.name, limit)])
    files: list[SourceFile] = []
    skipped: list[Skipped] = []
    for path, reason in _walk(source, start):
        if reason:
            skipped.append(Skipped(path, reason))
        else:
            files.append(_file(source, start, path, limit))
    return listing(source, files, skipped=skipped)


def _walk(source: str, root: Path) -> Iterator[tuple[str, str]]:
    """Yield (relative path, reason to skip or empty) of everything that is not hidden."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise unreachable(source, f"{folder} cannot be listed ({error.strerror})") from error
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            relative = path.relative_to(root).as_posix()
            if not _readable_name(relative):
                yield relative.encode("utf-8", "replace").decode(), "NameNotUtf8"
            elif entry.is_symlink():
                yield relative, _link(path, root)
            elif entry.is_dir():
                waiting.append(path)
            else:
                yield relative, "" if entry.is_file() else "NotARegularFile"


def _link(path: Path, root: Path) -> str:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "BrokenLink"
    if not target.is_relative_to(root):
        return "LinkOutside"
    # A linked folder's files are listed where they really lie; following it could also never end.
    return "" if target.is_file() else "LinkToFolder"


def _readable_name(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _file(source: str, root: Path, relative: str, limit: int) -> SourceFile:
    info = (root / relative).stat()
    version = f"stat:{info.st_size}:{info.st_mtime_ns}"
    return SourceFile(source, relative, info.st_size, version, limit, lambda: _open(root, relative))


def _open(root: Path, relative: str) -> BinaryIO:
    """Open without following a link that was put there after the listing."""
    real = (root / relative).resolve()
    if not real.is_relative_to(root):
        raise FileRejected("LinkOutside", f"{relative} leads out of the source")
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FileRejected("Unreadable", f"{relative} cannot be read: {error.strerror}") from error
    stream = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode) or not _opened_below(handle, root):
        stream.close()
        raise FileRejected("LinkOutside", f"{relative} leads out of the source")
    return stream


def _opened_below(handle: int, root: Path) -> bool:
    """Linux tells where an open file really lies; elsewhere the check before the opening has to do."""
    link = Path(f"/proc/self/fd/{handle}")
    return not link.is_symlink() or link.readlink().is_relative_to(root)
