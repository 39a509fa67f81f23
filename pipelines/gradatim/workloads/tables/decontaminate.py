"""Drops rows that share a run of words with an evaluation set, so that a score is earned and not remembered.

Pure. A text of the evaluation set that is shorter than the n-gram counts only when a row is that text as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gradatim.api.dataset import SchemaKind
from gradatim.workloads.tables.dedup import texts
from gradatim.workloads.tables.ngrams import Hashes, Vocabulary, ngrams
from gradatim.workloads.tables.reader import place_of
from gradatim.workloads.tables.schema import LOCATORS, Reject


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


def decontaminate(
    table: pa.Table, kind: SchemaKind, sets: list[EvaluationSet], check: Callable[[], None] = lambda: None
) -> tuple[pa.Table, list[Reject]]:
    """Return the rows that share nothing with any of the sets, and those that do with the set's name."""
    vocabulary = Vocabulary()
    found: dict[int, str] = {}
    for number, text in enumerate(texts(table, kind) if sets else ()):
        if number % 1000 == 0:
            check()
        words = vocabulary.hashes(text)
        name = next((item.name for item in sets if _touches(words, item)), None)
        if name is not None:
            found[number] = name
    if not found:
        return table, []
    rows = table.select(list(LOCATORS)).take(pa.array(list(found))).to_pylist()
    rejects = [
        Reject(place_of(row), "Contaminated", f"shares words with the evaluation set {name}")
        for row, name in zip(rows, found.values(), strict=True)
    ]
    stays = np.ones(table.num_rows, dtype=bool)
    stays[list(found)] = False
    return table.filter(pa.array(stays)), rejects


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
