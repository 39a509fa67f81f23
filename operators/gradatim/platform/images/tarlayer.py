"""Write one image layer as a tar archive that depends on nothing but names, modes and contents.

Called by `build` for every layer. Sorted names, one moment for every file, everything owned by root, no setuid bit, no device: two
trees with the same files give the same digest. Must not change the tree, whose files uv may have linked from its cache.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from typing_extensions import Buffer

from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.oci import EPOCH

_COPY_BYTES = 1 << 20
_READABLE = 0o444


@dataclass(frozen=True)
class Tree:
    """A folder and where its content lies in the image.

    `open_to_all` makes every file readable and every folder and program usable by the image's user: an environment which was made
    under a narrow umask would not work. Elsewhere modes stay as they are, but for setuid, setgid and writing by others.
    """

    root: Path
    prefix: str = ""
    left_out: Callable[[str], bool] = lambda _: False
    open_to_all: bool = False


@dataclass(frozen=True)
class Entry:
    """One file, folder or link: `name` is its path in the image, without leading slash."""

    name: str
    path: Path
    info: os.stat_result
    open_to_all: bool


@dataclass(frozen=True)
class Written:
    """What became of a layer."""

    digest: str
    size: int
    parts: dict[str, int]


def entries(trees: Iterable[Tree]) -> list[Entry]:
    """Return everything in the trees, sorted by name, parents first. Raises ImageError when two trees hold the same file."""
    found: dict[str, Entry] = {}
    for tree in trees:
        for parent in _parents(tree.prefix):
            found.setdefault(parent, Entry(parent, tree.root, tree.root.lstat(), True))
        for entry in _walk(tree):
            known = found.get(entry.name)
            if known and not (stat.S_ISDIR(known.info.st_mode) and stat.S_ISDIR(entry.info.st_mode)):
                raise ImageError(f"{entry.name} would be in one layer twice: two packages install the same file")
            found[entry.name] = entry
    return [found[name] for name in sorted(found, key=lambda name: name.split("/"))]


def _parents(prefix: str) -> Iterator[str]:
    parts = prefix.split("/") if prefix else []
    return ("/".join(parts[: end + 1]) for end in range(len(parts)))


def _walk(tree: Tree) -> Iterator[Entry]:
    pending = [tree.root]
    while pending:
        with os.scandir(pending.pop()) as children:
            for child in children:
                path = Path(child.path)
                relative = path.relative_to(tree.root).as_posix()
                info = child.stat(follow_symlinks=False)
                if tree.left_out(relative) or not _carried(info.st_mode):
                    continue
                name = f"{tree.prefix}/{relative}" if tree.prefix else relative
                yield Entry(name, path, info, tree.open_to_all)
                if stat.S_ISDIR(info.st_mode):
                    pending.append(path)


def _carried(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def write(items: Iterable[Entry], out: IO[bytes], owner: Callable[[str], str]) -> Written:
    """Write the layer. `owner` names the package that a path belongs to, for the list of sizes."""
    hashing = Outlet(out)
    parts: Counter[str] = Counter()
    first_of: dict[tuple[int, int], str] = {}
    with archive_of(hashing) as archive:
        for item in items:
            member = _member(item, first_of)
            if member.isreg():
                with item.path.open("rb") as content:
                    archive.addfile(member, content)
                parts[owner(item.name)] += member.size
            else:
                archive.addfile(member)
    return Written(f"sha256:{hashing.total.hexdigest()}", hashing.size, dict(sorted(parts.items())))


def _member(item: Entry, first_of: dict[tuple[int, int], str]) -> tarfile.TarInfo:
    member = tarfile.TarInfo(item.name)
    member.mtime = EPOCH
    member.mode = mode(item.info.st_mode, open_to_all=item.open_to_all)
    if stat.S_ISDIR(item.info.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(item.info.st_mode):
        member.type, member.mode = tarfile.SYMTYPE, 0o777
        member.linkname = str(item.path.readlink())
    else:
        key = (item.info.st_dev, item.info.st_ino)
        if first := first_of.get(key):
            member.type, member.linkname = tarfile.LNKTYPE, first
        else:
            member.size = item.info.st_size
            if item.info.st_nlink > 1:
                first_of[key] = item.name
    return member


def mode(actual: int, *, open_to_all: bool) -> int:
    """Return the permission bits that go into an image."""
    bits = stat.S_IMODE(actual)
    folder = stat.S_ISDIR(actual)
    if folder and bits & stat.S_ISVTX:
        return bits & ~(stat.S_ISUID | stat.S_ISGID)
    bits &= 0o755
    if not open_to_all:
        return bits
    return bits | _READABLE | (0o111 if folder or bits & stat.S_IXUSR else 0)


class Outlet(io.RawIOBase):
    """Passes bytes on, to a pipe too, and keeps their number and digest."""

    def __init__(self, out: IO[bytes]) -> None:
        super().__init__()
        self._out = out
        self.total = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Buffer, /) -> int:
        self.total.update(data)
        self.size += memoryview(data).nbytes
        self._out.write(data)
        return memoryview(data).nbytes


def archive_of(outlet: Outlet) -> tarfile.TarFile:
    """Open an archive for writing. tarfile's own mode for pipes cuts large files into 10 KiB pieces, at many times the cost."""
    return tarfile.TarFile(fileobj=outlet, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_COPY_BYTES)
