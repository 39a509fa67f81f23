"""Compares counts and cuts objects into pieces for requests.

Used by the writer for a first load, a repeated one, an update in place and for reconciling counts. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

MAX_PIECE_BYTES = 4 * 1024 * 1024
MAX_PIECE_OBJECTS = 512
_MAX_HELD = 4
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """Where an object lies: its tenant (None without tenancy) and id."""

    tenant: str | None
    id: str


@dataclass(frozen=True, slots=True)
class CountDifference:
    """A tenant whose count is not the expected one."""

    tenant: str | None
    expected: int
    found: int

    def __str__(self) -> str:
        """Return the difference as a person reads it."""
        where = "" if self.tenant is None else f"tenant {self.tenant}: "
        return f"{where}{self.found} objects instead of {self.expected}"


def count_differences(
    expected: Mapping[str | None, int], found: Mapping[str | None, int]
) -> tuple[CountDifference, ...]:
    """Return every tenant whose counts differ, in order of the tenants' names."""
    tenants = sorted({*expected, *found}, key=lambda tenant: tenant or "")
    return tuple(
        CountDifference(tenant, expected.get(tenant, 0), found.get(tenant, 0))
        for tenant in tenants
        if expected.get(tenant, 0) != found.get(tenant, 0)
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """How large one request may be; an object that is larger by itself goes alone."""

    bytes: int = MAX_PIECE_BYTES
    objects: int = MAX_PIECE_OBJECTS


def pieces(
    items: Iterable[tuple[str | None, Item, int]], limits: Limits = Limits()
) -> Iterator[tuple[str | None, list[Item]]]:
    """Cut items, given as (tenant, item, bytes), into pieces of one tenant each within both limits.

    Items of many tenants may come mixed: at most four full pieces are held at a time, the largest goes first.
    """
    held: dict[str | None, list[Item]] = {}
    sizes: dict[str | None, int] = {}
    for tenant, item, size in items:
        piece = held.get(tenant)
        if piece and (sizes[tenant] + size > limits.bytes or len(piece) >= limits.objects):
            yield tenant, held.pop(tenant)
            sizes.pop(tenant)
        held.setdefault(tenant, []).append(item)
        sizes[tenant] = sizes.get(tenant, 0) + size
        if sum(sizes.values()) > _MAX_HELD * limits.bytes:
            largest = max(sizes, key=lambda name: sizes[name])
            yield largest, held.pop(largest)
            sizes.pop(largest)
    yield from held.items()
