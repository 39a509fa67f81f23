"""Finds rows that share a run of words with an evaluation set, so that a score is earned and not remembered.

Pure. A text of the evaluation set that is shorter than the n-gram counts only when a row is that text as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradatim.workloads.tables.ngrams import Hashes, Vocabulary, ngrams


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The hashed n-grams of one evaluation set, sorted, and its short texts as a whole."""

    name: str
    size: int
    grams: Hashes
    short: frozenset[int]


def evaluation_set(name: str, size: int, entries: Iterable[str]) -> EvaluationSet:
    """Hash the texts of an evaluation set."""
    vocabulary = Vocabulary()
    grams: list[Hashes] = []
    short: set[int] = set()
    for entry in entries:
        words = vocabulary.hashes(entry)
        if len(words) >= size:
            grams.append(np.unique(ngrams(words, size)))
        elif len(words):
            short.add(_whole(words))
    joined = np.unique(np.concatenate(grams)) if grams else np.empty(0, dtype=np.uint64)
    return EvaluationSet(name, size, joined, frozenset(short))


def hits(texts: Iterable[str], sets: Sequence[EvaluationSet]) -> npt.NDArray[np.int8]:
    """Return, per text, the number of the first set that it shares words with, or -1."""
    vocabulary = Vocabulary()
    found = []
    for text in texts:
        words = vocabulary.hashes(text)
        found.append(next((number for number, item in enumerate(sets) if _touches(words, item)), -1))
    return np.array(found, dtype=np.int8)


def _touches(words: Hashes, item: EvaluationSet) -> bool:
    if item.short and len(words) < item.size and _whole(words) in item.short:
        return True
    if not len(item.grams):
        return False
    own = ngrams(words, item.size)
    if not len(own):
        return False
    positions = np.minimum(np.searchsorted(item.grams, own), len(item.grams) - 1)
    return bool((item.grams[positions] == own).any())


def _whole(words: Hashes) -> int:
    return int(ngrams(words, len(words))[0])
