"""The git source against a real Git daemon, and against git's own HTTP backend with TLS and a password."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workloads.conftest import Site
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure

ENVIRONMENT = {
    "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": "/nonexistent",
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.com",
}  # fmt: skip


@dataclass(frozen=True)
class Upstream:
    """A repository that is served, with the address of its server."""

    folder: Path
    url: str = ""

    def git(self, *arguments: str) -> str:
        """Run git in the work tree."""
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments], env=ENVIRONMENT, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """Write files (`__` stands for a slash, `_md` for an ending) and return the commit."""
        for name, text in files.items():
            path = self.folder / (name.replace("__", "/").replace("_md", ".md"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    folder = tmp_path / "served" / "docs"
    folder.mkdir(parents=True)
    found = Upstream(folder)
    found.git("init", "-q", "-b", "main")
    (folder / "link.md").symlink_to("/etc/hostname")
    (folder / ".hidden.md").write_text("hidden")
    found.commit(docs__a_md="# One", docs__sub__b_md="# Two", code="print()")
    return found


@pytest.fixture
def daemon(upstream: Upstream, dead_port: int) -> Iterator[Upstream]:
    base = upstream.folder.parent
    command = [
        "git",
        "daemon",
        "--export-all",
        f"--base-path={base}",
        "--listen=127.0.0.1",
        f"--port={dead_port}",
        str(base),
    ]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait(dead_port, process)
        yield Upstream(upstream.folder, f"git://127.0.0.1:{dead_port}/docs")
        process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("the daemon does not listen")


def _run(run: DatasetRun, url: str, **members: Any) -> DatasetRun:
    git = {"url": url, "revision": "main", "paths": ["**/*.md"], **members}
    return run.with_spec(source={"git": git}, validation={"maxRejectedFraction": 0.5})


def _files(run: DatasetRun, result: Any) -> list[tuple[str, str]]:
    assert result.outcome == "Succeeded", result.message
    return [(row["file"], row["text"]) for row in run.rows(result)]


def test_files_that_match_are_read_and_links_are_counted(run: DatasetRun, daemon: Upstream) -> None:
    result = _run(run, daemon.url).execute()
    assert _files(run, result) == [("docs/a.md", "# One"), ("docs/sub/b.md", "# Two")]
    assert [(r.name, r.examples) for r in result.rejections] == [
        ("Link", ["data:link.md: was left out of the listing"])
    ]


def test_paths_choose_files(run: DatasetRun, daemon: Upstream) -> None:
    assert [file for file, _ in _files(run, _run(run, daemon.url, paths=["docs/*.md"]).execute())] == ["docs/a.md"]
    nothing = _run(run.but(run="d-r2"), daemon.url, paths=["*.pdf"]).execute()
    assert (nothing.failure, nothing.reason) == (Failure.DATA, Reason.SOURCE_EMPTY.value)
    assert daemon.url in nothing.message


def test_a_branch_is_resolved_once_for_all_attempts_of_a_run(run: DatasetRun, daemon: Upstream) -> None:
    first = _run(run, daemon.url).with_spec(schemaKind="chat").execute()
    assert first.outcome == "Failed"
    daemon.commit(docs__c_md="# Three")
    again = _run(run, daemon.url).with_spec(schemaKind="chat").but(number=2).execute()
    assert again.message == first.message
    later = _run(run.but(run="d-r2"), daemon.url).execute()
    assert [text for _, text in _files(run, later)] == ["# One", "# Two", "# Three"] or len(run.rows(later)) == 3


def test_a_commit_that_no_branch_points_at_is_found(run: DatasetRun, daemon: Upstream) -> None:
    old = daemon.git("rev-parse", "HEAD")
    daemon.commit(docs__a_md="# Changed")
    result = _run(run, daemon.url, revision=old).execute()
    assert _files(run, result)[0] == ("docs/a.md", "# One")


def test_a_repository_that_did_not_change_is_unchanged(run: DatasetRun, daemon: Upstream) -> None:
    first = _run(run, daemon.url).execute()
    assert first.dataset is not None
    second = _run(run.but(run="d-r2", previous=first.dataset.digest), daemon.url).execute()
    assert (second.outcome, second.message) == ("Unchanged", "the sources did not change")


def test_a_large_file_pointer_is_rejected_by_name(run: DatasetRun, daemon: Upstream) -> None:
    daemon.commit(docs__big_md="version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    result = _run(run, daemon.url).execute()
    assert ("LargeFilePointer", 1) in [(r.name, r.count) for r in result.rejections]


@pytest.mark.parametrize(
    ("members", "failure"),
    [({"revision": "no-such-branch"}, Failure.USER), ({"revision": "0" * 40}, Failure.USER)],
    ids=["a branch", "a commit"],
)
def test_a_revision_that_is_not_there_is_the_users(
    run: DatasetRun, daemon: Upstream, members: dict[str, str], failure: Failure
) -> None:
    result = _run(run, daemon.url, **members).execute()
    assert (result.failure, result.reason) == (failure, Reason.SOURCE_UNREACHABLE.value)


def test_a_repository_that_is_not_there_is_the_users(run: DatasetRun, daemon: Upstream) -> None:
    result = _run(run, daemon.url + "-other").execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_UNREACHABLE.value)


def test_a_dead_server_is_a_dependency(run: DatasetRun, dead_port: int) -> None:
    result = _run(run, f"git://127.0.0.1:{dead_port}/docs").execute()
    assert (result.failure, result.reason) == (Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE.value)


def test_a_private_address_is_refused(run: DatasetRun, daemon: Upstream) -> None:
    result = _run(run.but(limits={}), daemon.url).execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)


def test_a_repository_beyond_the_limit_is_refused(run: DatasetRun, daemon: Upstream) -> None:
    daemon.commit(docs__big_md=os.urandom(200_000).hex())
    limits = {"allowPrivateNetworks": True, "maxSourceBytes": 100_000}
    result = _run(run.but(limits=limits), daemon.url).execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)


@pytest.fixture
def backend(upstream: Upstream, secure_site: Site) -> Upstream:
    """Git's smart HTTP protocol behind TLS and a password, by git's own program."""
    program = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip()) / "git-http-backend"
    wanted = "Basic " + base64.b64encode(b"reader:pa55 word").decode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization") != wanted:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="docs"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        path, _, query = handler.path.partition("?")
        body = _body(handler)
        environment = ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(upstream.folder.parent), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": query, "REQUEST_METHOD": handler.command, "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""), "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        done = subprocess.run([str(program)], input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        handler.send_response(200)
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name != "Status":
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    secure_site.routes["/git/"] = answer
    return Upstream(upstream.folder, f"{secure_site.url}/git/docs/.git")


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    out = b""
    while size := int(handler.rfile.readline(), 16):
        out += handler.rfile.read(size)
        handler.rfile.readline()
    return out


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))


@pytest.mark.usefixtures("trusting")
def test_a_password_reaches_its_own_host(
    run: DatasetRun, backend: Upstream, secure_site: Site, secret: Callable[..., Path]
) -> None:
    mounted = secret("git-read", secure_site.host, username="reader", password="pa55 word")
    result = _run(run.but(secrets=mounted), backend.url, secretRef={"name": "git-read"}).execute()
    assert [file for file, _ in _files(run, result)] == ["docs/a.md", "docs/sub/b.md"]


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("name", "reason"),
    [("wrong", Reason.CREDENTIALS_REFUSED), ("elsewhere", Reason.SECRET_REFUSED), (None, Reason.CREDENTIALS_REFUSED)],
    ids=["a wrong password", "a password for another host", "no password"],
)
def test_without_the_right_password_nothing_is_read_and_nothing_is_told(
    run: DatasetRun, backend: Upstream, secure_site: Site, secret: Callable[..., Path], name: str | None, reason: Reason
) -> None:
    mounted = secret("wrong", secure_site.host, username="reader", password="gu3ss")
    secret("elsewhere", "git.example.com", username="reader", password="gu3ss")
    members = {"secretRef": {"name": name}} if name else {}
    result = _run(run.but(secrets=mounted), backend.url, **members).execute()
    assert (result.failure, result.reason) == (Failure.USER, reason.value)
    assert "gu3ss" not in result.message


def test_an_unknown_certificate_is_not_trusted(
    run: DatasetRun, backend: Upstream, secure_site: Site, secret: Callable[..., Path]
) -> None:
    mounted = secret("git-read", secure_site.host, username="reader", password="pa55 word")
    result = _run(run.but(secrets=mounted), backend.url, secretRef={"name": "git-read"}).execute()
    assert (result.failure, result.reason) == (Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE.value)
    assert secure_site.seen == []
