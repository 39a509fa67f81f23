"""Documents behind URLs: the `http` source.

Each body is downloaded once, bounded in bytes and time, when the source is resolved; later reads take the copy. Redirects stay on the same
host. Every connection goes to an address that was checked before, whatever the name says by then.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources.base import not_allowed, refused, unreachable
from gradatim.workloads.sources.guard import PORTS, Endpoint, check_url

MAX_REDIRECTS = 5
TRIES = 3
_EXTENSIONS = {
    "text/html": ".html", "application/xhtml+xml": ".html", "text/markdown": ".md", "text/plain": ".txt", "text/csv": ".csv",
    "application/pdf": ".pdf", "application/json": ".json", "application/x-ndjson": ".jsonl", "application/jsonl": ".jsonl",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.apache.parquet": ".parquet",
}  # fmt: skip


_KNOWN = frozenset({*_EXTENSIONS.values(), ".htm", ".markdown", ".tsv", ".ndjson"})


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one download, in bytes and seconds."""

    max_bytes: int
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    total_seconds: float = 600.0
    retry_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Download:
    """One body in a local file. `path` is how the Run names it."""

    url: str
    path: str
    file: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """What a download needs besides the URL. `authorization` gives the header's value for a host, or an empty text."""

    scratch: Path
    limits: HttpLimits
    allow_private: bool
    authorization: Callable[[str], str] = field(default=lambda _host: "")
    check_stop: Callable[[], None] = field(default=lambda: None)


def download(source: str, url: str, access: HttpAccess) -> Download:
    """Fetch one URL into the scratch folder, trying again while the server is busy.

    Raises WorkloadError: SourceUnreachable (Dependency for 5xx, 429 and dead connections, User for 404 and the like), CredentialsRefused
    for 401 and 403, SourceNotAllowed for private addresses, foreign redirects and bodies beyond the limit.
    """
    started = time.monotonic()
    for number in range(TRIES):
        try:
            return _download(source, url, access, started + access.limits.total_seconds)
        except _BusyError as busy:
            if number == TRIES - 1 or time.monotonic() - started > access.limits.total_seconds:
                raise unreachable(source, f"{url}: {busy}") from busy
            access.check_stop()
            time.sleep(access.limits.retry_seconds * 2**number)
    raise unreachable(source, f"{url} did not answer")


class _BusyError(Exception):
    """Another try may help."""


def _download(source: str, url: str, access: HttpAccess, until: float) -> Download:
    place = url
    for _ in range(MAX_REDIRECTS + 1):
        end = check_url(source, place, allow_private=access.allow_private)
        try:
            found = _request(source, url, place, end, (access, until))
        except httpx.TransportError as error:
            raise _BusyError(f"{type(error).__name__}: {error}") from error
        if isinstance(found, Download):
            return found
        place = _redirect(source, place, found)
    raise unreachable(source, f"{url} redirects more than {MAX_REDIRECTS} times", transient=False)


def _request(source: str, url: str, place: str, end: Endpoint, bounds: tuple[HttpAccess, float]) -> Download | str:
    """Make one request; return the body, or where the server redirects to."""
    access, until = bounds
    limits = access.limits
    headers = {"Host": end.authority, "User-Agent": "gradatim", "Accept-Encoding": "identity"}
    value = access.authorization(end.authority)
    if value:
        headers["Authorization"] = value
    target = httpx.URL(place).copy_with(host=end.address, port=end.port)
    timeout = httpx.Timeout(limits.read_seconds, connect=limits.connect_seconds)
    with (
        httpx.Client(trust_env=False, timeout=timeout, follow_redirects=False) as client,
        client.stream("GET", target, headers=headers, extensions={"sni_hostname": end.host}) as response,
    ):
        if response.is_redirect:
            return str(response.headers.get("location", ""))
        _check_status(source, url, response)
        declared = response.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limits.max_bytes:
            raise _too_large(source, url, limits)
        return _save(source, (url, place), response, access, until)


def _save(source: str, urls: tuple[str, str], response: httpx.Response, access: HttpAccess, until: float) -> Download:
    url, place = urls
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=access.scratch, prefix="http-", delete=False) as stream:
        for piece in response.iter_raw():  # as it comes: a fixed size would wait for a slow server to fill it
            size += len(piece)
            if size > access.limits.max_bytes:
                raise _too_large(source, url, access.limits)
            if time.monotonic() > until:
                raise unreachable(source, f"{url} took longer than {access.limits.total_seconds:g} s")
            access.check_stop()
            _write(stream, piece)
            digest.update(piece)
    path = path_of(url, response.headers.get("content-type", ""))
    if PurePosixPath(path).suffix.lower() not in _KNOWN:
        ending = PurePosixPath(urlsplit(place).path).suffix.lower()  # a redirect may lead to a name that says more
        path += ending if ending in _KNOWN else ""
    return Download(url, path, Path(stream.name), size, digest.hexdigest())


def _write(stream: IO[bytes], piece: bytes) -> None:
    stream.write(piece)


def _check_status(source: str, url: str, response: httpx.Response) -> None:
    status = response.status_code
    if status in {401, 403}:
        raise refused(source, f"{url} answered {status}")
    if status == 429 or status >= 500:
        raise _BusyError(f"the server answered {status}")
    if status != 200:
        raise unreachable(source, f"{url} answered {status}", transient=False)


def _redirect(source: str, place: str, location: str) -> str:
    target = urljoin(place, location)
    old, new = urlsplit(place), urlsplit(target)
    upgraded = (old.scheme, new.scheme) == ("http", "https") and new.port in {None, 443}
    same_port = (old.scheme, old.port or PORTS.get(old.scheme)) == (new.scheme, new.port or PORTS.get(new.scheme))
    if old.hostname != new.hostname or not (same_port or upgraded) or new.username is not None:
        raise not_allowed(source, f"{place} redirects to another host ({new.hostname}); name the final address instead")
    return target


def _too_large(source: str, url: str, limits: HttpLimits) -> WorkloadError:
    return not_allowed(source, f"{url} is larger than {limits.max_bytes} bytes; raise http.maxBytes or leave it out")


def path_of(url: str, content_type: str) -> str:
    """Return `host/path` as the file's name, with an extension from the content type where the URL has none.

    >>> path_of("https://example.com/a/b?c=1", "text/html; charset=utf-8")
    'example.com/a/b@c=1.html'
    """
    parts = urlsplit(url)
    names = [name for name in unquote(parts.path).split("/") if name not in {"", ".", ".."}] or ["index"]
    tail = names[-1].replace("\\", "_").lstrip(".") or "index"
    if parts.query:
        stem, suffix = PurePosixPath(tail).stem, PurePosixPath(tail).suffix
        tail = f"{stem}@{parts.query[:80].replace('/', '_')}{suffix}"
    known = PurePosixPath(names[-1]).suffix.lower() in _KNOWN
    kind = content_type.partition(";")[0].strip().lower()
    name = "/".join([parts.netloc.replace(":", "_"), *names[:-1], tail])
    return name if known else name + _EXTENSIONS.get(kind, "")


def basic(username: str, password: str) -> str:
    """Return the Authorization value for a user name and password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
