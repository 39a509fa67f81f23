"""Percentile bootstrap over queries: how far a mean, or the difference of two systems, may be chance.

Seeded, so that a report can be reproduced. Resampling draws how often each query occurs (a multinomial), which makes a sample's mean one
matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradatim.rag.metrics.ranking import MetricsError

SAMPLES = 2000
BLOCK_CELLS = 4_000_000  # counts held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean difference of two systems over the same queries. `p_value` is two-sided: small means unlikely to be chance."""

    interval: Interval
    p_value: float


def interval(values: ArrayLike, *, confidence: float = 0.95, samples: int = SAMPLES, seed: int = 0) -> Interval:
    """Bootstrap interval of the mean of per-query scores [n]. Raises MetricsError for no scores or scores that are not finite."""
    scores = _checked(values, confidence, samples)
    return _interval(scores, _means(scores, samples, seed), confidence)


def paired_difference(
    first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95, samples: int = SAMPLES, seed: int = 0
) -> Difference:
    """Bootstrap interval of mean(first - second), scores of the same queries in the same order, both [n]."""
    left, right = _checked(first, confidence, samples), _checked(second, confidence, samples)
    if left.shape != right.shape:
        raise MetricsError(f"{len(left)} scores cannot be paired with {len(right)}; score the same queries")
    means = _means(left - right, samples, seed)
    beyond = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    return Difference(_interval(left - right, means, confidence), min(1.0, 2 * (beyond + 1) / (samples + 1)))


def _checked(values: ArrayLike, confidence: float, samples: int) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise MetricsError("an interval needs a list of at least one finite score")
    if not 0 < confidence < 1 or samples < 1:
        raise MetricsError(
            f"confidence {confidence} with {samples} samples; use a share below 1 and at least one sample"
        )
    return scores


def _means(scores: NDArray[np.float64], samples: int, seed: int) -> NDArray[np.float64]:
    """[samples] means of resampled scores."""
    generator = np.random.default_rng(seed)
    count = len(scores)
    share = np.full(count, 1 / count)
    block = max(1, BLOCK_CELLS // count)
    parts = [
        generator.multinomial(count, share, size=min(block, samples - done)) @ scores
        for done in range(0, samples, block)
    ]
    return np.concatenate(parts) / count


def _interval(scores: NDArray[np.float64], means: NDArray[np.float64], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(scores.mean()), float(low), float(high))
