"""The artifact store as a workload sees it: files below the namespace's root, on a file system or an S3-compatible store.

Opened by `__main__` and handed to every workload in its `RunContext`. Paths are relative to the root, with slashes; nothing outside the
root can be named, not by `..` and not through a symbolic link. A local write appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from gradatim.api.run import StoreConfig
from gradatim.workloads.errors import NotFound, StoreError
from gradatim.workloads.secrets import SecretFolder

ACCESS_KEY = "access-key-id"
SECRET_KEY = "secret-access-key"  # noqa: S105 - the name of a key
SESSION_KEY = "session-token"
TEMPORARY = ".part~"
_CONNECT_SECONDS, _REQUEST_SECONDS, _ATTEMPTS = 10, 60, 5


@dataclass(frozen=True, slots=True)
class S3Keys:
    """Credentials of an S3-compatible store; empty ones mean the machine's own identity."""

    access: str | None = None
    secret: str | None = None
    session: str | None = None


def s3_filesystem(
    endpoint: str | None,
    region: str | None,
    keys: S3Keys,
    *,
    anonymous: bool = False,
    proxy: Mapping[str, str | int] | None = None,
) -> fs.S3FileSystem:
    """Return a file system for an S3-compatible store. Retries are bounded; buckets are never created."""
    options: dict[str, Any] = {
        "region": region or ("us-east-1" if endpoint else None),
        "connect_timeout": _CONNECT_SECONDS,
        "request_timeout": _REQUEST_SECONDS,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        "allow_bucket_creation": False,
        "allow_bucket_deletion": False,
        "anonymous": anonymous,
        "proxy_options": proxy,
    }
    if endpoint:
        parts = urlsplit(endpoint)
        options |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
    if keys.access:
        options |= {"access_key": keys.access, "secret_key": keys.secret, "session_token": keys.session}
    return fs.S3FileSystem(**{name: value for name, value in options.items() if value is not None})


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """Files below `root`. `filesystem` and `full(path)` serve Arrow's own readers and writers."""

    root: str
    filesystem: fs.FileSystem
    base: str
    local: bool

    @classmethod
    def open(cls, config: StoreConfig, secrets: SecretFolder) -> ArtifactStore:
        """Open the store of a config; S3 keys are read from the Secret `secretName`. Makes no request yet."""
        if config.root.startswith("file://"):
            base = config.root.removeprefix("file://")
            if ".." in PurePosixPath(base).parts:
                raise StoreError(f"store root {config.root} must not contain '..'")
            return cls(root=config.root, filesystem=fs.LocalFileSystem(), base=base.rstrip("/"), local=True)
        keys = S3Keys()
        if config.secret_name:
            name = config.secret_name
            session = secrets.read(name, SESSION_KEY) if secrets.has(name, SESSION_KEY) else None
            keys = S3Keys(secrets.read(name, ACCESS_KEY), secrets.read(name, SECRET_KEY), session)
        filesystem = s3_filesystem(config.endpoint, config.region, keys)
        return cls(
            root=config.root, filesystem=filesystem, base=config.root.removeprefix("s3://").rstrip("/"), local=False
        )

    def full(self, path: str) -> str:
        """Return the path as `filesystem` knows it. Raises StoreError for anything that leaves the root."""
        parts = path.split("/")
        if not path or "\0" in path or any(part in {"", ".", ".."} for part in parts):
            raise StoreError(f"{path!r} is not a path below the artifact store's root")
        found = f"{self.base}/{path}"
        if self.local:
            root = os.path.realpath(self.base)
            if os.path.commonpath([root, os.path.realpath(found)]) != root:
                raise StoreError(f"{path!r} leads out of the artifact store through a link")
        return found

    def uri(self, path: str) -> str:
        """Return the address of a path, as it stands in results."""
        self.full(path)
        return self.root + path

    def path_of(self, uri: str) -> str:
        """Return the relative path of an address of this store, without a final slash. Raises StoreError for any other."""
        if not uri.startswith(self.root):
            raise StoreError(f"{uri} lies outside the artifact store {self.root}")
        path = uri.removeprefix(self.root).rstrip("/")
        self.full(path)
        return path

    def exists(self, path: str) -> bool:
        """Tell whether a file lies at the path."""
        info = self.filesystem.get_file_info(self.full(path))
        return bool(info.type == fs.FileType.File)

    def size(self, path: str) -> int:
        """Return the size in bytes; raises NotFound."""
        info = self.filesystem.get_file_info(self.full(path))
        if info.type != fs.FileType.File:
            raise NotFound(f"{path} is not in the artifact store")
        return int(info.size)

    def modified(self, path: str) -> float:
        """Return when a file was written, in seconds since the epoch; raises NotFound."""
        info = self.filesystem.get_file_info(self.full(path))
        if info.type != fs.FileType.File:
            raise NotFound(f"{path} is not in the artifact store")
        return float(info.mtime_ns or 0) / 1e9

    def read(self, path: str, limit: int | None = None) -> bytes:
        """Return a file's content. Raises NotFound, and StoreError when it is larger than `limit` bytes."""
        with self.open_input(path) as stream:
            data: bytes = stream.read(None if limit is None else limit + 1)
        if limit is not None and len(data) > limit:
            raise StoreError(f"{path} is larger than {limit} bytes")
        return data

    def write(self, path: str, data: bytes) -> None:
        """Write a file so that readers see the old or the new content, never a part."""
        with self.open_output(path) as stream:
            stream.write(data)

    def open_input(self, path: str) -> pa.NativeFile:
        """Open a file for random reads; raises NotFound."""
        try:
            return self.filesystem.open_input_file(self.full(path))
        except FileNotFoundError as error:
            raise NotFound(f"{path} is not in the artifact store") from error

    @contextlib.contextmanager
    def open_output(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a file for writing. It appears when the block ends; on a file system an error leaves nothing behind.

        An S3 store offers no way to abandon an upload from Arrow: write a manifest last and trust only what it names.
        """
        target = self.full(path)
        if not self.local:
            with self.filesystem.open_output_stream(target) as stream:
                yield stream
            return
        folder, _, name = target.rpartition("/")
        Path(folder).mkdir(parents=True, exist_ok=True)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:12]}{TEMPORARY}"
        try:
            with self.filesystem.open_output_stream(temporary) as stream:
                yield stream
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def list(self, prefix: str) -> list[str]:
        """Return the relative paths of all files below a folder, sorted; empty when it does not exist. Links are not followed."""
        start = self.full(prefix.rstrip("/"))
        if self.local:
            found = [f"{folder}/{name}" for folder, _, names in os.walk(start) for name in names]
            files = [name for name in found if not Path(name).is_symlink() and not name.endswith(TEMPORARY)]
        else:
            selector = fs.FileSelector(start, recursive=True, allow_not_found=True)
            infos = self.filesystem.get_file_info(selector)
            files = [info.path for info in infos if info.type == fs.FileType.File]
        return sorted(name.removeprefix(self.base + "/") for name in files)

    def delete(self, prefix: str) -> None:
        """Remove a file, or a folder with everything below it; nothing there is no error."""
        target = self.full(prefix.rstrip("/"))
        kind = self.filesystem.get_file_info(target).type
        if kind == fs.FileType.File:
            self.filesystem.delete_file(target)
        elif kind == fs.FileType.Directory:
            self.filesystem.delete_dir(target)
