"""The tree of an image that holds one static program: the program, a user, a place for temporary files.

Called by `build`. There is no shell and no library in it, so that nothing needs updates but the program.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gradatim.platform.images.rootfs import USER_LINES


def fill(folder: Path, program: Path, target: str) -> None:
    """Fill an empty folder; `target` is the program's path in the image, without leading slash."""
    for name, line in USER_LINES.items():
        file = folder / "etc" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(line)
        file.chmod(0o644)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    place = folder / target
    place.parent.mkdir(parents=True)
    shutil.copyfile(program, place)
    for path in (*folder.iterdir(), place):
        if path.name != "tmp":
            path.chmod(0o755)
