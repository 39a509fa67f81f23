"""Files of a Git repository at one commit: the `git` source.

Runs the Git client with fixed arguments on a bare repository in a scratch folder: nothing is checked out, no hook, filter, submodule or
configuration of the machine takes part. The connection goes to the address that was checked; credentials reach only the host they are for.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit, urlunsplit

from gradatim.api.common import GitSource
from gradatim.workloads.sources.base import (
    FileRejected,
    Listing,
    Skipped,
    SourceFile,
    hidden,
    listing,
    not_allowed,
    refused,
    stream_of,
    unreachable,
)
from gradatim.workloads.sources.globs import matches
from gradatim.workloads.sources.guard import Endpoint

FETCH_SECONDS = 1800
COMMAND_SECONDS = 120
POLL_SECONDS = 0.2
SSH_PORT = 22
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_POINTER = b"version https://git-lfs.github.com/spec/"
_DENIED = ("authentication failed", "access denied", "permission denied", "could not read username", "403", "401",
           "terminal prompts disabled", "invalid username or password", "host key verification failed")  # fmt: skip
_ABSENT = ("couldn't find remote ref", "not our ref", "repository not found", "does not appear to be a git repository", "404",
           "not found", "access denied or repository not exported")  # fmt: skip
# What git adds when ssh fails; it would push out the line that says why.
_ADVICE = ("Please make sure you have the correct access rights", "and the repository exists.")
_ASKPASS = """#!/bin/sh
case "$1" in
Username*) cat "$GRADATIM_GIT_FILES/username" ;;
*) cat "$GRADATIM_GIT_FILES/password" ;;
esac
"""


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What a listing needs besides the spec. `credentials` holds username (of ssh: git if absent), password,
    ssh-privatekey, known_hosts.
    """

    endpoint: Endpoint
    scratch: Path
    credentials: dict[str, str]
    max_bytes: int
    max_document: int
    check_stop: Callable[[], None]


def list_git(source: str, spec: GitSource, access: GitAccess, commit: str | None = None) -> Listing:
    """List the files that `paths` match at the revision, or at `commit` where the Run is already bound to one."""
    folder = Path(tempfile.mkdtemp(prefix="git-", dir=access.scratch))
    repository = Repository(source, folder, access)
    repository.init(spec.url)
    found = repository.fetch(commit or spec.revision)
    files: list[SourceFile] = []
    skipped: list[Skipped] = []
    for mode, kind, blob, size, path in repository.entries(found):
        if hidden(path) or not matches(path, spec.paths):
            continue
        reason = _reason(mode, kind, path)
        if reason:
            skipped.append(Skipped(path, reason))
        else:
            opener = repository.opener(blob, path, access.max_document)
            files.append(SourceFile(source, path, size, f"git:{blob}", access.max_document, opener, exact=True))
    return listing(source, files, revision=found, skipped=skipped)


def _reason(mode: str, kind: str, path: str) -> str:
    if kind == "commit":
        return "Submodule"
    if mode == "120000":
        return "Link"
    return "NameNotUtf8" if "\ufffd" in path else ""


