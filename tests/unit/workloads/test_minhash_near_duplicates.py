"""MinHash against the exact Jaccard similarity that it estimates, and what is kept."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gradatim.workloads.tables.minhash import MinHasher, bands, keep
from gradatim.workloads.tables.ngrams import Vocabulary, ngrams, shingles


def _variants() -> list[str]:
    """A text of 400 words and copies with more and more words replaced."""
    rng = random.Random(7)
    words = [f"w{rng.randrange(5000)}" for _ in range(400)]
    out = [" ".join(words)]
    for changes in (2, 10, 30, 80, 200):
        copy = list(words)
        for place in rng.sample(range(400), changes):
            copy[place] = f"x{rng.randrange(5000)}"
        out.append(" ".join(copy))
    return out


def _jaccard(left: str, right: str, size: int) -> float:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}

    a, b = grams(left), grams(right)
    return len(a & b) / len(a | b)


def test_the_estimate_is_close_to_the_exact_similarity() -> None:
    texts = _variants()
    signatures = MinHasher(512, 3).signatures(texts)
    estimates = [float((signatures[0] == row).mean()) for row in signatures]
    exact = [_jaccard(texts[0], text, 3) for text in texts]
    assert min(exact) < 0.2
    assert max(exact) == 1.0
    assert np.abs(np.array(estimates) - np.array(exact)).max() < 0.07


def test_case_and_punctuation_do_not_matter_but_order_does() -> None:
    one, same, other = MinHasher(64, 2).signatures(
        ["The quick, brown fox!", "the QUICK brown fox", "fox brown quick the"]
    )
    assert (one == same).all()
    assert (one == other).mean() < 0.5


def test_the_first_of_a_group_stays_and_names_are_given_for_the_rest() -> None:
    base, near, *_, far = _variants()
    verdict = keep(MinHasher(128, 3).signatures([base, far, near, base, "", ""]), 0.8)
    assert verdict.tolist() == [-1, -1, 0, 0, -1, -1]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 0.95, 1.0])
@pytest.mark.parametrize("permutations", [16, 128, 512])
def test_bands_meet_pairs_at_the_threshold(permutations: int, threshold: float) -> None:
    count, rows = bands(permutations, threshold)
    assert count * rows <= permutations
    assert rows == 1 or 1 - (1 - threshold**rows) ** count >= 0.99


def test_ngrams_are_runs_in_order_and_short_texts_are_one_shingle() -> None:
    words = Vocabulary().hashes("a b c a b c")
    grams = ngrams(words, 3)
    assert (len(grams), grams[0] == grams[3], grams[0] == grams[1]) == (4, True, False)
    assert (len(shingles(words, 3)), len(shingles(words[:2], 3)), len(shingles(words[:0], 3))) == (3, 1, 0)
