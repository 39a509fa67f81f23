"""Files below one prefix of an S3-compatible bucket, through Arrow's own client.

The blocking half of `artifacts` for `s3://` roots; every function runs in a thread. Arrow is imported here only, so that an operator with
local stores does not carry it. Buckets are neither created nor deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gradatim.operator.stores.documents import ResultRejected
from gradatim.operator.stores.local import Exhausted, Missing

_CONNECT_SECONDS, _REQUEST_SECONDS, _ATTEMPTS = 5, 15, 2


@dataclass(frozen=True, slots=True)
class S3Keys:
    """Credentials of an S3-compatible store; empty ones mean the machine's own identity."""

    access: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class S3Files:
    """Objects below `base`, which is a bucket and a namespace's prefix in it."""

    filesystem: Any
    base: str

    def read(self, parts: Sequence[str], limit: int) -> bytes | None:
        """Return an object's content, None where there is none. Raises `ResultRejected` for more than `limit` bytes."""
        try:
            with self.filesystem.open_input_stream(self._path(parts)) as stream:
                data: bytes = stream.read(limit + 1)
        except FileNotFoundError:
            self._need_bucket()
            return None
        if len(data) > limit:
            raise ResultRejected(f"{'/'.join(parts)} is larger than {limit} bytes")
        return data

    def write(self, parts: Sequence[str], data: bytes) -> None:
        """Write an object."""
        with self.filesystem.open_output_stream(self._path(parts)) as stream:
            stream.write(data)

    def list(self, parts: Sequence[str], limit: int) -> list[str]:
        """Return the paths of all objects below a prefix. Raises `Exhausted` beyond `limit` of them."""
        from pyarrow import fs

        infos = self.filesystem.get_file_info(fs.FileSelector(self._path(parts), recursive=True, allow_not_found=True))
        if not infos:
            self._need_bucket()
        found = [info.path.removeprefix(self.base + "/") for info in infos if info.type == fs.FileType.File]
        if len(found) > limit:
            raise Exhausted(f"more than {limit} files")
        return sorted(found)

    def delete(self, parts: Sequence[str], limit: int) -> None:  # noqa: ARG002 - Arrow deletes a prefix as a whole
        """Remove an object or everything below a prefix; nothing there is fine."""
        from pyarrow import fs

        path = self._path(parts)
        kind = self.filesystem.get_file_info(path).type
        if kind == fs.FileType.NotFound:
            self._need_bucket()
            return
        try:
            self.filesystem.delete_file(path) if kind == fs.FileType.File else self.filesystem.delete_dir(path)
        except OSError:
            # Having deleted, Arrow marks the folder above as empty, where the operator's credentials need not let it write.
            if self.filesystem.get_file_info(path).type != fs.FileType.NotFound:
                raise

    def _path(self, parts: Sequence[str]) -> str:
        return "/".join((self.base, *parts))

    def _need_bucket(self) -> None:
        """Raise `Missing` where the bucket itself is not there: S3 answers 404 for both."""
        from pyarrow import fs

        bucket = self.base.split("/", 1)[0]
        if self.filesystem.get_file_info(bucket).type != fs.FileType.Directory:
            raise Missing(f"bucket {bucket} does not exist")


def open_s3(root: str, endpoint: str | None, region: str | None, keys: S3Keys) -> S3Files:
    """Return the files of a root such as `s3://bucket/team`. Makes no request."""
    from pyarrow import fs

    options: dict[str, Any] = {
        "region": region or ("us-east-1" if endpoint else None),
        "connect_timeout": _CONNECT_SECONDS,
        "request_timeout": _REQUEST_SECONDS,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        "access_key": keys.access,
        "secret_key": keys.secret if keys.access else None,
        "session_token": keys.session if keys.access else None,
        "background_writes": False,
    }
    if endpoint:
        parts = urlsplit(endpoint)
        options |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
    found = {name: value for name, value in options.items() if value is not None}
    return S3Files(fs.S3FileSystem(**found), root.removeprefix("s3://").rstrip("/"))


def is_refusal(text: str) -> bool:
    """Tell whether the text of Arrow's error says that the credentials were refused."""
    marks = (
        "ACCESS_DENIED",
        "INVALID_ACCESS_KEY_ID",
        "SIGNATURE_DOES_NOT_MATCH",
        "InvalidAccessKeyId",
        "HTTP status 403",
    )
    return any(mark in text for mark in marks)
