"""MinHash signatures and locality-sensitive hashing: finds texts that share most of their word shingles.

Pure numpy, no clock and no global randomness: the permutations come from a fixed seed, so two runs agree. `keep` decides in the order of the
rows, which makes the first of a group stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradatim.workloads.tables.ngrams import Hashes, Vocabulary, shingles

Signatures = npt.NDArray[np.uint32]
_SEED = 20_240_607
_BATCH_SHINGLES = 200_000
_RECALL = 0.99
EMPTY = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class MinHasher:
    """Hashes sets of shingles to signatures of `permutations` numbers."""

    permutations: int
    shingle: int

    def signatures(self, texts: Sequence[str]) -> Signatures:
        """Return one signature per text, shape (texts, permutations); a text without words has only `EMPTY`."""
        vocabulary = Vocabulary()
        out = np.full((len(texts), self.permutations), EMPTY, dtype=np.uint32)
        batch: list[Hashes] = []
        numbers: list[int] = []
        for number, text in enumerate(texts):
            found = shingles(vocabulary.hashes(text), self.shingle)
            if len(found):
                batch.append(found)
                numbers.append(number)
            if sum(map(len, batch[-1:])) > _BATCH_SHINGLES or len(batch) >= 1000:
                out[numbers] = self._minima(batch)
                batch, numbers = [], []
        if batch:
            out[numbers] = self._minima(batch)
        return out

    def _minima(self, batch: list[Hashes]) -> Signatures:
        """Multiply-shift hashing: the upper half of a*x+b modulo 2**64 is close to universal and needs no division."""
        random = np.random.default_rng(_SEED)
        factors = random.integers(0, 2**63, self.permutations, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        offsets = random.integers(0, 2**63, self.permutations, dtype=np.uint64)
        values = np.concatenate(batch)
        starts = np.cumsum([0, *map(len, batch[:-1])])
        out = np.empty((len(batch), self.permutations), dtype=np.uint32)
        for number in range(self.permutations):
            hashed = (values * factors[number] + offsets[number]) >> np.uint64(32)
            out[:, number] = np.minimum.reduceat(hashed, starts).astype(np.uint32)
        return out


def bands(permutations: int, threshold: float) -> tuple[int, int]:
    """Return (bands, rows per band) with the most rows at which a pair at the threshold still meets with probability 0.99."""
    for rows in range(permutations, 1, -1):
        count = permutations // rows
        if 1 - (1 - threshold**rows) ** count >= _RECALL:
            return count, rows
    return permutations, 1


def keep(signatures: Signatures, threshold: float, check: Callable[[], None] = lambda: None) -> npt.NDArray[np.int64]:
    """Return, per row, -1 when it stays or the number of the kept row before it that it repeats.

    A row repeats another when the share of equal signature numbers, the estimate of their Jaccard similarity, reaches the threshold.
    """
    count, width = bands(signatures.shape[1], threshold)
    buckets: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(count)]
    verdict = np.full(len(signatures), -1, dtype=np.int64)
    blank = (signatures == EMPTY).all(axis=1)
    for row in range(len(signatures)):
        if row % 1000 == 0:
            check()
        if blank[row]:
            continue
        keys = [signatures[row, band * width : (band + 1) * width].tobytes() for band in range(count)]
        candidates = sorted({other for band, key in enumerate(keys) for other in buckets[band].get(key, ())})
        if candidates:
            similar = (signatures[candidates] == signatures[row]).mean(axis=1) >= threshold
            if similar.any():
                verdict[row] = candidates[int(similar.argmax())]
                continue
        for band, key in enumerate(keys):
            buckets[band][key].append(row)
    return verdict
