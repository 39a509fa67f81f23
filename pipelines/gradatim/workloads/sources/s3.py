"""Objects below a prefix of an S3-compatible store: the `s3` source.

Without a secretRef requests are anonymous: the machine's own identity is never lent to a user's address. A custom endpoint is checked like
any other address before the first request, and reached through a `Gateway` where the profile allows no private networks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from pyarrow import fs

from gradatim.api.common import ModelRef, S3Source
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources.base import Listing, SourceFile, hidden, listing, refused, unreachable
from gradatim.workloads.sources.gateway import Gateway
from gradatim.workloads.store import S3Keys, s3_filesystem

AMAZON = "s3.amazonaws.com"
_DENIED = (
    "ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "HTTP status 403", "HTTP status 401",
    "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
)  # fmt: skip
# The answer to HEAD has no body that could say what it is.
HEAD_REFUSED = re.compile(r"HTTP status 400\) during Head")
_MISSING = ("NO_SUCH_BUCKET", "NoSuchBucket", "does not exist")


def open_s3(
    source: str, place: S3Source | ModelRef, keys: S3Keys, *, allow_private: bool
) -> tuple[fs.S3FileSystem, Gateway | None]:
    """Return the file system of a store that a user has named, and the gateway on the way to it where there is one."""
    gateway = None if allow_private or not place.endpoint else Gateway(source, place.endpoint)
    proxy = None if gateway is None else gateway.proxy
    return s3_filesystem(place.endpoint, place.region, keys, anonymous=not keys.access, proxy=proxy), gateway


def list_s3(source: str, spec: S3Source, keys: S3Keys, limit: int, *, allow_private: bool) -> Listing:
    """List the objects below the prefix; a prefix that names one object lists just that."""
    bucket_path = spec.uri.removeprefix("s3://").rstrip("/")
    filesystem, gateway = open_s3(source, spec, keys, allow_private=allow_private)
    try:
        top = filesystem.get_file_info(bucket_path)
        if top.type == fs.FileType.File:
            infos, base = [top], bucket_path.rpartition("/")[0]
        else:
            infos = filesystem.get_file_info(fs.FileSelector(bucket_path, recursive=True, allow_not_found=False))
            base = bucket_path
    except (FileNotFoundError, NotADirectoryError):
        infos, base = [], bucket_path
    except OSError as error:
        raise _mapped(source, spec.uri, error, gateway) from error
    files = []
    for info in infos:
        path = info.path.removeprefix(base + "/")
        if info.type == fs.FileType.File and not hidden(path):
            version = f"stat:{info.size}:{info.mtime_ns}"
            files.append(
                SourceFile(source, path, info.size, version, limit, _opener(source, filesystem, info.path, gateway))
            )
    return listing(source, files)


BUFFER_BYTES = 1 << 20


def _opener(source: str, filesystem: fs.FileSystem, path: str, gateway: Gateway | None) -> Callable[[], BinaryIO]:
    def failed(error: OSError) -> WorkloadError:
        return _mapped(source, f"s3://{path}", error, gateway)

    def opened() -> BinaryIO:
        try:
            # Arrow's own file reads no lines.
            return io.BufferedReader(_Object(filesystem.open_input_file(path), failed), BUFFER_BYTES)
        except OSError as error:
            raise failed(error) from error

    return opened


class _Object(io.RawIOBase):
    """An object of the store whose failures are the source's, whenever they come."""

    def __init__(self, file: Any, failed: Callable[[OSError], WorkloadError]) -> None:
        self._file, self._failed = file, failed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._file.readinto(buffer))
        except OSError as error:
            raise self._failed(error) from error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


def _mapped(source: str, uri: str, error: OSError, gateway: Gateway | None) -> WorkloadError:
    if gateway is not None and gateway.trouble is not None:
        return gateway.trouble
    text = str(error)
    if any(mark in text for mark in _DENIED):
        expired = ": the session token has expired" if "ExpiredToken" in text else ""
        return refused(source, f"{uri}: access was denied{expired}")
    if HEAD_REFUSED.search(text):
        return refused(
            source, f"{uri}: the store refused the request: a session token may have expired, or the region is wrong"
        )
    if any(mark in text for mark in _MISSING) or isinstance(error, FileNotFoundError):
        return unreachable(source, f"{uri} does not exist", transient=False)
    return unreachable(source, f"{uri}: {text[:300]}")
