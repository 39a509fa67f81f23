"""Files below one folder of this machine, opened so that no symbolic link can lead elsewhere.

The blocking half of `artifacts` for `file://` roots; every function runs in a thread. A path is walked one name at a time from an open
folder with O_NOFOLLOW, because a workload may swap a folder for a link between a check and its use.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradatim.operator.stores.documents import ResultRejected

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_DEPTH = 64


class Exhausted(Exception):
    """A bounded piece of work ended before all was done; doing it again goes on."""


class Missing(OSError):
    """The folder that carries the store does not exist: nothing is known about what it holds."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Files below `base`/`scope`. `base` must exist; `scope` is a namespace's part of it, which appears with the first file."""

    base: str
    scope: tuple[str, ...]

    def read(self, parts: Sequence[str], limit: int) -> bytes | None:
        """Return a file's content, None where there is none. Raises `ResultRejected` for links, devices and more than `limit` bytes."""
        with self._folder(parts[:-1]) as folder:
            if folder is None:
                return None
            try:
                handle = os.open(parts[-1], _FILE, dir_fd=folder)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _refusal(error, parts) from error
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise ResultRejected(f"{'/'.join(parts)} is not a regular file")
                with open(handle, "rb", closefd=False) as file:
                    data = file.read(limit + 1)
            finally:
                os.close(handle)
        if len(data) > limit:
            raise ResultRejected(f"{'/'.join(parts)} is larger than {limit} bytes")
        return data

    def write(self, parts: Sequence[str], data: bytes) -> None:
        """Write a file whole or not at all, creating folders below `base`."""
        with self._folder(parts[:-1], create=True) as folder:
            assert folder is not None  # noqa: S101 - what `create` promises
            temporary = f".{uuid.uuid4().hex}.part~"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o644, dir_fd=folder)
            try:
                with open(handle, "wb", closefd=True) as file:  # noqa: PTH123
                    file.write(data)
                os.replace(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    def list(self, parts: Sequence[str], limit: int) -> list[str]:
        """Return the paths of all regular files below a folder. Raises `Exhausted` beyond `limit` of them."""
        found: list[str] = []
        with self._folder(parts) as folder:
            if folder is not None:
                _collect(folder, "/".join(parts), found, limit)
        return sorted(found)

    def delete(self, parts: Sequence[str], limit: int) -> None:
        """Remove a file or a folder with all in it; links are removed, not followed. Raises `Exhausted` after `limit` entries."""
        with self._folder(parts[:-1]) as folder:
            if folder is not None:
                _remove(folder, parts[-1], [limit], 0)

    @contextlib.contextmanager
    def _folder(self, parts: Sequence[str], *, create: bool = False) -> Iterator[int | None]:
        """Open a folder below the scope; None where it does not exist."""
        try:
            handle = os.open(self.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Missing(error.errno, "the folder of the artifact store does not exist") from error
        try:
            for part in (*self.scope, *parts):
                below = _open_folder(handle, part, parts, create=create)
                if below is None:
                    yield None
                    return
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)


def _open_folder(handle: int, name: str, parts: Sequence[str], *, create: bool) -> int | None:
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o777, dir_fd=handle)
    try:
        return os.open(name, _FOLDER, dir_fd=handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(error, parts) from error


def _refusal(error: OSError, parts: Sequence[str]) -> Exception:
    """Tell a path that is not what it should be from a store that does not work."""
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG}:
        return ResultRejected(f"{'/'.join(parts)} leads through something that is not a plain file or folder")
    return error


def _collect(folder: int, path: str, found: list[str], limit: int, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise ResultRejected(f"folders below {path[:200]} are nested too deeply")
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(found) >= limit:
                raise Exhausted(f"more than {limit} files")
            if entry.is_file(follow_symlinks=False):
                found.append(f"{path}/{entry.name}" if path else entry.name)
            elif entry.is_dir(follow_symlinks=False):
                below = os.open(entry.name, _FOLDER, dir_fd=folder)
                try:
                    _collect(below, f"{path}/{entry.name}" if path else entry.name, found, limit, depth + 1)
                finally:
                    os.close(below)


def _remove(folder: int, name: str, left: list[int], depth: int) -> None:
    if left[0] <= 0 or depth > _MAX_DEPTH:
        raise Exhausted("too many entries for one call")
    left[0] -= 1
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            return
        below = os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        return
    try:
        for entry in os.listdir(below):  # noqa: PTH208
            _remove(below, entry, left, depth + 1)
    finally:
        os.close(below)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=folder)


def split_root(template: str, namespace: str) -> LocalFiles:
    """Return the files of a namespace below a template such as `/store/{namespace}`. What lies before the namespace must exist."""
    fixed: list[str] = []
    scope: list[str] = []
    for part in Path(template).parts[1:]:
        if scope or "{namespace}" in part:
            scope.append(part.replace("{namespace}", namespace))
        else:
            fixed.append(part)
    return LocalFiles("/" + "/".join(fixed), tuple(scope))
