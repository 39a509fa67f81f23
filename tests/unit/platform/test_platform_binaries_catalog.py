"""What is pinned, and how an installation is told from another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gradatim.platform.binaries import KUBE, WEAVIATE, Artifact, GoProgram, Patch, Tool
from gradatim.platform.binaries.addons import ADDONS
from gradatim.platform.binaries.catalog import pinned_version
from gradatim.platform.errors import BinaryError

GO_MOD = """module example.test/tool

go 1.26

require example.test/single v1.2.3

require (
\texample.test/main v4.5.6
\texample.test/main/sub v0.0.1 // indirect
)
"""


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        pytest.param("example.test/single", "v1.2.3", id="a require line of its own is found"),
        pytest.param(
            "example.test/main", "v4.5.6", id="a line of a require block is found, not the longer name below it"
        ),
        pytest.param("example.test/main/sub", "v0.0.1", id="an indirect requirement is found"),
    ],
)
def test_the_pinned_version_is_read_from_go_mod(module: str, expected: str) -> None:
    assert pinned_version(GO_MOD, module) == expected


def test_a_module_that_is_not_required_is_an_error_that_names_it() -> None:
    with pytest.raises(BinaryError, match=r"does not require example\.test/other"):
        pinned_version(GO_MOD, "example.test/other")


@pytest.mark.parametrize("tool", [KUBE, WEAVIATE, *ADDONS], ids=lambda tool: tool.name)
def test_a_shipped_module_is_complete(tool: Tool) -> None:
    sources = tool.source.sources()
    assert {"go.mod", "go.sum"} < set(sources)
    assert {"main.go", "tools.go"} & set(sources)
    assert tool.version.startswith("v")


def test_weaviate_listens_on_loopback_unless_it_is_told_an_address() -> None:
    patched = {patch.path for patch in WEAVIATE.source.patches if '"127.0.0.1")+":%d"' in patch.new}
    assert len(patched) == 3
    assert all('os.Getenv("GRADATIM_LISTEN_HOST")' in p.new or '"os"' in p.new for p in WEAVIATE.source.patches)


def test_no_release_is_pinned_without_a_whole_checksum() -> None:
    pinned = [artifact for tool in (KUBE, WEAVIATE) for artifacts in tool.releases.values() for artifact in artifacts]
    assert [a for a in pinned if len(a.sha256) != 64 or not a.url.startswith("https://")] == []


def program(folder: Path, text: str = "package main") -> GoProgram:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "main.go").write_text(text)
    return GoProgram(folder, "example.test/main")


def test_the_digest_changes_with_anything_that_changes_the_program(tmp_path: Path) -> None:
    base = program(tmp_path / "a")
    variants = {
        "the same files elsewhere": program(tmp_path / "b"),
        "source": program(tmp_path / "c", "package main // changed"),
        "flags": replace(base, ldflags=("-X a=b",)),
        "package": replace(base, package="example.test/main/cmd"),
        "patch": replace(base, patches=(Patch("a.go", "x", "y"),)),
    }
    changed = {name for name, variant in variants.items() if variant.digest != base.digest}
    assert changed == {"source", "flags", "package", "patch"}
    assert len({variant.digest for variant in variants.values()}) == 5


def test_the_release_digest_is_that_of_the_checksums(tmp_path: Path) -> None:
    def tool(*checksums: str) -> Tool:
        artifacts = tuple(Artifact("p", "https://example.test/p", checksum) for checksum in checksums)
        return Tool("t", ("p",), program(tmp_path), {"linux-amd64": artifacts})

    assert tool("1" * 64).release_digest("linux-amd64") == tool("1" * 64).release_digest("linux-amd64")
    assert tool("1" * 64).release_digest("linux-amd64") != tool("2" * 64).release_digest("linux-amd64")
    assert tool("1" * 64).release_digest("darwin-arm64") is None