class Repository:
    """A bare repository in a scratch folder and the commands run on it."""

    def __init__(self, source: str, folder: Path, access: GitAccess) -> None:
        self._source = source
        self._folder = folder
        self._git = folder / "repository"
        self._access = access
        self._environment = self._prepare()

    def init(self, url: str) -> None:
        """Create the repository and set where it fetches from."""
        self._run(["init", "--quiet", "--bare", "--template=", str(self._git)])
        self._run(["remote", "add", "origin", self._target(url)])

    def fetch(self, revision: str) -> str:
        """Fetch one revision without history and return its commit."""
        pinned = bool(_COMMIT.fullmatch(revision))
        status, errors = self._fetch(["--depth=1", "--", "origin", revision])
        if status and pinned and ("not our ref" in errors or "unadvertised" in errors):
            # Old servers give only what a branch points at: take the branches and look inside.
            status, errors = self._fetch(
                ["--", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
            )
        if status:
            raise self._failure(revision, errors)
        name = revision if pinned else "FETCH_HEAD"
        commit = self._run(["rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]).decode().strip()
        if not _COMMIT.fullmatch(commit):
            raise unreachable(self._source, f"revision {revision} does not name a commit", transient=False)
        return commit

    def entries(self, commit: str) -> list[tuple[str, str, str, int, str]]:
        """Return (mode, kind, object, size, path) of everything in the commit."""
        found = []
        for line in self._run(["ls-tree", "-r", "-z", "-l", "--full-tree", commit]).split(b"\0"):
            if line:
                head, _, path = line.partition(b"\t")
                mode, kind, blob, size = head.decode().split()
                found.append((mode, kind, blob, int(size) if size != "-" else 0, path.decode("utf-8", "replace")))
        return found

    def opener(self, blob: str, path: str, limit: int) -> Callable[[], BinaryIO]:
        """Return what opens a blob; large ones pass through a file."""

        def opened() -> BinaryIO:
            head = self._run(["cat-file", "blob", blob], keep=min(limit + 1, 1 << 20))
            if head.startswith(_POINTER):
                raise FileRejected("LargeFilePointer", f"{path} is a Git LFS pointer; point the source at the content")
            if len(head) < 1 << 20:
                return stream_of(head)
            stream = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - the reader closes it
            self._spool(["cat-file", "blob", blob], stream)
            stream.seek(0)
            return stream

        return opened

    def _prepare(self) -> dict[str, str]:
        """Write the credential files and return the whole environment: nothing of the machine's own is inherited but PATH."""
        files = self._folder / "credentials"
        files.mkdir(mode=0o700)
        for name, value in self._access.credentials.items():
            file = files / name
            file.touch(mode=0o600)
            file.write_text(value + "\n", encoding="utf-8")
        ask = files / "askpass"
        ask.write_text(_ASKPASS, encoding="utf-8")
        ask.chmod(0o700)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_ALLOW_PROTOCOL": "https:ssh:git",
            "GIT_ASKPASS": str(ask) if "password" in self._access.credentials else "true",
            "GRADATIM_GIT_FILES": str(files),
            "GIT_SSH_COMMAND": self._ssh(files),
        } | {name: os.environ[name] for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO") if name in os.environ}

    def _ssh(self, files: Path) -> str:
        """Every part is ours: an address that was checked and files in the scratch folder. An unknown host key ends the fetch."""
        end = self._access.endpoint
        # As ssh itself writes it: `known_hosts` names the port where it is not the usual one.
        alias = end.host if end.port == SSH_PORT else f"[{end.host}]:{end.port}"
        key = str(files / "ssh-privatekey") if "ssh-privatekey" in self._access.credentials else "none"
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(files / "known_hosts"),
            "GlobalKnownHostsFile": os.devnull,
            "User": self._access.credentials.get("username", "git"),
            "HostName": end.address,
            "HostKeyAlias": alias,
            "IdentityFile": key,  # ssh finds the account's own keys by itself otherwise, whatever HOME says
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "15",
        }
        words = ["ssh", "-F", os.devnull, *(word for item in options.items() for word in ("-o", "=".join(item)))]
        return shlex.join(words)

    def _target(self, url: str) -> str:
        """A git:// address carries no host check of its own, so the checked address takes the name's place."""
        parts = urlsplit(url)
        if parts.scheme != "git":
            return url
        return urlunsplit(("git", f"{self._access.endpoint.literal}:{self._access.endpoint.port}", parts.path, "", ""))

    def _command(self, arguments: Sequence[str]) -> list[str]:
        end = self._access.endpoint
        settings = [
            "core.hooksPath=/dev/null",
            "protocol.ext.allow=never",
            "protocol.file.allow=never",
            "http.followRedirects=false",
            "http.lowSpeedLimit=500",
            "http.lowSpeedTime=30",
            "credential.helper=",
            "gc.auto=0",
            "fetch.fsckObjects=true",
            "submodule.recurse=false",
        ]
        if end.scheme == "https":
            settings.append(f"http.curloptResolve={end.host}:{end.port}:{end.literal}")
        return [
            "git",
            *(word for setting in settings for word in ("-c", setting)),
            f"--git-dir={self._git}",
            *arguments,
        ]

    def _run(self, arguments: Sequence[str], keep: int | None = None) -> bytes:
        """Run a local command and return its output, the first `keep` bytes of it where given."""
        words = ["git", *arguments] if arguments[0] == "init" else self._command(arguments)
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self._environment
        ) as child:
            try:
                if keep is not None and child.stdout is not None:
                    data = child.stdout.read(keep)
                    child.kill()
                    return data
                output, errors = child.communicate(timeout=COMMAND_SECONDS)
            except BaseException:
                child.kill()
                raise
        if child.returncode and arguments[0] != "rev-parse":
            raise unreachable(self._source, f"git {arguments[0]} failed: {_tail(errors)}", transient=False)
        return output

    def _spool(self, arguments: Sequence[str], stream: BinaryIO) -> None:
        subprocess.run(
            self._command(arguments),
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.DEVNULL, env=self._environment,
            timeout=COMMAND_SECONDS, check=True,
        )  # fmt: skip

    def _fetch(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Run a fetch under a watch: it ends when the Run stops, takes too long or grows past the limit."""
        words = self._command(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *arguments])
        log = self._folder / "fetch.log"
        started = time.monotonic()
        with log.open("wb") as errors:
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=self._environment,
                start_new_session=True,
            )  # fmt: skip
            try:
                while child.poll() is None:
                    self._access.check_stop()
                    if _size(self._git) > self._access.max_bytes:
                        text = f"the repository is larger than {self._access.max_bytes} bytes (limits.maxSourceBytes)"
                        raise not_allowed(self._source, text)
                    if time.monotonic() - started > FETCH_SECONDS:
                        raise unreachable(self._source, f"the fetch took longer than {FETCH_SECONDS} s")
                    time.sleep(POLL_SECONDS)
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)  # its transport helpers too
                    child.wait()
        return child.returncode, log.read_text(encoding="utf-8", errors="replace")

    def _failure(self, revision: str, errors: str) -> Exception:
        lowered = errors.lower()
        text = f"git fetch of {revision} failed: {_tail(errors.encode())}"
        if any(mark in lowered for mark in _ABSENT):
            return unreachable(self._source, text, transient=False)
        if any(mark in lowered for mark in _DENIED):
            return refused(self._source, text)
        return unreachable(self._source, text)


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(root, name).lstat().st_size
            except FileNotFoundError:  # git renames its temporary packs
                continue
    return total


def _tail(errors: bytes) -> str:
    lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip() and line not in _ADVICE]
    return " / ".join(lines[-3:])[:400] or "no message"
