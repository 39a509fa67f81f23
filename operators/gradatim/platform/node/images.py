"""Container images of one layer, written without a builder, and their way into the cluster's containerd.

Used for the pause image and for operators that are one static program; the project's own large images come from `platform.images`. An
image is a pure function of its files: the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gradatim.platform.errors import PlatformError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_CHUNK = 1 << 20
_IMPORT_SECONDS = 600
# No program of ours needs more than to be somebody who is nobody.
NOBODY = "65532:65532"


class ImageImportError(PlatformError):
    """containerd did not take an image."""


@dataclass(frozen=True)
class OneLayer:
    """An image: its name, what it runs, and the files in it (path in the image without a leading slash, to file here)."""

    name: str
    entrypoint: tuple[str, ...]
    files: Mapping[str, Path]
    user: str = NOBODY
    env: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin:/bin",)
    labels: Mapping[str, str] = field(default_factory=dict)


def write_image(image: OneLayer, target: Path) -> None:
    """Write the image to `target` as a docker archive, which `import_image` and `docker load` take."""
    with tempfile.TemporaryFile(dir=target.parent) as layer:
        with tarfile.open(fileobj=layer, mode="w") as tar:
            for folder in _folders(image.files):
                tar.addfile(_member(folder, 0, 0o755, tarfile.DIRTYPE))
            for name, source in sorted(image.files.items()):
                with source.open("rb") as content:
                    tar.addfile(_member(name, source.stat().st_size, 0o755), content)
        size = layer.tell()
        diff = _digest(layer)
        config = json.dumps(_config(image, diff), sort_keys=True).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = [{"Config": config_name, "RepoTags": [image.name], "Layers": [f"{diff}/layer.tar"]}]
        with tarfile.open(target, "w") as archive:
            archive.addfile(_member(config_name, len(config)), io.BytesIO(config))
            layer.seek(0)
            archive.addfile(_member(f"{diff}/layer.tar", size), layer)
            text = json.dumps(manifest).encode()
            archive.addfile(_member("manifest.json", len(text)), io.BytesIO(text))


def import_archive(archive: Path, ctr: Sequence[str]) -> None:
    """Give a docker or OCI archive to containerd; `ctr` is the command up to and with its namespace."""
    with archive.open("rb") as content:
        done = subprocess.run(
            [*ctr, "images", "import", "-"], stdin=content, capture_output=True, text=True, check=False, timeout=_IMPORT_SECONDS
        )  # fmt: skip
    if done.returncode != 0:
        raise ImageImportError(f"containerd refuses {archive}: {done.stderr.strip()[-800:]}")


def names(ctr: Sequence[str]) -> set[str]:
    """Return the names of the images containerd has."""
    done = subprocess.run(
        [*ctr, "images", "ls", "-q"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise ImageImportError(f"containerd does not list its images: {done.stderr.strip()[-800:]}")
    return set(done.stdout.split())


def _folders(files: Mapping[str, Path]) -> list[str]:
    parents = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    # Programs such as controllers write their certificates below /tmp.
    return sorted({*parents, "tmp"})


def _member(name: str, size: int, mode: int = 0o644, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.type = size, 0o1777 if name == "tmp" else mode, kind
    return member


def _digest(content: IO[bytes]) -> str:
    content.seek(0)
    total = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        total.update(chunk)
    return total.hexdigest()


def _config(image: OneLayer, diff: str) -> dict[str, object]:
    machine = platform.machine().lower()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "User": image.user,
            "Env": list(image.env),
            "WorkingDir": "/",
            "Labels": dict(image.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
        "history": [{"created_by": "gradatim"}],
    }
