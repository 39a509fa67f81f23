"""Chooses a sample and the split of each row by hash of the row's content.

Pure. A row's split depends on nothing but its content and the seed, so adding rows moves none; with several equal rows all go the same way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gradatim.api.dataset import Sampling, Splits
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.tables.reader import place_of, row_content
from gradatim.workloads.tables.schema import Reject, resolve_column

ALL = "all"
MAX_SPLITS = 64
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


def position(content: bytes, seed: int, purpose: str) -> float:
    """Return a number in [0, 1) that depends on a row's content hash, the seed and the purpose only."""
    digest = hashlib.sha256(f"{purpose}:{seed}:".encode() + content).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def sample(contents: Sequence[bytes], sampling: Sampling | None) -> npt.NDArray[np.bool_]:
    """Return which rows are in the sample: those with the lowest positions."""
    chosen = np.ones(len(contents), dtype=bool)
    if sampling is None or sampling.limit is None or len(contents) <= sampling.limit:
        return chosen
    order = np.argsort([position(content, sampling.seed, "sample") for content in contents], kind="stable")
    chosen[order[sampling.limit :]] = False
    return chosen


def assign(table: pa.Table, contents: Sequence[bytes], splits: Splits | None) -> tuple[list[str | None], list[str]]:
    """Return each row's split (None: its column has no usable name) and all split names in order.

    Raises WorkloadError User/InvalidSpec for a column that does not exist or has more than 64 values.
    """
    if splits is None:
        return [ALL] * table.num_rows, [ALL]
    if splits.column is not None:
        return _by_column(table, splits.column)
    names = [split.name for split in splits.fractions]
    edges = np.cumsum([split.fraction for split in splits.fractions])[:-1]
    places = [position(content, splits.seed, "split") for content in contents]
    numbers = np.searchsorted(edges, places, side="right")
    return [names[number] for number in numbers], names


def unusable(table: pa.Table, found: Sequence[str | None]) -> list[Reject]:
    """Return the rejects for rows without a split."""
    rows = table.filter(pa.array([name is None for name in found], pa.bool_())).to_pylist()
    text = "its split is not a name of letters, digits, dots and hyphens"
    return [Reject(place_of(row), "BadSplit", text, row_content(row)) for row in rows]


def _by_column(table: pa.Table, wanted: str) -> tuple[list[str | None], list[str]]:
    column = resolve_column(table.column_names, wanted)
    if column is None:
        text = f"splits.column {wanted} is not a column; there are {', '.join(table.column_names[:20])}"
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, text)
    values = [str(value) if value is not None else "" for value in table.column(column).to_pylist()]
    found = [value if _NAME.match(value) else None for value in values]
    names = sorted({value for value in found if value is not None})
    if len(names) > MAX_SPLITS:
        text = f"splits.column {wanted} has {len(names)} values, more than {MAX_SPLITS} splits"
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, text)
    return found, names
