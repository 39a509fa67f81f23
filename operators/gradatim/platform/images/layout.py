"""The OCI image layout on disk: written with links to the cache's blobs, read back, and streamed as one archive.

Called by `build`, `containerd` and `report`. A layout is replaced in one rename, so that a reader sees the old image or the new one.
Reading trusts nothing: digests name files, so they are checked to be digests.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gradatim.platform.images import oci
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.oci import Layer
from gradatim.platform.images.tarlayer import Outlet, archive_of

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LIST = "contents.json"


@dataclass(frozen=True)
class Layout:
    """One image in a folder: its name, the digest a pod pins, and its layers."""

    folder: Path
    reference: str
    digest: str
    layers: tuple[Layer, ...]

    @property
    def pinned(self) -> str:
        """The name by which a ComputeProfile pins the image."""
        return f"{self.reference.rsplit(':', 1)[0]}@{self.digest}"

    @property
    def size(self) -> int:
        """Bytes of all layers; nothing is compressed."""
        return sum(layer.size for layer in self.layers)


def blob(folder: Path, digest: str) -> Path:
    """Return where a blob lies. Raises ImageError for what is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise ImageError(f"{folder}: '{digest[:80]}' is no sha256 digest; build the image again")
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def write(target: Path, documents: Mapping[str, bytes], layers: Sequence[Layer], cache: Path) -> None:
    """Make `target` the layout of an image: `documents` are its config, manifest and index, its layers are linked from the cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        (partial / "blobs" / "sha256").mkdir(parents=True)
        for name in ("config", "manifest"):
            blob(partial, oci.digest(documents[name])).write_bytes(documents[name])
        for layer in layers:
            _link(blob(cache, layer.digest), blob(partial, layer.digest))
        (partial / "oci-layout").write_bytes(oci.encode({"imageLayoutVersion": "1.0.0"}))
        (partial / "index.json").write_bytes(documents["index"])
        (partial / _LIST).write_text(json.dumps([vars(layer) for layer in layers], indent=1, default=dict))
        partial.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def read(folder: Path) -> Layout:
    """Return the image in a folder. Raises ImageError when there is none, or it is incomplete."""
    try:
        entry = json.loads((folder / "index.json").read_bytes())["manifests"][0]
        manifest = json.loads(blob(folder, entry["digest"]).read_bytes())
        names = {item["digest"]: item for item in json.loads((folder / _LIST).read_bytes())}
        layers = tuple(
            Layer(names[item["digest"]]["name"], item["digest"], item["size"], names[item["digest"]]["parts"])
            for item in manifest["layers"]
        )
        name = entry["annotations"]["io.containerd.image.name"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ImageError(f"{folder} holds no complete image ({error}): build it first") from error
    for layer in layers:
        path = blob(folder, layer.digest)
        if not path.is_file() or path.stat().st_size != layer.size:
            raise ImageError(f"{path} is missing or truncated: build the image again")
    return Layout(folder, name, entry["digest"], layers)


def stream(layout: Layout, out: IO[bytes]) -> None:
    """Write the layout as one uncompressed archive, which containerd, podman, skopeo and Docker read.

    `manifest.json` in it is for `docker load`, which knows only the older form on most machines.
    """
    index = json.loads((layout.folder / "index.json").read_bytes())
    manifest = json.loads(blob(layout.folder, layout.digest).read_bytes())
    config = manifest["config"]["digest"]
    with archive_of(Outlet(out)) as archive:
        _bytes(archive, "oci-layout", oci.encode({"imageLayoutVersion": "1.0.0"}))
        _bytes(archive, "index.json", oci.encode(index))
        _bytes(archive, "manifest.json", _docker(layout, config))
        for digest in (layout.digest, config, *dict.fromkeys(layer.digest for layer in layout.layers)):
            path = blob(layout.folder, digest)
            member = _plain(path.relative_to(layout.folder).as_posix(), path.stat().st_size)
            with path.open("rb") as content:
                archive.addfile(member, content)


def _docker(layout: Layout, config: str) -> bytes:
    def path(digest: str) -> str:
        return blob(Path(), digest).as_posix()

    document: list[dict[str, Any]] = [
        {
            "Config": path(config),
            "RepoTags": [layout.reference],
            "Layers": [path(item.digest) for item in layout.layers],
        }
    ]
    return json.dumps(document, sort_keys=True).encode()


def _bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_plain(name, len(content)), io.BytesIO(content))


def _plain(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, oci.EPOCH, 0o644
    return member
