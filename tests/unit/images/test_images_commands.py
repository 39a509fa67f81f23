"""The command line says what is wrong, and containerd is asked only for what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gradatim.platform.images import containerd, layout, oci
from gradatim.platform.images.__main__ import main
from gradatim.platform.images.catalog import IMAGES
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.layers import Store
from gradatim.platform.images.oci import Identity
from gradatim.platform.images.tarlayer import Written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The layout of an image with one layer."""
    layer = Store(tmp_path / "cache").add(
        "base", "base", lambda out: Written(oci.digest(b"one"), out.write(b"one"), {"libc6": 3})
    )
    image, identity = IMAGES["operator"], Identity("0.1.0", "0.1.0", "amd64")
    config = oci.config(image, identity, [layer])
    manifest = oci.manifest(config, [layer])
    documents = {"config": config, "manifest": manifest, "index": oci.index(image, identity, manifest)}
    layout.write(tmp_path / "out" / "operator", documents, [layer], tmp_path / "cache")
    return tmp_path / "out"


def ctr(tmp_path: Path, script: str) -> list[str]:
    """Write a program that answers like `ctr`."""
    path = tmp_path / "ctr"
    path.write_text(f"#!/bin/sh\nhere={tmp_path}\n{script}\n")
    path.chmod(0o755)
    return [str(path), "-n", "k8s.io"]


KEEPS_A_LIST = """
case "$4" in
  ls) echo REF TYPE DIGEST; cat $here/list 2>/dev/null || true;;
  import) tar -xf - -C $here oci-layout && echo "localhost/gradatim/operator:0.1.0 t DIGEST" > $here/list;;
  tag) echo "$7 t DIGEST" >> $here/list;;
esac
"""


def test_an_image_is_streamed_once_and_named_by_tag_and_digest(folder: Path, tmp_path: Path) -> None:
    image = layout.read(folder / "operator")
    command = ctr(tmp_path, KEEPS_A_LIST.replace("DIGEST", image.digest))
    assert (containerd.load(folder / "operator", command), containerd.load(folder / "operator", command)) == (
        True,
        False,
    )
    assert (tmp_path / "list").read_text().split()[::3] == [image.reference, image.pinned]
    assert (tmp_path / "oci-layout").is_file()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("echo no socket >&2; exit 1", "does not answer: no socket", id="containerd is not there"),
        pytest.param('[ "$4" = ls ] || { echo disk full >&2; exit 1; }', "did not take .*disk full", id="it refuses"),
        pytest.param('[ "$4" != import ] || cat > /dev/null', "does not list it as", id="it forgets"),
    ],
)
def test_what_containerd_says_is_passed_on(folder: Path, tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        containerd.load(folder / "operator", ctr(tmp_path, script))


def test_the_list_names_layers_and_packages(folder: Path) -> None:
    shown = CliRunner().invoke(main, ["list", "--out", str(folder)])
    assert shown.exit_code == 0
    assert [line.split()[-1] for line in shown.output.splitlines() if line.endswith(("base", "libc6"))] == [
        "base",
        "libc6",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["list", "--out", "nowhere"], "nowhere holds no image: build one first", id="nothing was built"),
        pytest.param(
            ["load", "index", "--out", "nowhere", "--address", "x"], "nowhere/index holds no complete image", id="not this one"
        ),
        pytest.param(["build", "index", "--out", "x", "--source", "/"], "give one with --source", id="no checkout"),
        pytest.param(["build", "other", "--out", "x"], "'other' is not one of 'index', 'operator'", id="no such image"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code != 0
    assert message in done.output
