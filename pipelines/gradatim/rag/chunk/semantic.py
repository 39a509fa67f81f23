"""Finds where the topic of a text changes, for the `semantic` strategy.

Each sentence is embedded once by the caller's encoder. Neighbouring sentences are compared as the means of two sentences on either side,
which is steadier than comparing single ones; the largest distances of the document become boundaries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gradatim.rag.chunk.levels import Layout
from gradatim.rag.chunk.packing import Level, Levels

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
SIDE = 2


def topic_changes(layout: Layout, levels: Levels, percentile: float, embed: Embed) -> NDArray[np.int64]:
    """Token indexes, ascending, before which a new topic begins."""
    cuts = np.flatnonzero(levels[:-1] >= Level.SENTENCE)
    bounds = np.unique(np.concatenate([[0], cuts, [layout.tokens]]))
    sentences = [
        layout.text[layout.starts[low] : layout.starts[high]].strip() for low, high in pairwise(bounds.tolist())
    ]
    if len(sentences) < 3:
        return np.empty(0, dtype=np.int64)
    distance = distances(np.asarray(embed(sentences), dtype=np.float32))
    threshold = np.percentile(distance, percentile)
    return bounds[1:-1][distance > threshold].astype(np.int64)


def distances(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n - 1] cosine distance between the means of up to two vectors before and after each gap of `vectors` [n, d]."""
    count = len(vectors)
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0, dtype=np.float64)])
    gaps = np.arange(1, count)
    before = sums[gaps] - sums[np.maximum(gaps - SIDE, 0)]
    after = sums[np.minimum(gaps + SIDE, count)] - sums[gaps]
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    product = np.einsum("ij,ij->i", before, after)
    return np.asarray(1.0 - product / np.maximum(lengths, 1e-12), dtype=np.float32)
