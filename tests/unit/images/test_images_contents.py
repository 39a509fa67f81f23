"""What of our wheel goes into an image, which package a file belongs to, and where Debian comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.platform.images import environment, ours, owners, rootfs
from gradatim.platform.images.build import Workshop
from gradatim.platform.images.catalog import IMAGES
from gradatim.platform.images.errors import ImageError

INFO = "gradatim-0.1.0.dist-info"
WHEEL = (
    "gradatim/api/__init__.py",
    "gradatim/operator/main.py",
    "gradatim/operator_extra/main.py",
    "gradatim/platform/binaries/kube/go.mod",
    "gradatim/rag/__init__.py",
    "gradatim/workloads/__main__.py",
    f"{INFO}/METADATA",
    f"{INFO}/RECORD",
    f"{INFO}/entry_points.txt",
    f"{INFO}/licenses/LICENSE",
)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param("operator", ["gradatim/api/__init__.py", "gradatim/operator/main.py"], id="operator: types and control loop"),
        pytest.param(
            "index",
            ["gradatim/api/__init__.py", "gradatim/rag/__init__.py", "gradatim/workloads/__main__.py"],
            id="index: types, retrieval and workloads",
        ),
    ],
)  # fmt: skip
def test_an_image_holds_its_parts_and_the_metadata(image: str, expected: list[str]) -> None:
    metadata = [f"{INFO}/METADATA", f"{INFO}/RECORD", f"{INFO}/licenses/LICENSE"]
    assert ours.selected(WHEEL, IMAGES[image].packages) == metadata + expected


def test_a_wheel_without_a_part_is_refused() -> None:
    with pytest.raises(ImageError, match=r"holds no gradatim\.serving"):
        ours.selected(WHEEL, ("api", "serving"))


def test_a_wheel_cannot_write_elsewhere() -> None:
    with pytest.raises(ImageError, match="outside of itself"):
        ours.selected((*WHEEL, "gradatim/api/../../../etc/passwd"), ("api",))


def test_the_list_of_files_matches_what_is_installed() -> None:
    text = "".join(f"{name},sha256=x,1\n" for name in sorted(WHEEL))
    assert ours.record(text, ("api",)).splitlines() == [f"{name},sha256=x,1" for name in ours.selected(WHEEL, ("api",))]


def test_bytecode_counts_for_the_package_of_its_source() -> None:
    table = owners.from_records([("some_package", "some/mod.py,sha256=x,1\n")])
    assert table[owners.source_of("some/__pycache__/mod.cpython-311.pyc")] == "some-package"


def test_a_file_of_debian_belongs_to_its_package_under_either_name(tmp_path: Path) -> None:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info / "libc6:amd64.list").write_text("/.\n/lib/libc.so.6\n/usr/bin/ldd\n")
    owner = owners.of_debian(tmp_path)
    assert [owner(p) for p in ("usr/lib/libc.so.6", "usr/bin/ldd", "etc/passwd")] == ["libc6", "libc6", owners.OTHER]


def test_only_the_main_component_of_our_release_is_used() -> None:
    targets = """\
http://deb.example.test/debian bookworm main Packages
http://deb.example.test/debian bookworm main DEP-11
http://deb.example.test/debian bookworm contrib Packages
http://deb.example.test/debian bookworm-updates main Packages
http://security.example.test/debian-security bookworm-security main Packages
http://other.example.test/tools stable main Packages
"""
    assert rootfs.parse(targets) == (
        "deb http://deb.example.test/debian bookworm main",
        "deb http://security.example.test/debian-security bookworm-security main",
        "deb http://deb.example.test/debian bookworm-updates main",
    )


def test_another_archive_or_package_is_another_base() -> None:
    archive = rootfs.Archive(("deb http://a.test/debian bookworm main",))
    keys = {
        archive.key(("python3.11",)),
        archive.key(("python3.11", "wget")),
        rootfs.Archive(("deb http://b.test/debian bookworm main",)).key(("python3.11",)),
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(b"#!/a/.venv/bin/python\nimport sys\n", b"#!/opt/gradatim/bin/python\nimport sys\n", id="a Python script"),
        pytest.param(
            b"#!/bin/sh\n'''exec' '/a b/python' \"$0\" \"$@\"\n' '''\nimport sys\n",
            b"#!/opt/gradatim/bin/python\nimport sys\n",
            id="a Python script of a long path",
        ),
        pytest.param(b"#!/bin/bash\necho\n", b"#!/bin/bash\necho\n", id="another script stays"),
        pytest.param(b"\x7fELF\n1", b"\x7fELF\n1", id="a program stays"),
    ],
)  # fmt: skip
def test_programs_run_with_the_python_of_the_image(tmp_path: Path, script: bytes, expected: bytes) -> None:
    (tmp_path / "source").write_bytes(script)
    environment._copy_program(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == expected


def test_a_folder_without_lock_file_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="--source"):
        Workshop.at(tmp_path, {}, print)


def test_the_list_of_files_of_a_dependency_knows_nothing_of_the_builder(tmp_path: Path) -> None:
    record, programs = tmp_path / "RECORD", tmp_path / "programs"
    programs.mkdir()
    (programs / "ray").write_bytes(b"#!/opt/gradatim/bin/python\n")
    record.write_text("ray/__init__.py,sha256=x,1\nbin/ray,sha256=of-the-builder,298\n")
    environment._mend_record(record, programs)
    assert record.read_text().splitlines() == [
        "ray/__init__.py,sha256=x,1",
        "../../../bin/ray,sha256=Jg6PrzP6FKefKKatEtDjyDw6pJRAxH77HfQsVSfTigk,27",
    ]
