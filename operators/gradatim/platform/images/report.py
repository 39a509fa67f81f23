"""What built images hold, as text for people and as JSON for programs.

Called by the command line. Pure: it is given layouts that were read elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gradatim.platform.images.layout import Layout

_MB = 1_000_000


def document(images: Sequence[Layout]) -> dict[str, Any]:
    """Return every image with its layers and packages, in bytes."""
    return {
        "images": [
            {
                "reference": image.reference,
                "digest": image.digest,
                "bytes": image.size,
                "layers": [
                    {"name": item.name, "digest": item.digest, "bytes": item.size, "packages": dict(item.parts)}
                    for item in image.layers
                ],
            }
            for image in images
        ]
    }


def text(images: Sequence[Layout], top: int) -> str:
    """Return a table per image: its layers, then its `top` largest packages."""
    lines: list[str] = []
    for image in images:
        lines += [f"{image.reference}  {_megabytes(image.size)}", f"  {image.digest}"]
        lines += [f"  {_megabytes(item.size):>10}  layer {item.name}" for item in image.layers]
        total: Counter[str] = Counter()
        for item in image.layers:
            total.update(item.parts)
        lines += [f"  {_megabytes(size):>10}  {name}" for name, size in total.most_common(top)]
        lines.append("")
    return "\n".join(lines)


def _megabytes(size: int) -> str:
    return f"{size / _MB:,.1f} MB"
