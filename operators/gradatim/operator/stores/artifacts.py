"""The artifact store as the operator sees it: small untrusted documents below one namespace's root.

Opened by `stores.identity`. The operator reads what workloads wrote, writes below `_control/` only, and deletes an object's own folder.
A store that does not answer raises `DependencyError`: nothing is ever taken for absent because it could not be seen.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from gradatim.api.reasons import Reason
from gradatim.api.run import MAX_DOCUMENT_BYTES
from gradatim.operator.breaker import Guard, Refused
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork, credentials_refused
from gradatim.operator.stores.local import Exhausted, Missing, split_root
from gradatim.operator.stores.pace import Budget, Places
from gradatim.operator.stores.s3 import S3Files, S3Keys, is_refusal, open_s3

T = TypeVar("T")

CONTROL = "_control"
CALL_SECONDS = 20.0
DELETE_SECONDS = 120.0
MAX_LISTED = 20_000
MAX_DELETED = 20_000
_PROBE_BYTES = 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# `<kind>/<name>/<uid>`, and `_control/<run>`: nothing above an object is ever deleted.
_OBJECT_DEPTH, _CONTROL_DEPTH = 3, 2


class StoreFull(DependencyError):
    """There is no room left to write; what is deleted may make some."""


class Files(Protocol):
    """The blocking half: `local.LocalFiles` or `s3.S3Files`."""

    def read(self, parts: Sequence[str], limit: int) -> bytes | None:
        """Return a file's content, None where there is none."""
        ...

    def write(self, parts: Sequence[str], data: bytes) -> None:
        """Write a file."""
        ...

    def list(self, parts: Sequence[str], limit: int) -> list[str]:
        """Return the paths of the files below a folder."""
        ...

    def delete(self, parts: Sequence[str], limit: int) -> None:
        """Remove a file or a folder."""
        ...


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """One namespace's part of an artifact store. Paths are relative to its root, with slashes. Holds no open files."""

    root: str
    files: Files
    places: Places
    budget: Budget
    guard: Guard = field(default_factory=Guard)

    async def read(self, path: str, limit: int = MAX_DOCUMENT_BYTES) -> bytes | None:
        """Return a document's bytes; None where the store itself says that there is none.

        Raises `ResultRejected` for a link, a device or more than `limit` bytes, `DependencyError` where the store does not answer.
        """
        parts = split_path(path)
        await self.budget.take()
        return await self._run(lambda: self.files.read(parts, limit), CALL_SECONDS)

    async def write_control(self, path: str, data: bytes) -> None:
        """Write a document below `_control/`, the only place where the operator writes."""
        parts = split_path(path)
        if parts[0] != CONTROL or len(parts) < 2:
            raise WillNeverWork(Reason.INVALID_SPEC, f"the operator writes below {CONTROL}/ only")
        await self._run(lambda: self.files.write(parts, data), CALL_SECONDS)

    async def list(self, prefix: str) -> list[str]:
        """Return the paths of all files below a folder, sorted; links and what they lead to are left out."""
        parts = split_path(prefix.rstrip("/"))
        await self.budget.take()
        return await self._run(lambda: self.files.list(parts, MAX_LISTED), CALL_SECONDS)

    async def delete(self, prefix: str, *, within: str) -> None:
        """Remove what lies at `prefix`, which is the object folder `within` or lies in it; nothing there is fine.

        Bounded: raises `TryLater` while something is left. `within` is `<kind>/<name>/<uid>` or `_control/<run>`, never more.
        """
        parts, owner = split_path(prefix.rstrip("/")), split_path(within.rstrip("/"))
        depth = _CONTROL_DEPTH if owner[0] == CONTROL else _OBJECT_DEPTH
        if len(owner) < depth or parts[: len(owner)] != owner:
            raise WillNeverWork(Reason.INVALID_SPEC, "only what lies in an object's own folder may be deleted")
        await self._run(lambda: self.files.delete(parts, MAX_DELETED), DELETE_SECONDS)

    async def probe(self) -> None:
        """Write a nonce below `_control/probe/` and read it back. Raises `DependencyError` with what is wrong."""
        nonce = secrets.token_hex(16).encode()
        path = f"{CONTROL}/probe/operator"
        await self.write_control(path, nonce)
        if await self.read(path, _PROBE_BYTES) != nonce:
            raise DependencyError(
                "artifactStore",
                "the artifact store does not give back what was just written; check that all replicas see the same store",
                reason=Reason.STORE_NOT_READABLE,
            )

    async def _run(self, call: Callable[[], T], seconds: float) -> T:
        try:
            return await self.guard.run(lambda: self.places.run(call, seconds))
        except Refused as error:
            raise DependencyError("artifactStore", f"the artifact store {error}", delay=error.delay) from error
        except TimeoutError as error:
            raise DependencyError("artifactStore", "the artifact store did not answer in time") from error
        except Exhausted as error:
            raise TryLater(f"the artifact store holds too much for one pass: {error}", 1.0) from error
        except (OSError, ValueError) as error:
            raise _fault(error) from error


def _fault(error: OSError | ValueError) -> DependencyError:
    if isinstance(error, Missing):
        message = "the folder or bucket of the artifact store does not exist; is it mounted?"
        return DependencyError("artifactStore", message)
    if isinstance(error, PermissionError):
        message = "the operator may not use the artifact store; check the permissions of its folder"
        return DependencyError("artifactStore", message, reason=Reason.STORE_NOT_READABLE)
    if isinstance(error, OSError) and error.errno in _FULL:
        return StoreFull("artifactStore", "the disk of the artifact store is full: free space there")
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        message = "the artifact store is mounted read-only, and the operator writes below _control/ and deletes; mount it writable"
        return DependencyError("artifactStore", message, reason=Reason.STORE_NOT_READABLE)
    if is_refusal(str(error)):
        return credentials_refused("artifactStore", "the artifact store")
    return DependencyError("artifactStore", f"the artifact store cannot be used: {type(error).__name__}")


def split_path(path: str) -> tuple[str, ...]:
    """Return the names of a relative path. Raises `WillNeverWork` for one that is empty, absolute or leads upwards."""
    parts = tuple(path.split("/"))
    if any(part in {"", ".", ".."} or "\0" in part or "\\" in part for part in parts):
        raise WillNeverWork(Reason.INVALID_SPEC, f"{path[:200]!r} is not a path below the artifact store's root")
    return parts


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a store lies: the profile's root with `{namespace}` still in it, and how to reach it."""

    template: str
    endpoint: str | None = None
    region: str | None = None
    keys: S3Keys = field(default_factory=S3Keys)


def open_files(address: StoreAddress, namespace: str) -> Files:
    """Return the blocking half for a namespace. Makes no request. Raises `WillNeverWork` for a root that cannot keep namespaces apart."""
    if "{namespace}" not in address.template or ".." in address.template.split("/"):
        raise WillNeverWork(Reason.INVALID_SPEC, "artifactStore.root must contain {namespace} and no '..'")
    if address.template.startswith("file:///"):
        return split_root(address.template.removeprefix("file://"), namespace)
    if address.template.startswith("s3://"):
        root = address.template.replace("{namespace}", namespace)
        found: S3Files = open_s3(root, address.endpoint, address.region, address.keys)
        return found
    raise WillNeverWork(Reason.INVALID_SPEC, "artifactStore.root must start with file:/// or s3://")
