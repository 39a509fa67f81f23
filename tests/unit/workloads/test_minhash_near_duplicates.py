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


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param("caf\u00e9 \u01f0", "CAFE\u0301 J\u030c", id="composed and decomposed"),
        pytest.param("Stra\u00dfe", "STRASSE", id="case that changes letters"),
        pytest.param("\uff21\uff22\uff23 \ufb01t 5\u338f", "abc fit 5kg", id="width, ligatures and signs"),
        pytest.param("\uff76\uff9e\u30d1", "\u30ab\u3099\u30cf\u309a", id="kana of half width"),
        pytest.param(
            "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165", id="Hangul and its parts"
        ),
        pytest.param("\u2764\ufe0f go\u2192on", "go on", id="signs with marks are no words"),
    ],
)
def test_the_form_of_a_text_does_not_matter(left: str, right: str) -> None:
    assert Vocabulary().hashes(left).tolist() == Vocabulary().hashes(right).tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("hello, w\u00f6rld_1", ["hello", "w\u00f6rld_1"], id="Latin"),
        pytest.param(
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902", ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u092e\u0947\u0902"], id="Hindi"
        ),
        pytest.param("\u6211\u4eec\u3002\u5b66abc\u4e60\U00020000", [*"\u6211\u4eec\u5b66", "abc", *"\u4e60\U00020000"], id="Chinese"),
        pytest.param("\u304b\u3099\u30ad\u30fc", [*"\u304c\u30ad\u30fc"], id="Japanese"),
        pytest.param("\u0e01\u0e02\u0e35\u0e48\u0e17", ["\u0e01", "\u0e02\u0e35\u0e48", "\u0e17"], id="Thai"),
        pytest.param("\U00011013\U00011038\U00011013", ["\U00011013\U00011038\U00011013"], id="marks beyond 16 bits"),
    ],
)  # fmt: skip
def test_marks_belong_to_words_and_unspaced_characters_are_words(text: str, words: list[str]) -> None:
    each = Vocabulary()
    assert each.hashes(text).tolist() == [int(each.hashes(word)[0]) for word in words]
    assert len(each.hashes(text)) == len(words)


def test_long_clauses_of_unspaced_scripts_that_differ_a_little_are_near_duplicates() -> None:
    clause = "".join(map(chr, range(0x4E00, 0x4E80)))
    one, other = MinHasher(128, 5).signatures([clause, clause[:60] + "\u9fa0" + clause[61:]])
    assert (one == other).mean() > 0.8


@pytest.mark.parametrize("pile", ["\u0301\u0327", "\uff9e\u0301"], ids=["marks", "marks of half width"])
def test_piles_of_marks_take_linear_time(pile: str) -> None:
    assert len(Vocabulary().hashes("a" + pile * 100_000 + " b")) >= 2


def test_ngrams_are_runs_in_order_and_short_texts_are_one_shingle() -> None:
    words = Vocabulary().hashes("a b c a b c")
    grams = ngrams(words, 3)
    assert (len(grams), grams[0] == grams[3], grams[0] == grams[1]) == (4, True, False)
    assert (len(shingles(words, 3)), len(shingles(words[:2], 3)), len(shingles(words[:0], 3))) == (3, 1, 0)
