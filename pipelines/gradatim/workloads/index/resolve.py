"""First stage: lists every source, gives each file an identity by content, and says what the Run is about.

Nothing is parsed here. The listing is bound to the Run by `Sources.bind`, so that a later attempt works on the same files or refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gradatim.api.common import NamedSource
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.files import FileContent
from gradatim.workloads.index.identity import FileIdentity
from gradatim.workloads.index.pieces import Piece, pieces_of
from gradatim.workloads.index.tables import Rejection
from gradatim.workloads.sources import FileRejected, SourceFile, Sources

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file with its identity and its way in; or, of a Dataset's file, a `piece`."""

    file: SourceFile
    identity: FileIdentity
    of_dataset: bool = False
    piece: Piece | None = None

    def pieces(self) -> Iterator[ListedFile]:
        """Yield what is read at once: the file itself, or the pieces of a Dataset's. Raises WorkloadError for one that cannot be used."""
        if not self.of_dataset:
            yield self
            return
        for piece in pieces_of(self.file):
            content = f"{self.identity.content}#{piece.name}"
            yield replace(self, identity=replace(self.identity, content=content), piece=piece)

    def content(self, key: bytes) -> FileContent:
        """Read the file for a worker. Raises FileRejected, or WorkloadError Data/Stale when it changed since it was listed."""
        where = self.identity
        if self.piece is not None:
            return FileContent(where.source, where.path, key, self.piece.read(), where.metadata, self.piece.skipped)
        data = self.file.read()
        if not self.file.exact and _digest(data) != self.identity.content:
            text = f"{self.file.location} changed while the Run was on; request a new Run"
            raise WorkloadError(Failure.DATA, Reason.STALE, text)
        return FileContent(where.source, where.path, key, data, where.metadata)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The files of a Run in a fixed order, and those that could not even be read."""

    files: tuple[ListedFile, ...]
    rejections: tuple[Rejection, ...]


def resolve_sources(ctx: RunContext, named: list[NamedSource], sources: Sources) -> Resolved:
    """List and identify all files, sorted by source and path.

    A source without any file is an error, whatever the others hold: a folder that is not mounted must not empty a part of the index.
    """
    files: list[ListedFile] = []
    rejections: list[Rejection] = []
    for entry in sorted(named, key=lambda item: item.name):
        metadata = tuple(sorted(entry.metadata.items()))
        listed = sources.list(entry.name, entry.source)
        rejections += [_skipped(entry.name, skip.path, skip.reason) for skip in listed.skipped]
        for file in listed.files:
            ctx.check_stop()
            try:
                content = file.version if file.exact else _hash_file(file)
            except FileRejected as error:
                rejections.append(Rejection(entry.name, file.path, "resolve", error.reason, str(error)))
                continue
            identity = FileIdentity(entry.name, file.path, content, metadata)
            files.append(ListedFile(file, identity, of_dataset=entry.source.dataset_ref is not None))
            ctx.advance()
    sources.bind()
    return Resolved(
        tuple(sorted(files, key=lambda item: (item.identity.source, item.identity.path))), tuple(rejections)
    )


def _skipped(source: str, path: str, reason: str) -> Rejection:
    return Rejection(source, path, "resolve", reason, "left out by the listing of the source")


def _hash_file(file: SourceFile) -> str:
    if file.size > file.limit:
        text = f"has {file.size} bytes, more than {file.limit}; split it, leave it out, or raise limits.maxDocumentBytes in the profile"
        raise FileRejected("TooLarge", text)
    digest = hashlib.sha256()
    with file.open() as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return "sha256:" + digest.hexdigest()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
