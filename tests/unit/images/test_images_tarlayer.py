"""A layer depends on names, modes and contents, and on nothing else."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from gradatim.platform.images import tarlayer
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.oci import EPOCH
from gradatim.platform.images.tarlayer import Tree, Written


def tree(root: Path, names: tuple[str, ...] = ("b/second.txt", "a.txt", "b/first.sh")) -> Path:
    """Make files whose content is their name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    return root


def written(*trees: Tree) -> tuple[Written, list[tarfile.TarInfo]]:
    out = io.BytesIO()
    result = tarlayer.write(tarlayer.entries(trees), out, lambda path: path.split("/", 1)[0])
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        return result, archive.getmembers()


def test_two_builds_of_the_same_tree_have_one_digest(tmp_path: Path) -> None:
    one = tree(tmp_path / "one")
    other = tree(tmp_path / "other", ("b/first.sh", "b/second.txt", "a.txt"))
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    assert written(Tree(one))[0] == written(Tree(other))[0]


def test_a_changed_byte_changes_the_digest(tmp_path: Path) -> None:
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other")
    (other / "a.txt").write_text("A.txt")
    assert written(Tree(one))[0].digest != written(Tree(other))[0].digest


def test_the_digest_is_that_of_the_bytes_and_sizes_are_by_package(tmp_path: Path) -> None:
    out = io.BytesIO()
    result = tarlayer.write(tarlayer.entries([Tree(tree(tmp_path))]), out, lambda path: path.split("/", 1)[0])
    assert result == Written(
        f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}", len(out.getvalue()), {"a.txt": 5, "b": 22}
    )


def test_members_are_sorted_with_parents_first_and_belong_to_root(tmp_path: Path) -> None:
    _, members = written(Tree(tree(tmp_path), "opt/x"))
    assert [(m.name, m.uid, m.gid, m.mtime, m.uname) for m in members] == [
        (name, 0, 0, EPOCH, "")
        for name in ("opt", "opt/x", "opt/x/a.txt", "opt/x/b", "opt/x/b/first.sh", "opt/x/b/second.txt")
    ]


def test_links_stay_links_and_sockets_do_not_travel(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "link").symlink_to("/usr/bin/python3.11")
    os.link(tmp_path / "a.txt", tmp_path / "c.txt")
    os.mkfifo(tmp_path / "pipe")
    _, members = written(Tree(tmp_path))
    assert [(m.name, m.type, m.linkname) for m in members if m.name in {"link", "a.txt", "c.txt", "pipe"}] == [
        ("a.txt", tarfile.REGTYPE, ""),
        ("c.txt", tarfile.LNKTYPE, "a.txt"),
        ("link", tarfile.SYMTYPE, "/usr/bin/python3.11"),
    ]


@pytest.mark.parametrize(
    ("actual", "open_to_all", "expected"),
    [
        pytest.param(0o104755, False, 0o755, id="setuid goes"),
        pytest.param(0o102755, False, 0o755, id="setgid goes"),
        pytest.param(0o100666, False, 0o644, id="writing by others goes"),
        pytest.param(0o100640, False, 0o640, id="a narrow mode of the base stays"),
        pytest.param(0o041777, False, 0o1777, id="a folder for everybody keeps its sticky bit"),
        pytest.param(0o100600, True, 0o644, id="a narrow mode of an environment is opened for reading"),
        pytest.param(0o100700, True, 0o755, id="a program of an environment can be run by its user"),
        pytest.param(0o040700, True, 0o755, id="a folder of an environment can be entered"),
    ],
)
def test_modes(actual: int, open_to_all: bool, expected: int) -> None:
    assert tarlayer.mode(actual, open_to_all=open_to_all) == expected


def test_what_is_left_out_takes_its_content_along(tmp_path: Path) -> None:
    _, members = written(Tree(tree(tmp_path), left_out=lambda path: path == "b"))
    assert [m.name for m in members] == ["a.txt"]


def test_two_packages_with_the_same_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.txt would be in one layer twice"):
        tarlayer.entries([Tree(tree(tmp_path / "one")), Tree(tree(tmp_path / "other"))])
