"""Second stage: document rows for every file, carried over from the previous version or parsed, in checkpointed parts.

A part covers some tens of files, or one piece of a Dataset's file; its name is a digest of what goes in, so that another attempt or Run finds it.
Parts hold rows in the order of the listing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gradatim.workloads.index.build import Build
from gradatim.workloads.index.files import FileContent, Read
from gradatim.workloads.index.identity import part_name
from gradatim.workloads.index.pieces import damaged
from gradatim.workloads.index.previous import Previous
from gradatim.workloads.index.resolve import ListedFile
from gradatim.workloads.index.tables import (
    DOCUMENTS,
    REJECTED,
    Rejection,
    rejections_from_table,
    rejections_to_table,
)
from gradatim.workloads.sources import FileRejected

PART_BYTES = 8 * 1024 * 1024
PART_FILES = 256


@dataclass(frozen=True, slots=True)
class FilePart:
    """Files that are parsed together; `keys` belong to them in order."""

    files: tuple[ListedFile, ...]
    keys: tuple[bytes, ...]

    def name(self, previous: Previous) -> str:
        """Return the checkpoint's name, without folder. It covers who lends documents, because their chunks are looked for there."""
        lender = previous.digest if any(previous.has_file(key) for key in self.keys) else ""
        return part_name("documents", [[key.hex() for key in self.keys], lender, DOCUMENTS.names, REJECTED.names])


@dataclass(frozen=True, slots=True)
class Parsed:
    """The checkpoints with all documents, in order, and what was refused."""

    parts: tuple[str, ...]
    documents: int
    rejections: tuple[Rejection, ...]


def file_parts(files: Sequence[ListedFile], parse_digest: str) -> Iterator[FilePart]:
    """Cut the listing into parts by bytes and number."""
    held: list[ListedFile] = []
    size = 0
    for file in files:
        # A piece is a part of its own: what its rows come to is not known by its size.
        more = file.file.size if file.piece is None else PART_BYTES
        if held and (size + more > PART_BYTES or len(held) >= PART_FILES):
            yield _part(held, parse_digest)
            held, size = [], 0
        held.append(file)
        size += more
    if held:
        yield _part(held, parse_digest)


def _part(files: list[ListedFile], parse_digest: str) -> FilePart:
    return FilePart(tuple(files), tuple(file.identity.key(parse_digest) for file in files))


def parse_files(build: Build, files: Sequence[ListedFile], unread: Sequence[Rejection]) -> Parsed:
    """Write all parts that nobody has written yet; return them all. `unread` are the files that could not even be listed."""
    parts: list[str] = []
    rejections = list(unread)
    documents = 0
    for part in file_parts(files, build.digests.parse):
        build.ctx.check_stop()
        name = part.name(build.previous)
        path, refused = build.checkpoint(name), build.checkpoint(f"rejected-{name}")
        rejected, table = build.read_table(refused, REJECTED), build.read_table(path, DOCUMENTS)
        if rejected is None or table is None:
            table, found = _parse_part(build, part)
            rejected = rejections_to_table(found)
            build.write_table(refused, rejected)
            build.write_table(path, table)
        else:
            build.ctx.advance(len(part.files))
        rejections += rejections_from_table(rejected)
        documents += len(table)
        parts.append(path)
    return Parsed(tuple(parts), documents, tuple(rejections))


def _parse_part(build: Build, part: FilePart) -> tuple[pa.Table, list[Rejection]]:
    carried = {key for key in part.keys if build.previous.has_file(key)}
    rejections: list[Rejection] = []
    fresh = [(file, key) for file, key in zip(part.files, part.keys, strict=True) if key not in carried]
    rows: list[dict[str, Any]] = []
    read_files = 0
    for read in build.executor.map("read", _contents(build, fresh, rejections)):
        found: Read = read
        _check_whole(fresh, found)
        rows += found.rows
        rejections += found.rejections
        read_files += 1
        build.ctx.advance()
    build.ctx.advance(len(part.files) - read_files)
    tables = [build.previous.documents_of([key for key in part.keys if key in carried])] if carried else []
    tables.append(pa.Table.from_pylist(rows, schema=DOCUMENTS))
    table = pa.concat_tables(tables)
    order = {key: position for position, key in enumerate(part.keys)}
    ranks = [order[key] for key in table.column("file").to_pylist()]
    # Stable: the documents of one file keep their order.
    positions = sorted(range(len(ranks)), key=lambda position: ranks[position])
    return table.take(pa.array(positions, pa.int64())), rejections


def _check_whole(fresh: list[tuple[ListedFile, bytes]], found: Read) -> None:
    """Raise WorkloadError Data/DataInvalid where a piece of a Dataset's file was refused as a whole: single rows of it may be."""
    pieces = {key: file.file for file, key in fresh if file.piece is not None}
    for item in found.rejections:
        if item.file in pieces and item.row is None and item.document is None:
            raise damaged(pieces[item.file], item.message)


def _contents(
    build: Build, fresh: list[tuple[ListedFile, bytes]], rejections: list[Rejection]
) -> Iterator[FileContent]:
    for file, key in fresh:
        build.ctx.check_stop()
        try:
            yield file.content(key)
        except FileRejected as error:
            rejections.append(Rejection(file.identity.source, file.identity.path, "parse", error.reason, str(error)))
