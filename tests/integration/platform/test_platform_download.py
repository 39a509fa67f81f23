"""Official releases, from a real HTTP server on loopback; and the fall to the compiler when they cannot be had."""

from __future__ import annotations

import hashlib
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest

from gradatim.platform.binaries import Artifact, GoProgram, Settings, Tool, Toolset, resolve
from gradatim.platform.errors import BuildError

GO_MOD = """module example.test/tool

go 1.22

replace example.test/main v1.0.0 => ./main

require example.test/main v1.0.0
"""
PROGRAM = b"#!/bin/sh\necho official\n"


@dataclass
class Site:
    """What the server answers by path, and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            if target := found.redirects.get(self.path):
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
            elif (content := found.files.get(self.path)) is not None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)
            else:
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Site(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def tool(
    folder: Path, *artifacts: Artifact, source: str = 'package main\n\nfunc main() { println("compiled") }\n'
) -> Tool:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "main.go").write_text(source)
    names = tuple(artifact.program for artifact in artifacts) or ("thing",)
    return Tool("thing", names, GoProgram(folder, "example.test/main"), {"linux-amd64": artifacts} if artifacts else {})


def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "cache", "linux-amd64", dict(os.environ))


def get(wanted: Tool, tmp_path: Path) -> tuple[Toolset, list[str]]:
    said: list[str] = []
    return resolve(wanted, settings(tmp_path), lambda _component, message: said.append(message)), said


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tarball(name: str, content: bytes) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, BytesIO(content))
    return out.getvalue()


def test_a_pinned_release_is_downloaded_once_and_then_cached(site: Site, tmp_path: Path) -> None:
    packed = tarball("thing-v1/bin/thing", PROGRAM)
    site.files = {"/other": PROGRAM, "/thing.tar.gz": packed}
    site.redirects = {"/moved": "/thing.tar.gz"}
    wanted = tool(
        tmp_path / "module",
        Artifact("thing", f"{site.url}/moved", sha(packed), member="thing-v1/bin/thing"),
        Artifact("other", f"{site.url}/other", sha(PROGRAM)),
    )
    found, _ = get(wanted, tmp_path)
    assert [Path(found.argv(name)[0]).read_bytes() for name in ("thing", "other")] == [PROGRAM, PROGRAM]
    assert all(os.access(found.argv(name)[0], os.X_OK) for name in ("thing", "other"))
    again, said = get(wanted, tmp_path)
    assert (again, said) == (found, [])
    assert site.asked == ["/moved", "/thing.tar.gz", "/other"]


@pytest.mark.parametrize(
    ("content", "checksum", "limit", "reason"),
    [
        pytest.param(b"tampered", sha(PROGRAM), 1000, "checksum is", id="another content than pinned"),
        pytest.param(PROGRAM, sha(PROGRAM), 5, "larger than 5 bytes", id="more than the bound"),
        pytest.param(None, sha(PROGRAM), 1000, "404", id="a missing file"),
    ],
)
def test_a_bad_download_is_never_used_and_said_before_compiling(
    site: Site, tmp_path: Path, content: bytes | None, checksum: str, limit: int, reason: str
) -> None:
    if content is not None:
        site.files["/thing"] = content
    wanted = tool(
        tmp_path / "module", Artifact("thing", f"{site.url}/thing", checksum, max_bytes=limit), source="not Go at all"
    )
    said: list[str] = []
    with pytest.raises(BuildError, match="compiling failed"):
        resolve(wanted, settings(tmp_path), lambda _component, message: said.append(message))
    assert [message for message in said if "download failed" in message and reason in message]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["thing.lock"]


def test_a_redirect_away_from_https_is_refused(site: Site, tmp_path: Path) -> None:
    site.redirects = {"/thing": "http://example.test/thing"}
    wanted = tool(tmp_path / "module", Artifact("thing", f"{site.url}/thing", sha(PROGRAM)), source="not Go at all")
    said: list[str] = []
    with pytest.raises(BuildError):
        resolve(wanted, settings(tmp_path), lambda _component, message: said.append(message))
    assert [message for message in said if "refused, only https" in message]


def test_a_redirect_loop_ends(site: Site, tmp_path: Path) -> None:
    site.redirects = {"/thing": "/thing"}
    wanted = tool(tmp_path / "module", Artifact("thing", f"{site.url}/thing", sha(PROGRAM)), source="not Go at all")
    with pytest.raises(BuildError):
        get(wanted, tmp_path)
    assert len(site.asked) == 6


def test_without_a_release_the_module_is_compiled_once_for_two_at_the_same_time(tmp_path: Path) -> None:
    folder = tmp_path / "module"
    (folder / "main").mkdir(parents=True)
    (folder / "main" / "go.mod").write_text("module example.test/main\n\ngo 1.22\n")
    wanted = tool(folder)
    found: list[tuple[Toolset, list[str]]] = []
    threads = [threading.Thread(target=lambda: found.append(get(wanted, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    compiled = [said for _, said in found if any("compiling v1.0.0" in message for message in said)]
    assert [toolset.version for toolset, _ in found] == ["v1.0.0", "v1.0.0"]
    assert len(compiled) == 1
    assert any("packages compiled" in message for message in compiled[0])
    assert [path.name for path in (tmp_path / "cache").glob(".*partial")] == []
