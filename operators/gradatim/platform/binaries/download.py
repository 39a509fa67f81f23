"""Fetch one file of an official release: bounded, verified, and never half there.

Called by `resolve` only. It writes nothing outside the folder it is given, follows redirects only to HTTPS (or loopback, for
tests), and leaves a program behind only when its download had the pinned checksum.
"""

from __future__ import annotations

import hashlib
import ipaddress
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import httpx

from gradatim.platform.binaries.catalog import Artifact
from gradatim.platform.errors import DownloadError

_MAX_REDIRECTS = 5
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_CHUNK = 1 << 20


def fetch(artifact: Artifact, folder: Path, report: Callable[[str], None]) -> Path:
    """Download an artifact and return the executable `folder/<program>`.

    Raises DownloadError: refused address, HTTP failure, too large, wrong checksum, or an archive without the member.
    """
    raw = folder / f".{artifact.program}.download"
    try:
        _download(artifact, raw, report)
        program = folder / artifact.program
        if artifact.member is None:
            raw.replace(program)
        else:
            _extract(raw, artifact, program)
        program.chmod(0o755)
        return program
    except (httpx.HTTPError, httpx.InvalidURL, OSError, tarfile.TarError, EOFError) as error:
        raise DownloadError(f"{artifact.url}: {error}") from error
    finally:
        raw.unlink(missing_ok=True)


def check_address(url: httpx.URL) -> None:
    """Raise DownloadError unless the address is HTTPS, or plain HTTP to this machine."""
    if url.scheme == "https":
        return
    if url.scheme == "http" and _is_loopback(url.host):
        return
    raise DownloadError(f"{url}: refused, only https addresses are downloaded from")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _download(artifact: Artifact, target: Path, report: Callable[[str], None]) -> None:
    url = httpx.URL(artifact.url)
    with httpx.Client(timeout=_TIMEOUT) as client:
        for _ in range(_MAX_REDIRECTS + 1):
            check_address(url)
            with client.stream("GET", url) as response:
                if response.is_redirect:
                    url = url.join(response.headers.get("location", ""))
                    continue
                response.raise_for_status()
                _store(response, artifact, target, report)
                return
    raise DownloadError(f"{artifact.url}: more than {_MAX_REDIRECTS} redirects")


def _store(response: httpx.Response, artifact: Artifact, target: Path, report: Callable[[str], None]) -> None:
    digest, size, reported = hashlib.sha256(), 0, 0
    with target.open("wb") as out:
        # Raw bytes: a transfer encoding must neither change the checksum nor smuggle more than the bound.
        for chunk in response.iter_raw(_CHUNK):
            size += len(chunk)
            if size > artifact.max_bytes:
                raise DownloadError(f"{artifact.url}: larger than {artifact.max_bytes} bytes")
            digest.update(chunk)
            out.write(chunk)
            if size - reported >= 16 * _CHUNK:
                reported = size
                report(f"downloaded {size // 2**20} MiB")
    if digest.hexdigest() != artifact.sha256:
        raise DownloadError(f"{artifact.url}: checksum is {digest.hexdigest()}, pinned is {artifact.sha256}")


def _extract(archive: Path, artifact: Artifact, program: Path) -> None:
    # One named member to one fixed path: names inside the archive never become paths of ours.
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            if member.name.removeprefix("./") != artifact.member:
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise DownloadError(f"{artifact.url}: {artifact.member} is not a plain file")
            if member.size > artifact.max_bytes:
                raise DownloadError(f"{artifact.url}: {artifact.member} is larger than {artifact.max_bytes} bytes")
            _copy(content, program)
            return
    raise DownloadError(f"{artifact.url}: holds no {artifact.member}")


def _copy(content: IO[bytes], program: Path) -> None:
    with content, program.open("wb") as out:
        shutil.copyfileobj(content, out, _CHUNK)
