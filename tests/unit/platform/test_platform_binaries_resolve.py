"""The order in which programs are looked for, without network or compiler."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from gradatim.platform.binaries import Artifact, GoProgram, Settings, Tool, download, gobuild, resolve
from gradatim.platform.errors import BinaryError, BuildError, DownloadError

Said = list[tuple[str, str]]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module a.test/b\n\ngo 1.26\n\nrequire a.test/main v1.0.0\n")
    (folder / "main.go").write_text("package main")
    return Tool("kube", ("etcd", "kube-apiserver"), GoProgram(folder, "a.test/main"))


def settings(tmp_path: Path, **env: str) -> Settings:
    return Settings(tmp_path / "cache", "linux-amd64", {"PATH": str(tmp_path / "nothing"), **env})


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o755)
    return path


def install(home: Path, *programs: str) -> None:
    sizes = {name: executable(home / name).stat().st_size for name in programs}
    (home / "manifest.json").write_text(json.dumps({"bytes": sizes}))


def test_an_explicit_multi_call_binary_is_called_with_the_program_first(tool: Tool, tmp_path: Path) -> None:
    path = executable(tmp_path / "mine")
    found = resolve(tool, settings(tmp_path, GRADATIM_BIN_KUBE=str(path)), lambda *_: None)
    assert found.argv("etcd") == [str(path), "etcd"]


def test_an_explicit_folder_is_called_by_program(tool: Tool, tmp_path: Path) -> None:
    for name in tool.programs:
        executable(tmp_path / "bin" / name)
    found = resolve(tool, settings(tmp_path, GRADATIM_BIN_KUBE=str(tmp_path / "bin")), lambda *_: None)
    assert found.argv("kube-apiserver") == [str(tmp_path / "bin" / "kube-apiserver")]


def test_an_explicit_path_wins_over_the_cache(tool: Tool, tmp_path: Path) -> None:
    path = executable(tmp_path / "mine")
    chosen = settings(tmp_path, GRADATIM_BIN_KUBE=str(path))
    install(chosen.cache / f"kube-v1.0.0-{tool.source.digest}", *tool.programs)
    assert resolve(tool, chosen, lambda *_: None).location == path


def test_an_explicit_path_that_is_no_program_is_an_error_and_nothing_else_is_tried(tool: Tool, tmp_path: Path) -> None:
    chosen = settings(tmp_path, GRADATIM_BIN_KUBE=str(tmp_path / "absent"))
    install(chosen.cache / f"kube-v1.0.0-{tool.source.digest}", *tool.programs)
    with pytest.raises(BinaryError, match=r"GRADATIM_BIN_KUBE: .*absent is not an executable file"):
        resolve(tool, chosen, lambda *_: None)


def test_a_complete_installation_in_the_cache_is_used_silently(tool: Tool, tmp_path: Path) -> None:
    chosen, said = settings(tmp_path), Said()
    home = chosen.cache / f"kube-v1.0.0-{tool.source.digest}"
    install(home, *tool.programs)
    assert resolve(tool, chosen, lambda *words: said.append(words)).argv("etcd") == [str(home / "etcd")]
    assert said == []


@pytest.mark.parametrize("damage", ["truncated", "missing", "no manifest", "older version"])
def test_an_incomplete_installation_is_not_used(tool: Tool, tmp_path: Path, damage: str) -> None:
    chosen = settings(tmp_path)
    home = chosen.cache / f"kube-v1.0.0-{'0' * 12 if damage == 'older version' else tool.source.digest}"
    install(home, *tool.programs)
    {
        "truncated": lambda: (home / "etcd").write_bytes(b""),
        "missing": (home / "etcd").unlink,
        "no manifest": (home / "manifest.json").unlink,
        "older version": lambda: None,
    }[damage]()
    # The next step would be to compile, and there is no Go on this PATH.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gobuild, "_USUAL_GO", ())
        with pytest.raises(BuildError, match=r"install Go 1\.26 or later"):
            resolve(tool, chosen, lambda *_: None)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        pytest.param("https://example.test/a", True, id="https is allowed"),
        pytest.param("http://127.0.0.1:8000/a", True, id="plain http to loopback is allowed"),
        pytest.param("http://[::1]/a", True, id="plain http to the loopback of IPv6 is allowed"),
        pytest.param("http://localhost/a", True, id="plain http to localhost is allowed"),
        pytest.param("http://example.test/a", False, id="plain http to another host is refused"),
        pytest.param("http://127.0.0.1.example.test/a", False, id="a host that only looks like loopback is refused"),
        pytest.param("file:///etc/passwd", False, id="a file is refused"),
        pytest.param("ftp://127.0.0.1/a", False, id="another protocol is refused"),
    ],
)
def test_only_safe_addresses_are_downloaded_from(url: str, allowed: bool) -> None:
    try:
        download.check_address(httpx.URL(url))
    except DownloadError:
        assert not allowed
    else:
        assert allowed


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


ARTIFACT = Artifact("etcd", "https://example.test/etcd.tar.gz", "0" * 64, member="etcd-v1/etcd", max_bytes=100)


def test_only_the_named_member_leaves_an_archive(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.tar.gz",
        (member("../../evil"), b"evil"),
        (member("/abs"), b"evil"),
        (member("etcd-v1/etcd"), b"program"),
    )
    out = tmp_path / "out"
    out.mkdir()
    download._extract(path, ARTIFACT, out / "etcd")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {"etcd": b"program"}
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.tar.gz", "etcd"]


@pytest.mark.parametrize(
    ("info", "content", "message"),
    [
        pytest.param(
            member("etcd-v1/etcd", tarfile.SYMTYPE, "/etc/passwd"), b"", "not a plain file", id="a symbolic link"
        ),
        pytest.param(member("etcd-v1/etcd", tarfile.LNKTYPE, "../x"), b"", "not a plain file", id="a hard link"),
        pytest.param(member("etcd-v1/etcd", tarfile.FIFOTYPE), b"", "not a plain file", id="a pipe"),
        pytest.param(member("etcd-v1/etcd"), b"x" * 101, "larger than 100 bytes", id="a program beyond the bound"),
        pytest.param(
            member("etcd-v1/../etcd"), b"x", "holds no etcd-v1/etcd", id="a name that only resolves to the member"
        ),
    ],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, info: tarfile.TarInfo, content: bytes, message: str) -> None:
    path = archive(tmp_path / "a.tar.gz", (info, content))
    with pytest.raises(DownloadError, match=message):
        download._extract(path, ARTIFACT, tmp_path / "etcd")
    assert not (tmp_path / "etcd").exists()
