"""Chooses a sample and the split of each row by hash of the row's content.

Pure. A row's split depends on nothing but its content and the seed, so adding rows moves none; with several equal rows all go the same way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gradatim.api.dataset import Sampling, Splits
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.tables.dedup import Digests
from gradatim.workloads.tables.rejects import row_content
from gradatim.workloads.tables.schema import Place, Reject, resolve_column

ALL = "all"
MAX_SPLITS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def position(content: bytes, seed: int, purpose: str) -> float:
    """Return a number in [0, 1) that depends on a row's content hash, the seed and the purpose only."""
    digest = hashlib.sha256(f"{purpose}:{seed}:".encode() + content).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def positions(hashes: Digests, seed: int, purpose: str) -> npt.NDArray[np.float64]:
    """Return the position of every row."""
    return np.fromiter((position(row.tobytes(), seed, purpose) for row in hashes), dtype=np.float64, count=len(hashes))


def sample(hashes: Digests, sampling: Sampling | None) -> npt.NDArray[np.bool_]:
    """Return which rows are in the sample: those with the lowest positions."""
    chosen = np.ones(len(hashes), dtype=bool)
    if sampling is None or sampling.limit is None or len(hashes) <= sampling.limit:
        return chosen
    order = np.argsort(positions(hashes, sampling.seed, "sample"), kind="stable")
    chosen[order[sampling.limit :]] = False
    return chosen


@dataclass(frozen=True, slots=True)
class Assignment:
    """Names of the splits in order, and the number of each row's split; -1: its column has no usable name."""

    names: tuple[str, ...]
    numbers: npt.NDArray[np.int16]


def by_hash(hashes: Digests, splits: Splits | None) -> Assignment:
    """Assign rows to fractions by their content; without splits all rows are one."""
    if splits is None:
        return Assignment((ALL,), np.zeros(len(hashes), dtype=np.int16))
    names = tuple(split.name for split in splits.fractions)
    edges = np.cumsum([split.fraction for split in splits.fractions])[:-1]
    places = positions(hashes, splits.seed, "split")
    return Assignment(names, np.searchsorted(edges, places, side="right").astype(np.int16))


def by_column(wanted: str, blocks: Iterable[Sequence[object]]) -> Assignment:
    """Assign rows by the values of a column, block by block. Raises WorkloadError User/InvalidSpec for more than 64 names."""
    known: dict[str, int] = {}
    parts = [np.empty(0, dtype=np.int16)]
    for values in blocks:
        found = []
        for value in values:
            name = str(value) if value is not None else ""
            found.append(known.setdefault(name, len(known)) if _NAME.fullmatch(name) else -1)
            if len(known) > MAX_SPLITS:
                text = f"splits.column {wanted} has more than {MAX_SPLITS} values, each of which would be a split"
                raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, text)
        parts.append(np.array(found, dtype=np.int16))
    names = tuple(sorted(known))
    order = np.array([names.index(name) for name in known] + [-1], dtype=np.int16)  # the last one is what -1 finds
    return Assignment(names, order[np.concatenate(parts)])


def split_column(names: Sequence[str], wanted: str) -> str:
    """Return the column that `splits.column` means. Raises WorkloadError User/InvalidSpec where there is none."""
    column = resolve_column(names, wanted)
    if column is None:
        text = f"splits.column {wanted} is not a column; there are {', '.join(names[:20])}"
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, text)
    return column


def unusable(place: Place, row: dict[str, Any]) -> Reject:
    """Return the reject for a row without a split."""
    return Reject(place, "BadSplit", "its split is not a name of letters, digits, dots and hyphens", row_content(row))
