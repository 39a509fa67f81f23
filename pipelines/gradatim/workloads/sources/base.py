"""What a source yields: files with a location, a version and a bounded way to read them.

Made by the modules of this package, read by the table readers and the index workload. Content is read only through `SourceFile`, which
enforces the limits of the profile.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import pyarrow as pa

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError

EXAMPLES = 5
READ_BYTES = 1 << 20
_SMALLER = "split it, leave it out, or raise limits.maxDocumentBytes in the profile"


class FileRejected(Exception):
    """One file cannot be used; `reason` is a CamelCase code that is counted. The rest of the source goes on."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that the listing left out, with the reason's code."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source. `path` is relative, with slashes; `size` in bytes; `version` changes whenever the content does.

    `opener` gives a seekable binary stream. `exact` says that `version` is a digest of the content, not a modification time.
    """

    source: str
    path: str
    size: int
    version: str
    limit: int
    opener: Callable[[], BinaryIO] = field(repr=False, compare=False)
    exact: bool = False

    def open(self) -> BinaryIO:
        """Open the content for streaming and seeking; the caller bounds what it keeps."""
        return self.opener()

    def read(self, limit: int | None = None) -> bytes:
        """Return the whole content. Raises FileRejected(TooLarge) beyond `limit` or the profile's `maxDocumentBytes`."""
        bound = min(self.limit, limit) if limit is not None else self.limit
        if self.size > bound:
            raise FileRejected("TooLarge", f"{self.path} has {self.size} bytes, more than {bound}; {_SMALLER}")
        with self.open() as stream:
            data = stream.read(bound + 1)
        if len(data) > bound:
            raise FileRejected("TooLarge", f"{self.path} has more than {bound} bytes; {_SMALLER}")
        return data

    @property
    def location(self) -> str:
        """Where a person finds the file."""
        return f"{self.source}:{self.path}"


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one source, sorted by path, at one `revision` (commit, digest; empty where a source has none)."""

    source: str
    files: tuple[SourceFile, ...]
    revision: str = ""
    skipped: tuple[Skipped, ...] = ()


def listing(source: str, files: Iterable[SourceFile], revision: str = "", skipped: Iterable[Skipped] = ()) -> Listing:
    """Return a Listing in a fixed order, whatever order the store gave."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return Listing(source, ordered, revision, tuple(sorted(skipped, key=lambda skip: skip.path)))


def unreachable(source: str, what: str, *, transient: bool = True) -> WorkloadError:
    """Return the error of a source that does not answer (`transient`) or does not have what was asked for."""
    failure = Failure.DEPENDENCY if transient else Failure.USER
    return WorkloadError(failure, Reason.SOURCE_UNREACHABLE, f"source {source}: {what}")


def not_allowed(source: str, what: str) -> WorkloadError:
    """Return the error of a source that the profile forbids."""
    return WorkloadError(Failure.USER, Reason.SOURCE_NOT_ALLOWED, f"source {source}: {what}")


def refused(source: str, what: str) -> WorkloadError:
    """Return the error of credentials that a server did not take."""
    text = f"source {source}: {what}; check the Secret named by secretRef"
    return WorkloadError(Failure.USER, Reason.CREDENTIALS_REFUSED, text)


def hidden(path: str) -> bool:
    """Tell whether any part of a relative path starts with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def stream_of(data: bytes) -> BinaryIO:
    """Return bytes as a stream."""
    return io.BytesIO(data)


def stream_of_store(file: pa.NativeFile) -> BinaryIO:
    """Return a file of a store as a stream that reads lines: Arrow's own does not."""
    return io.BufferedReader(cast("io.RawIOBase", file), READ_BYTES)
