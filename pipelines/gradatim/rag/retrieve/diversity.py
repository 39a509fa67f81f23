"""Maximal marginal relevance: chooses passages that are relevant and unlike those already chosen.

Called by the retriever when the index asks for diversity. Pure. Relevance is scaled to 0..1 over the candidates, so that it can be weighed
against the cosine similarity whatever the scores of the stage before were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def scale(scores: Sequence[float]) -> Floats:
    """Scale scores to 0..1 over their range; equal ones are all 1."""
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        return values
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.ones_like(values)
    return (values - low) / (high - low)


def mmr_order(scores: Sequence[float], vectors: npt.NDArray[np.float32], weight: float, count: int) -> list[int]:
    """Return the positions of `count` candidates in the order they are chosen.

    `vectors` has shape (candidates, dimension), any length. `weight` 1 is relevance alone, 0 is diversity alone. Ties go to the earlier
    candidate. Source: Carbonell and Goldstein, SIGIR 1998.
    """
    relevance = scale(scores)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms == 0, 1, norms)).astype(np.float64)
    nearest = np.zeros(len(relevance))
    free = np.ones(len(relevance), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(relevance))):
        value = weight * relevance - (1 - weight) * nearest
        pick = int(np.argmax(np.where(free, value, -np.inf)))
        chosen.append(pick)
        free[pick] = False
        nearest = np.maximum(nearest, unit @ unit[pick])
    return chosen
