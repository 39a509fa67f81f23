"""Lists sources for a Run: picks the module, checks limits and secrets, and binds what was found to the Run.

The first attempt writes the listing to `resolved.json`; later attempts take the same commit and the same downloads from there, and refuse
to go on when a file changed meanwhile. Used by both workloads; the only module here that knows `RunContext`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from gradatim.api.common import GitSource, HttpSource, HuggingFaceSource, S3Source, SecretRef, Source
from gradatim.api.reasons import Reason
from gradatim.api.run import canonical_digest
from gradatim.api.runstatus import Failure
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import NotFound, WorkloadError
from gradatim.workloads.sources.base import (
    Listing,
    Skipped,
    SourceFile,
    listing,
    not_allowed,
    stream_of_store,
    unreachable,
)
from gradatim.workloads.sources.claim import list_claim
from gradatim.workloads.sources.dataset_ref import list_dataset
from gradatim.workloads.sources.guard import check_url
from gradatim.workloads.sources.path import list_path
from gradatim.workloads.store import ACCESS_KEY, SECRET_KEY, SESSION_KEY, S3Keys

log = logging.getLogger("gradatim.workloads")
DEFAULT_HUB = "https://huggingface.co"
RESOLVED_BYTES = 1 << 28
GIT_KEYS = ("username", "password", "ssh-privatekey", "known_hosts")


@dataclass(frozen=True, slots=True)
class Bound:
    """What an earlier attempt of this Run resolved for a source."""

    revision: str
    versions: dict[str, str]
    downloads: dict[str, str]


class Sources:
    """Opens the sources of one Run. Use as a context manager: downloads live as long as the block."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self._limits = ctx.config.limits
        self._folder = tempfile.TemporaryDirectory(prefix="gradatim-sources-", ignore_cleanup_errors=True)
        self._scratch = Path(self._folder.name)
        self._bound = _load(ctx)
        self._fresh: dict[str, dict[str, Any]] = {}
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def list(self, name: str, source: Source, *, empty: bool = False) -> Listing:
        """List the files of `source`, sorted by path; `name` is how messages and rows call it.

        Raises WorkloadError: SourceEmpty when nothing is found (unless `empty`), SourceUnreachable, CredentialsRefused, SourceNotAllowed,
        SecretRefused, or Stale when a file differs from what this Run resolved first.
        """
        self._ctx.check_stop()
        bound = self._bound.get(name)
        found = self._open(name, source, bound)
        if bound is not None:
            _compare(found, bound)
        self._bytes += sum(file.size for file in found.files)
        if self._bytes > self._limits.max_source_bytes:
            text = f"the sources hold more than {self._limits.max_source_bytes} bytes (limits.maxSourceBytes)"
            raise not_allowed(name, text)
        if not found.files and not empty:
            text = f"source {name}: {describe(source)} holds no files to read; check the address and the patterns"
            raise WorkloadError(Failure.DATA, Reason.SOURCE_EMPTY, text)
        self._fresh.setdefault(name, {}).update(_document(found, source))
        return found

    def check_stop(self) -> None:
        """Raise StopRequested when the Run shall end."""
        self._ctx.check_stop()

    def bind(self) -> str:
        """Write `resolved.json` unless an earlier attempt did; return the digest over all listings so far."""
        path = _path(self._ctx)
        if not self._ctx.store.exists(path):
            document = {"configDigest": self._ctx.config.digest, "sources": self._fresh}
            self._ctx.store.write(path, json.dumps(document, ensure_ascii=False, sort_keys=True).encode())
        identity = {
            name: [entry["revision"], [[f["path"], f["version"]] for f in entry["files"]]]
            for name, entry in self._fresh.items()
        }
        return canonical_digest(identity)

    def _open(self, name: str, source: Source, bound: Bound | None) -> Listing:
        limits, limit = self._limits, self._limits.max_document_bytes
        if source.path is not None:
            return list_path(name, source.path, limits.allowed_source_roots, limit)
        if source.persistent_volume_claim is not None:
            return list_claim(name, source.persistent_volume_claim, limit)
        if source.dataset_ref is not None:
            return list_dataset(name, source.dataset_ref.name, self._ctx.config.datasets, self._ctx.store, limit)
        if source.git is not None:
            return self._git(name, source.git, bound)
        if source.http is not None:
            return self._http(name, source.http, bound)
        if source.s3 is not None:
            return self._s3(name, source.s3)
        if source.hugging_face is not None:
            return self._hub(name, source.hugging_face)
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, f"source {name} has no member")

    def _git(self, name: str, spec: GitSource, bound: Bound | None) -> Listing:
        from gradatim.workloads.sources.git import GitAccess, list_git

        end = check_url(name, spec.url, allow_private=self._limits.allow_private_networks)
        credentials: dict[str, str] = {}
        if spec.secret_ref is not None:
            for key in GIT_KEYS:
                if self._ctx.has_secret_key(spec.secret_ref.name, key):
                    credentials[key] = self._ctx.secret(spec.secret_ref.name, key, end.authority)
            if "password" in credentials and "username" not in credentials:
                credentials["username"] = "git"
            if not credentials:
                raise _no_keys(spec.secret_ref, GIT_KEYS)
        access = GitAccess(
            end,
            self._scratch,
            credentials,
            self._limits.max_source_bytes,
            self._limits.max_document_bytes,
            self._ctx.check_stop,
        )
        return list_git(name, spec, access, bound.revision if bound is not None else None)

    def _http(self, name: str, spec: HttpSource, bound: Bound | None) -> Listing:
        from gradatim.workloads.sources.http import HttpAccess, HttpLimits, download

        most = min(spec.max_bytes, self._limits.max_document_bytes)
        access = HttpAccess(
            self._scratch,
            HttpLimits(most),
            self._limits.allow_private_networks,
            lambda host: self._authorization(spec.secret_ref, host),
            self._ctx.check_stop,
        )
        if bound is not None:
            return listing(name, [self._copy(name, path, digest) for path, digest in bound.downloads.items()])
        files, total = [], 0
        for url in sorted(set(spec.urls)):
            found = download(name, url, access)
            total += found.size
            if total > self._limits.max_source_bytes:
                raise not_allowed(name, f"the documents hold more than {self._limits.max_source_bytes} bytes")
            self._ctx.store.write(self._download_path(found.sha256), found.file.read_bytes())
            found.file.unlink()
            known = self._fresh.setdefault(name, {}).setdefault("downloads", {})
            path = f"{found.sha256[:8]}-{found.path}" if found.path in known else found.path
            known[path] = found.sha256
            files.append(self._copy(name, path, found.sha256))
        return listing(name, files)

    def _copy(self, name: str, path: str, sha256: str) -> SourceFile:
        """A download is kept with the Run, so that every attempt reads the same bytes."""
        kept = self._download_path(sha256)

        def opened() -> BinaryIO:
            return stream_of_store(self._ctx.store.open_input(kept))

        try:
            size = self._ctx.store.size(kept)
        except NotFound as error:
            raise unreachable(name, f"the Run's copy of {path} is gone; request a new Run", transient=False) from error
        limit = self._limits.max_document_bytes
        return SourceFile(name, path, size, f"sha256:{sha256}", limit, opened, exact=True)

    def _download_path(self, sha256: str) -> str:
        return f"{self._ctx.config.run_path}/downloads/{sha256}"

    def _authorization(self, ref: SecretRef | None, host: str) -> str:
        from gradatim.workloads.sources.http import basic

        if ref is None:
            return ""
        if self._ctx.has_secret_key(ref.name, "token"):
            return "Bearer " + self._ctx.secret(ref.name, "token", host)
        if self._ctx.has_secret_key(ref.name, "password"):
            return basic(self._ctx.secret(ref.name, "username", host), self._ctx.secret(ref.name, "password", host))
        raise _no_keys(ref, ("token", "username and password"))

    def _s3(self, name: str, spec: S3Source) -> Listing:
        from gradatim.workloads.sources.s3 import AMAZON, list_s3

        host = AMAZON
        if spec.endpoint:
            host = check_url(name, spec.endpoint, allow_private=self._limits.allow_private_networks).authority
        keys = s3_keys(self._ctx, spec.secret_ref, host)
        private = self._limits.allow_private_networks
        return list_s3(name, spec, keys, self._limits.max_document_bytes, allow_private=private)

    def _hub(self, name: str, spec: HuggingFaceSource) -> Listing:
        from gradatim.workloads.sources.hugging_face import HubAccess, list_hub

        endpoint, host = hub_address()
        token = ""
        if spec.secret_ref is not None:
            token = self._ctx.secret(spec.secret_ref.name, "token", host)
        return list_hub(name, spec, HubAccess(self._scratch, endpoint, token, self._limits.max_document_bytes))


