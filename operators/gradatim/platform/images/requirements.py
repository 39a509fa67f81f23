"""The locked requirements of one image: parse what uv exports, leave out what a variant does not want, group into layers.

Called by `environment`. Pure. Hashes are carried through untouched: what is installed is what the lock file pins, or nothing is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gradatim.platform.images.errors import ImageError

_LINE = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")
_SEPARATORS = re.compile(r"[-_.]+")
# Big, and changed by nothing but an upgrade of torch: a layer of their own is pulled once and shared by later releases.
_ACCELERATOR = re.compile(r"^(torch|triton|cuda-.*|nvidia-.*)$")


@dataclass(frozen=True)
class Requirement:
    """One pinned distribution; `text` is its exported form with marker and hashes."""

    name: str
    version: str
    text: str


def normal(name: str) -> str:
    """Return the name of a distribution in the one spelling that can be compared."""
    return _SEPARATORS.sub("-", name).lower()


def parse(exported: str) -> tuple[Requirement, ...]:
    """Return the requirements of `uv export`, in its order.

    Raises ImageError for a line that is not a pinned distribution with a hash: such a line could install anything.
    """
    joined = exported.replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        text = " ".join(line.split("#", 1)[0].split())
        if not text:
            continue
        match = _LINE.match(text)
        if not match or "--hash=sha256:" not in text:
            raise ImageError(
                f"the lock file exports '{text[:80]}', which is not pinned by version and hash: lock again"
            )
        found.append(Requirement(normal(match["name"]), match["version"], text))
    return tuple(found)


def without(requirements: Iterable[Requirement], names: frozenset[str]) -> tuple[Requirement, ...]:
    """Return the requirements but the named ones."""
    return tuple(item for item in requirements if item.name not in names)


def only(requirements: Iterable[Requirement], name: str) -> tuple[Requirement, ...]:
    """Return the one named requirement. Raises ImageError when the lock file does not pin it."""
    found = tuple(item for item in requirements if item.name == normal(name))
    if not found:
        raise ImageError(f"the lock file does not pin {name}: lock again")
    return found


def accelerator(requirement: Requirement) -> bool:
    """Whether a requirement belongs to the layer of torch and what it links."""
    return bool(_ACCELERATOR.match(requirement.name))


def split(
    requirements: Iterable[Requirement], first: Callable[[Requirement], bool]
) -> tuple[tuple[Requirement, ...], tuple[Requirement, ...]]:
    """Return those for which `first` holds, and the others."""
    items = tuple(requirements)
    return tuple(item for item in items if first(item)), tuple(item for item in items if not first(item))


def render(requirements: Iterable[Requirement]) -> str:
    """Return a requirements file."""
    return "".join(f"{item.text}\n" for item in requirements)


def digest(requirements: Iterable[Requirement]) -> str:
    """Return what changes with any pin, marker or hash, and with nothing else."""
    return hashlib.sha256(render(sorted(requirements, key=lambda item: item.text)).encode()).hexdigest()


def refuse(requirements: Iterable[Requirement], forbidden: frozenset[str], image: str) -> None:
    """Raise ImageError when an image would hold a distribution that it must not."""
    wrong = sorted(item.name for item in requirements if item.name in forbidden)
    if wrong:
        raise ImageError(
            f"the {image} image would hold {', '.join(wrong)}: take them out of its extra in pyproject.toml"
        )
