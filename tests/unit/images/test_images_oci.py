"""Configuration, manifest and layout of an image, byte for byte."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import IO

import pytest

from gradatim.platform.images import layout, oci, report
from gradatim.platform.images.catalog import IMAGES
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.layers import Store
from gradatim.platform.images.oci import Identity, Layer
from gradatim.platform.images.tarlayer import Written

IDENTITY = Identity("0.1.0", "0.1.0", "amd64", ("cpu-only",))


def put(cache: Path, content: bytes, name: str = "base") -> Layer:
    """Add a layer to a cache."""

    def write(out: IO[bytes]) -> Written:
        out.write(content)
        return Written(oci.digest(content), len(content), {"libc6": len(content)})

    return Store(cache).add(name, name, write)


def made(tmp_path: Path, image: str = "operator") -> Path:
    """Write the layout of an image with two layers."""
    layers = (put(tmp_path / "cache", b"one"), put(tmp_path / "cache", b"second", "gradatim"))
    config = oci.config(IMAGES[image], IDENTITY, layers)
    manifest = oci.manifest(config, layers)
    documents = {"config": config, "manifest": manifest, "index": oci.index(IMAGES[image], IDENTITY, manifest)}
    layout.write(tmp_path / "out" / image, documents, layers, tmp_path / "cache")
    return tmp_path / "out" / image


def test_the_operator_runs_as_its_user_and_knows_its_command() -> None:
    layer = Layer("base", "sha256:" + "0" * 64, 10, {})
    document = json.loads(oci.config(IMAGES["operator"], IDENTITY, [layer]))
    assert document["config"] == {
        "User": "10001:10001",
        "WorkingDir": "/opt/gradatim",
        "Entrypoint": ["/opt/gradatim/bin/python", "-m", "gradatim.operator"],
        "Env": [
            "HOME=/tmp",
            "LANG=C.UTF-8",
            "PATH=/opt/gradatim/bin:/usr/local/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONUNBUFFERED=1",
        ],
        "Labels": {
            "dev.gradatim.image.variant": "cpu-only",
            "org.opencontainers.image.description": "The control plane of Gradatim",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.title": "gradatim-operator",
            "org.opencontainers.image.vendor": "Gradatim",
            "org.opencontainers.image.version": "0.1.0",
        },
    }
    assert document["rootfs"] == {"type": "layers", "diff_ids": [layer.digest]}


def test_the_index_image_has_no_entrypoint_and_reports_nothing_home() -> None:
    document = json.loads(oci.config(IMAGES["index"], IDENTITY, []))["config"]
    assert "Entrypoint" not in document
    assert {"RAY_USAGE_STATS_ENABLED=0", "HF_HUB_DISABLE_TELEMETRY=1", "GX_ANALYTICS_ENABLED=False"} <= set(
        document["Env"]
    )


def test_a_layout_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder = made(tmp_path)
    image = layout.read(folder)
    assert (image.reference, image.size, [item.name for item in image.layers]) == (
        "localhost/gradatim/operator:0.1.0",
        9,
        ["base", "gradatim"],
    )
    assert oci.digest(layout.blob(folder, image.digest).read_bytes()) == image.digest


def test_the_same_layers_give_the_same_digest(tmp_path: Path) -> None:
    assert layout.read(made(tmp_path / "one")).digest == layout.read(made(tmp_path / "other")).digest


def test_layers_are_not_copied_from_the_cache(tmp_path: Path) -> None:
    image = layout.read(made(tmp_path))
    assert {layout.blob(image.folder, item.digest).stat().st_nlink for item in image.layers} == {2}


def test_the_archive_is_one_that_both_kinds_of_importers_read(tmp_path: Path) -> None:
    image = layout.read(made(tmp_path))
    out = io.BytesIO()
    layout.stream(image, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        content = {m.name: (archive.extractfile(m) or io.BytesIO()).read() for m in archive.getmembers()}
    docker = json.loads(content["manifest.json"])[0]
    index = json.loads(content["index.json"])
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == image.reference
    assert docker["RepoTags"] == [image.reference]
    assert [content[path] for path in docker["Layers"]] == [b"one", b"second"]
    assert {f"sha256:{name.rsplit('/', 1)[1]}" for name in content if name.startswith("blobs/")} == {
        oci.digest(data) for name, data in content.items() if name.startswith("blobs/")
    }


def test_an_incomplete_layout_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path)
    layout.blob(folder, layout.read(folder).layers[0].digest).unlink()
    with pytest.raises(ImageError, match="missing or truncated"):
        layout.read(folder)


def test_a_digest_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    folder = made(tmp_path)
    index = (folder / "index.json").read_text()
    (folder / "index.json").write_text(index.replace(layout.read(folder).digest, "sha256:../../../etc/passwd"))
    with pytest.raises(ImageError, match="is no sha256 digest"):
        layout.read(folder)


def test_a_layer_is_found_by_its_key_until_its_blob_is_damaged(tmp_path: Path) -> None:
    layer = put(tmp_path, b"one")
    store = Store(tmp_path)
    assert (store.find("base"), store.find("other")) == (layer, None)
    layout.blob(tmp_path, layer.digest).write_bytes(b"on")
    assert store.find("base") is None


def test_a_blob_without_record_goes_with_the_next_layer(tmp_path: Path) -> None:
    old = put(tmp_path, b"one", "")
    new = put(tmp_path, b"second")
    assert [layout.blob(tmp_path, item.digest).exists() for item in (old, new)] == [False, True]


def test_a_root_file_system_that_nobody_used_for_long_is_removed(tmp_path: Path) -> None:
    for name in ("used", "recent", "old"):
        (tmp_path / "roots" / name).mkdir(parents=True)
    for name in ("used", "old"):
        os.utime(tmp_path / "roots" / name, (1, 1))
    assert Store(tmp_path).root("used") == tmp_path / "roots" / "used"
    assert {path.name for path in (tmp_path / "roots").iterdir()} == {"used", "recent"}


def test_the_list_shows_layers_and_packages_by_size(tmp_path: Path) -> None:
    image = layout.read(made(tmp_path))
    assert report.text([image], 1).splitlines()[0] == "localhost/gradatim/operator:0.1.0  0.0 MB"
    assert report.document([image])["images"][0]["layers"][1] == {
        "name": "gradatim",
        "digest": image.layers[1].digest,
        "bytes": 6,
        "packages": {"libc6": 6},
    }
