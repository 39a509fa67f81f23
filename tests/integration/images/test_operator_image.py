"""The operator's image, built from the lock file and run as a pod would run it: its user, a read-only root, no network.

Needs root, Linux and a Debian archive, as the builder does; skipped with a line that says so elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gradatim.platform.images import IMAGES, Built, Options, Workshop, build, layout, rootfs
from gradatim.platform.images.catalog import INTERPRETER, SITE, USER_ID
from gradatim.platform.images.enclosure import Enclosure

ROOT = Path(__file__).parents[3]
OPERATOR = IMAGES["operator"]
COMPILERS = {"apt", "apt-get", "as", "c++", "cc", "clang", "g++", "gcc", "gcc-12", "ld", "make", "pip", "pip3", "uv"}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="images are built on Linux as root"),
    pytest.mark.timeout(540),
]


@dataclass(frozen=True)
class Image:
    """A built image, what its layers hold, and its files laid out as a container sees them."""

    built: Built
    members: tuple[tarfile.TarInfo, ...]
    root: Path

    def config(self) -> dict[str, object]:
        manifest = json.loads(layout.blob(self.built.folder, self.built.digest).read_bytes())
        found = json.loads(layout.blob(self.built.folder, manifest["config"]["digest"]).read_bytes())["config"]
        assert isinstance(found, dict)
        return found

    def python(self, code: str) -> str:
        """Run Python code as the image's user on a read-only root and return what it printed."""
        done = Enclosure(self.root, USER_ID).run([INTERPRETER, "-c", code], OPERATOR.environment, 60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Return where to build: a copy of what an image is made from, so that nobody's edit counts as a difference."""
    source = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "uv.lock", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("sdk", "operators", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Workshop.at(source, os.environ, print)


@pytest.fixture(scope="module")
def image(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    built = build(OPERATOR, Options(), folder / "operator", workshop)
    members: list[tarfile.TarInfo] = []
    for layer in built.layers:
        with tarfile.open(layout.blob(built.folder, layer.digest)) as archive:
            members += archive.getmembers()
            archive.extractall(folder / "root", filter="tar")
    return Image(built, tuple(members), folder / "root")


def test_it_holds_neither_the_data_plane_nor_tools_to_build_with(image: Image) -> None:
    folders = (Path(m.name).name for m in image.members if m.name.endswith(".dist-info"))
    distributions = {folder.removesuffix(".dist-info").rsplit("-", 1)[0] for folder in folders}
    assert {"gradatim", "kopf", "pyarrow"} <= distributions
    assert not {name.replace("_", "-").lower() for name in distributions} & (
        OPERATOR.forbidden | {"pip", "uv", "hatchling"}
    )
    programs = {Path(m.name).name for m in image.members if m.mode & 0o111 and not m.isdir()}
    assert not programs & COMPILERS


def test_it_holds_only_its_own_parts_of_gradatim(image: Image) -> None:
    folder = f"{SITE.lstrip('/')}/gradatim/"
    parts = {m.name.removeprefix(folder).split("/")[0] for m in image.members if m.name.startswith(folder)}
    assert parts == set(OPERATOR.packages)


def test_every_file_is_roots_and_none_lends_its_rights(image: Image) -> None:
    wrong = [m.name for m in image.members if m.uid or m.gid or m.mode & (stat.S_ISUID | stat.S_ISGID) or m.isdev()]
    writable = [m.name for m in image.members if m.mode & 0o022 and not m.issym() and not m.mode & stat.S_ISVTX]
    assert (wrong, writable) == ([], [])


def test_no_cache_and_no_address_of_the_archive_is_left(image: Image) -> None:
    assert not [
        m.name for m in image.members if m.isfile() and m.name.startswith(("var/cache/", "var/lib/apt/", "tmp/"))
    ]
    assert not [m.name for m in image.members if m.name.endswith((".deb", ".whl"))]
    hosts = {urlsplit(line.split()[1]).netloc.encode() for line in rootfs.archive(os.environ).sources}
    texts = [
        p for folder in ("etc", "var") for p in (image.root / folder).rglob("*") if p.is_file() and not p.is_symlink()
    ]
    assert not [p for p in texts if any(host in p.read_bytes() for host in hosts)]


def test_it_runs_as_its_user_without_network_on_a_read_only_root(image: Image, workshop: Workshop) -> None:
    code = """
import errno, importlib.metadata, os, pathlib, pwd, socket
import gradatim.operator.main
try:
    pathlib.Path("/opt/gradatim/file").touch()
except OSError as error:
    print(errno.errorcode[error.errno])
pathlib.Path("/tmp/file").touch()
print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, importlib.metadata.version("gradatim"))
"""
    assert image.python(code).splitlines() == ["EROFS", f"{USER_ID} {USER_ID} gradatim {workshop.version}"]


def test_its_command_is_the_operator_which_says_what_it_lacks(image: Image) -> None:
    entrypoint = image.config()["Entrypoint"]
    assert isinstance(entrypoint, list)
    done = Enclosure(image.root, USER_ID).run(entrypoint, OPERATOR.environment, 60)
    assert done.returncode != 0
    assert "GRADATIM_" in done.stderr + done.stdout or "kubeconfig" in done.stderr.lower(), done.stderr


def test_all_our_bytecode_is_there_and_never_checked(image: Image) -> None:
    folder = image.root / SITE.lstrip("/") / "gradatim"
    sources = {p for p in folder.rglob("*.py") if p.stat().st_size}
    flags = {
        source: (source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc").read_bytes()[4:8]
        for source in sources
    }
    # Flag 1: made from a hash; without flag 2 the source is not looked at (PEP 552).
    assert set(flags.values()) == {b"\x01\0\0\0"}
    loaded = "import gradatim.operator.main as m; print(m.__cached__)"
    assert image.python(loaded) == f"{SITE}/gradatim/operator/__pycache__/main.cpython-311.pyc"


def test_a_second_build_gives_the_same_digest(image: Image, workshop: Workshop, tmp_path: Path) -> None:
    assert build(OPERATOR, Options(), tmp_path / "operator", workshop).digest == image.built.digest
