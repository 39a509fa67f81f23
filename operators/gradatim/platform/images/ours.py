"""The uppermost layer: the parts of our own distribution that an image needs, taken from its wheel.

Called by `build`. The wheel holds every part; an image that carries a part it cannot use would carry imports that fail and code that
nobody watches. The metadata stays, so that the version can be asked for.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from gradatim.platform.images.environment import Filled
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.tools import Tools, run

_METADATA = ("METADATA", "WHEEL", "RECORD")


def unpack(source: Path, packages: tuple[str, ...], folder: Path, tools: Tools, env: Mapping[str, str]) -> Filled:
    """Build the wheel of a checkout and unpack the named packages. Raises ImageError when one is missing."""
    filled = Filled(folder / "site", folder / "programs")
    filled.programs.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="gradatim-wheel-") as name:
        run([str(tools.uv), "build", "--quiet", "--wheel", "--out-dir", name, str(source)], env)
        wheels = sorted(Path(name).glob("gradatim-*.whl"))
        if len(wheels) != 1:
            raise ImageError(f"uv built {len(wheels)} wheels of {source}, not one")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in selected(wheel.namelist(), packages):
                target = filled.site / member
                target.parent.mkdir(parents=True, exist_ok=True)
                content = wheel.read(member)
                target.write_bytes(record(content.decode(), packages).encode() if is_record(member) else content)
    return filled


def selected(members: Iterable[str], packages: tuple[str, ...]) -> list[str]:
    """Return the members of the wheel that belong into an image, sorted.

    Raises ImageError when a package is not in the wheel, or a name leads out of it.
    """
    names = sorted(members)
    chosen = [name for name in names if _wanted(name, packages)]
    missing = [p for p in packages if not any(name.startswith(f"gradatim/{p}/") for name in chosen)]
    if missing:
        raise ImageError(f"the wheel holds no gradatim.{missing[0]}: is this checkout complete?")
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in chosen):
        raise ImageError("the wheel names a file outside of itself")
    return chosen


def record(text: str, packages: tuple[str, ...]) -> str:
    """Return the wheel's list of files without those that stay behind: tools check an installation against it."""
    return "".join(f"{line}\n" for line in text.splitlines() if _wanted(line.split(",", 1)[0], packages))


def is_record(name: str) -> bool:
    """Whether a member is the wheel's list of files."""
    return name.endswith(".dist-info/RECORD")


def _wanted(name: str, packages: tuple[str, ...]) -> bool:
    first, _, rest = name.partition("/")
    if first == "gradatim":
        return rest.split("/", 1)[0] in packages and not name.endswith("/")
    return first.endswith(".dist-info") and (rest in _METADATA or rest.startswith("licenses/"))