def s3_keys(ctx: RunContext, ref: SecretRef | None, host: str) -> S3Keys:
    """Return the keys of a Secret that may be sent to this store; empty without one. Raises WorkloadError User/SecretRefused."""
    if ref is None:
        return S3Keys()
    session = ctx.secret(ref.name, SESSION_KEY, host) if ctx.has_secret_key(ref.name, SESSION_KEY) else None
    return S3Keys(ctx.secret(ref.name, ACCESS_KEY, host), ctx.secret(ref.name, SECRET_KEY, host), session)


def hub_address() -> tuple[str, str]:
    """Return the hub's address and its host."""
    endpoint = os.environ.get("HF_ENDPOINT", DEFAULT_HUB).rstrip("/")
    return endpoint, endpoint.partition("://")[2].partition("/")[0]


def list_documents(name: str, source: Source, sources: Sources) -> Iterator[SourceFile]:
    """Yield the files of one source, sorted by path, honouring stop requests between them."""
    for file in sources.list(name, source).files:
        sources.check_stop()
        yield file


def describe(source: Source) -> str:
    """Return a short text that tells a person which source is meant."""
    value = getattr(source, _ATTRIBUTES[source.member])
    for field in ("uri", "url", "repo", "claim_name", "name"):
        if hasattr(value, field):
            return f"{source.member} {getattr(value, field)}"
    return (
        f"{source.member} {', '.join(value.urls[:3])}" if isinstance(value, HttpSource) else f"{source.member} {value}"
    )


