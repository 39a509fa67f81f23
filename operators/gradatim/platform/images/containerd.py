"""Hand a built image to containerd, straight from its layout: no archive on disk, nothing when it is already there.

Called by the node cluster before the first pod and by `python -m gradatim.platform.images load`. It speaks through `ctr`, whose path
and socket the caller gives; it never starts or stops containerd.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gradatim.platform.images import layout as layouts
from gradatim.platform.images.errors import ImageError


def load(folder: Path, ctr: Sequence[str]) -> bool:
    """Import the image in `folder` under its tag and its digest; return whether anything was to be done.

    `ctr` is the command up to and with its namespace, such as `["ctr", "-a", socket, "-n", "k8s.io"]`. Raises ImageError with what
    containerd said when it refuses.
    """
    image = layouts.read(folder)
    if _present(image, ctr):
        return False
    _import(image, ctr)
    # A pod that pins the digest finds an image that was never pulled only under this name.
    tagged = _call([*ctr, "images", "tag", "--force", image.reference, image.pinned])
    if tagged.returncode != 0 or not _present(image, ctr):
        raise ImageError(f"containerd took {image.reference} but does not list it as {image.pinned}: {tagged.stderr}")
    return True


def _import(image: layouts.Layout, ctr: Sequence[str]) -> None:
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            [*ctr, "images", "import", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        ) as importing:
            if importing.stdin is None:
                raise ImageError("ctr cannot be written to")
            try:
                with importing.stdin as pipe:
                    layouts.stream(image, pipe)
            except BrokenPipeError:
                pass  # it ended early: its own words say why
        if importing.returncode != 0:
            said.seek(0)
            raise ImageError(
                f"containerd did not take {image.reference}: {said.read()[-2000:].decode(errors='replace')}"
            )


def _present(image: layouts.Layout, ctr: Sequence[str]) -> bool:
    done = _call([*ctr, "images", "ls"])
    if done.returncode != 0:
        raise ImageError(
            f"containerd does not answer: {done.stderr.strip()[-500:]}; is it running, is the socket right?"
        )
    rows = (line.split() for line in done.stdout.splitlines()[1:])
    known = {row[0] for row in rows if image.digest in row}
    return {image.reference, image.pinned} <= known


def _call(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(argv), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
