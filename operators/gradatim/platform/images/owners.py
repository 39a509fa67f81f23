"""Which package a file of a layer belongs to, for the list of sizes.

Called by `build` while a layer is written. Reads only what installers left in the tree: Debian's file lists and the RECORD of each
Python distribution.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

OTHER = "(other)"


def of_debian(root: Path) -> Callable[[str], str]:
    """Return the Debian package of a path in a root file system."""
    table: dict[str, str] = {}
    for listed in sorted((root / "var/lib/dpkg/info").glob("*.list")):
        package = listed.stem.split(":", 1)[0]
        for line in listed.read_text().splitlines():
            table[line.removeprefix("/").removeprefix("usr/")] = package
    # /lib and /bin are links to their namesakes below /usr, but packages still list files under either name.
    return lambda path: table.get(path.removeprefix("usr/"), OTHER)


def of_site(site: Path, prefix: str) -> Callable[[str], str]:
    """Return the distribution of a path in the image; `prefix` is where `site` lies there."""
    table = from_records(
        (folder.name.removesuffix(".dist-info").rsplit("-", 1)[0], (folder / "RECORD").read_text())
        for folder in sorted(site.glob("*.dist-info"))
        if (folder / "RECORD").is_file()
    )
    start = f"{prefix.lstrip('/')}/"
    return lambda path: table.get(source_of(path.removeprefix(start)), OTHER)


def from_records(records: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the distribution by path, from pairs of its name and its list of files."""
    return {row[0]: name.replace("_", "-") for name, text in records for row in csv.reader(text.splitlines()) if row}


def source_of(path: str) -> str:
    """Return the source that bytecode was compiled from; any other path as it is."""
    parts = PurePosixPath(path)
    if parts.suffix != ".pyc" or parts.parent.name != "__pycache__":
        return path
    return str(parts.parent.parent / f"{parts.name.split('.', 1)[0]}.py")