_ATTRIBUTES = {
    "persistentVolumeClaim": "persistent_volume_claim", "path": "path", "s3": "s3", "git": "git", "http": "http",
    "huggingFace": "hugging_face", "datasetRef": "dataset_ref",
}  # fmt: skip


def _no_keys(ref: SecretRef, keys: tuple[str, ...]) -> WorkloadError:
    text = f"secret {ref.name} carries none of the keys {', '.join(keys)}"
    return WorkloadError(Failure.USER, Reason.SECRET_REFUSED, text)


def _path(ctx: RunContext) -> str:
    return f"{ctx.config.run_path}/resolved.json"


def _document(found: Listing, source: Source) -> dict[str, Any]:
    return {
        "member": source.member,
        "revision": found.revision,
        "files": [{"path": file.path, "size": file.size, "version": file.version} for file in found.files],
        "skipped": [{"path": skip.path, "reason": skip.reason} for skip in found.skipped],
    }


def _load(ctx: RunContext) -> dict[str, Bound]:
    try:
        document = json.loads(ctx.store.read(_path(ctx), RESOLVED_BYTES))
        if document["configDigest"] != ctx.config.digest:
            return {}
        return {
            name: Bound(
                str(entry["revision"]),
                {str(file["path"]): str(file["version"]) for file in entry["files"]},
                {str(path): str(digest) for path, digest in entry.get("downloads", {}).items()},
            )
            for name, entry in document["sources"].items()
        }
    except NotFound:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("resolving again: resolved.json is not readable (%s)", type(error).__name__)
        return {}


def _compare(found: Listing, bound: Bound) -> None:
    versions = {file.path: file.version for file in found.files}
    changed = sorted(
        path for path in versions.keys() | bound.versions.keys() if versions.get(path) != bound.versions.get(path)
    )
    if changed or found.revision != bound.revision:
        what = f"{changed[0]} and {len(changed) - 1} others" if len(changed) > 1 else (changed or [found.revision])[0]
        text = f"source {found.source} changed while the Run was on ({what}); request a new Run"
        raise WorkloadError(Failure.DATA, Reason.STALE, text)


def skipped_reasons(skipped: tuple[Skipped, ...]) -> dict[str, list[str]]:
    """Group skipped files by reason."""
    grouped: dict[str, list[str]] = {}
    for skip in skipped:
        grouped.setdefault(skip.reason, []).append(skip.path)
    return grouped
