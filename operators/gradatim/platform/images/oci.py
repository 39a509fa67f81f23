"""The JSON documents of an OCI image: configuration, manifest and index, byte for byte the same for the same input.

Called by `layout`. Pure: no clock, no files. Follows the OCI image specification 1.1; layers are uncompressed, so a layer's digest
is also its diff id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gradatim.platform.images.catalog import USER_ID, Image, reference

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# One moment for every file and image: 1980-01-01, the first that zip, and with it every wheel, can express.
EPOCH = 315_532_800


@dataclass(frozen=True)
class Layer:
    """One layer: its blob, and for readers what it holds, as bytes by package."""

    name: str
    digest: str
    size: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class Identity:
    """What an image is called and made for. `architecture` is Go's name, `variant` what was left out or added."""

    tag: str
    version: str
    architecture: str
    variant: tuple[str, ...] = ()


def encode(document: Mapping[str, Any]) -> bytes:
    """Return canonical JSON."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def digest(content: bytes) -> str:
    """Return the digest of a blob."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config(image: Image, identity: Identity, layers: Sequence[Layer]) -> bytes:
    """Return the image configuration: user, command, environment, and the layers it was made from."""
    created = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    process: dict[str, Any] = {
        "User": f"{USER_ID}:{USER_ID}",
        "WorkingDir": image.working_dir,
        "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
        "Labels": labels(image, identity),
    }
    if image.entrypoint:
        process["Entrypoint"] = list(image.entrypoint)
    if image.command:
        process["Cmd"] = list(image.command)
    return encode(
        {
            "architecture": identity.architecture,
            "os": "linux",
            "created": created,
            "config": process,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [
                {"created": created, "created_by": f"gradatim.platform.images: {item.name}"} for item in layers
            ],
        }
    )


def labels(image: Image, identity: Identity) -> dict[str, str]:
    """Return the labels; the variant is said, because its tag may not."""
    found = {
        "org.opencontainers.image.title": f"gradatim-{image.name}",
        "org.opencontainers.image.description": image.description,
        "org.opencontainers.image.licenses": image.licenses,
        "org.opencontainers.image.vendor": "Gradatim",
        "org.opencontainers.image.version": identity.version,
    }
    return found | ({"dev.gradatim.image.variant": ",".join(identity.variant)} if identity.variant else {})


def manifest(config_blob: bytes, layers: Sequence[Layer]) -> bytes:
    """Return the manifest of one image."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(config_blob), "size": len(config_blob)},
            "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
    )


def index(image: Image, identity: Identity, manifest_blob: bytes) -> bytes:
    """Return the index of a layout with one image; its annotations carry the name that importers use."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {
                    "mediaType": MANIFEST,
                    "digest": digest(manifest_blob),
                    "size": len(manifest_blob),
                    "platform": {"architecture": identity.architecture, "os": "linux"},
                    "annotations": {
                        "io.containerd.image.name": reference(image, identity.tag),
                        "org.opencontainers.image.ref.name": identity.tag,
                    },
                }
            ],
        }
    )
