"""Words and hashed n-grams of words, the common ground of near-duplicates and decontamination.

Pure numpy. A text is lower-cased and split at everything that is neither letter nor digit, so that layout and punctuation do not matter.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
_WORD = re.compile(r"\w+")
_PRIME = np.uint64(0x9E3779B97F4A7C15)
MAX_VOCABULARY = 2_000_000


class Vocabulary:
    """Hashes words to 64 bits, remembering those seen; forgets when the memory grows too large."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def hashes(self, text: str) -> Hashes:
        """Return the hash of each word in order."""
        known = self._known
        if len(known) > MAX_VOCABULARY:
            known.clear()
        found = []
        for word in _WORD.findall(text.lower()):
            value = known.get(word)
            if value is None:
                value = known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
            found.append(value)
        return np.array(found, dtype=np.uint64)


def ngrams(words: Hashes, size: int) -> Hashes:
    """Return the hash of every run of `size` words; empty when there are fewer words.

    The order of words counts: the hash is a polynomial modulo 2**64.
    """
    count = len(words) - size + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    total = np.zeros(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(size):
            total = total * _PRIME + words[offset : offset + count]
    return total


def shingles(words: Hashes, size: int) -> Hashes:
    """Return the distinct n-grams of a text; a shorter text is one shingle, an empty one none."""
    if not len(words):
        return np.empty(0, dtype=np.uint64)
    return np.unique(ngrams(words, min(size, len(words))))
