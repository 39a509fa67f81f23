"""Words and hashed n-grams of words, the common ground of near-duplicates and decontamination.

Pure numpy. Case, layout, punctuation and the Unicode form of a text do not matter. Where a script puts no spaces between words, each of its
characters is one: telling its words apart takes a dictionary, and a whole clause is never met twice.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
# All that may come to letters, digits or marks, and some that does not: what is between two spaces is looked up before it is taken apart.
_RUN = re.compile(r"[\w\u0300-\u1fff\u2070-\u24ff\u2c00-\U0010ffff]+")
# Thai and Lao, Myanmar, Khmer, kana, Han, each with its extensions.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff\U0001aff0-\U0001b16f"
    r"\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Normalising puts the marks on a letter in order, in quadratic time; no language has thirty. Two letters, of half width, become marks.
_PILE = re.compile(r"([\W\uff9e\uff9f]{30})[\W\uff9e\uff9f]+")
_PRIME = np.uint64(0x9E3779B97F4A7C15)
MAX_VOCABULARY = 2_000_000
MAX_CHARACTERS = 100_000


class Vocabulary:
    """Hashes words to 64 bits, remembering how those seen were written; forgets when the memory grows too large."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def hashes(self, text: str) -> Hashes:
        """Return the hash of each word in order."""
        known = self._known
        if len(known) > MAX_VOCABULARY:
            known.clear()
        found: list[int] = []
        for run in _RUN.findall(text):
            value = known.get(run)
            if value is not None:
                found.append(value)
                continue
            own = [_hash(word) for word in _words(run)]
            if len(own) == 1:  # more are a clause without spaces, which hardly comes again
                known[run] = own[0]
            found += own
        return np.array(found, dtype=np.uint64)


def _words(run: str) -> list[str]:
    """Return the words of a run in the one form that all ways to write them share."""
    if run.isascii():
        return [run.lower()]
    folded = unicodedata.normalize("NFKC", _PILE.sub(r"\1", run)).casefold()
    words: list[str] = _word().findall(
        unicodedata.normalize("NFKC", folded)
    )  # folding may take a letter and its mark apart
    return words


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    """Return what a word looks like: one character of an unspaced script, or letters and digits; the marks on them belong to it.

    Made when it is needed, since the marks have to be looked for. Those beyond 16 bits would be compared one by one with what follows any word.
    """
    marks = [chr(code) for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))]
    marks = [character for character in marks if unicodedata.category(character).startswith("M")]
    near = "".join(character for character in marks if ord(character) < 0x10000)
    far = "".join(character for character in marks if ord(character) >= 0x10000)
    mark = rf"(?:[{near}]|(?=[\U00010000-\U0010ffff])[{far}])"
    letters = rf"[^\W{_UNSPACED}]*"
    return re.compile(rf"(?=[{_UNSPACED}])\w{mark}*|\w{letters}(?:{mark}+{letters})*")


@lru_cache(maxsize=MAX_CHARACTERS)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


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
