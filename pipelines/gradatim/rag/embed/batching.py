"""Plans which texts are encoded together. Pure.

Sorting over the whole block, not per small batch, is what makes padding vanish: neighbours have almost the same length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indexes of texts per batch, longest first; longest length times count stays within `budget` tokens, one text at least."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
    batches: list[list[int]] = []
    for index in order:
        if not batches or lengths[batches[-1][0]] * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(index)
    return batches


def filled(length: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-length // step) * step


def groups(lengths: Sequence[int], step: int) -> list[tuple[int, int]]:
    """(length, count) of neighbours whose length, filled up to a multiple of `step`, is equal."""
    found: list[tuple[int, int]] = []
    for exact in lengths:
        length = filled(exact, step)
        if found and found[-1][0] == length:
            found[-1] = (length, found[-1][1] + 1)
        else:
            found.append((length, 1))
    return found
