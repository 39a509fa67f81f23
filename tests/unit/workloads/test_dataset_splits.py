"""Splits and samples: decided by content alone, so that adding rows moves none."""

from __future__ import annotations

import hashlib

import pytest

from gradatim.api.dataset import Sampling, Splits
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.tables.dedup import Digests, as_digests
from gradatim.workloads.tables.schema import Place
from gradatim.workloads.tables.splits import by_column, by_hash, sample, split_column, unusable

FRACTIONS = Splits.model_validate(
    {"fractions": [{"name": "train", "fraction": 0.8}, {"name": "test", "fraction": 0.2}]}
)


def _hashes(texts: list[str]) -> Digests:
    return as_digests([hashlib.sha256(text.encode()).digest() for text in texts])


def _assigned(texts: list[str], splits: Splits = FRACTIONS) -> dict[str, str]:
    found = by_hash(_hashes(texts), splits)
    return {text: found.names[number] for text, number in zip(texts, found.numbers, strict=True)}


def test_fractions_are_met_and_adding_rows_in_front_moves_none() -> None:
    old = [f"row {number}" for number in range(3000)]
    before = _assigned(old)
    after = _assigned([f"new {number}" for number in range(500)] + list(reversed(old)))
    assert {text: after[text] for text in old} == before
    share = sum(split == "train" for split in before.values()) / len(before)
    assert 0.77 < share < 0.83


def test_another_seed_gives_another_split() -> None:
    texts = [f"row {number}" for number in range(200)]
    assert _assigned(texts) != _assigned(texts, FRACTIONS.model_copy(update={"seed": 1}))


def test_without_splits_all_rows_are_one() -> None:
    found = by_hash(_hashes(["a", "b"]), None)
    assert (found.names, found.numbers.tolist()) == (("all",), [0, 0])


def test_a_column_of_the_source_splits_and_bad_names_are_none() -> None:
    found = by_column("fold", [["train", "../up", None], [], ["dev", "train", "train\n"]])
    assert (found.names, found.numbers.tolist()) == (("dev", "train"), [1, -1, -1, 0, 1, -1])
    reject = unusable(Place("data", "f", 2), {"metadata.fold": "../up"})
    assert (reject.reason, reject.content) == ("BadSplit", '{"metadata.fold": "../up"}')


def test_a_split_column_that_is_not_there_or_has_too_many_values_is_refused() -> None:
    assert split_column(["text", "metadata.fold"], "fold") == "metadata.fold"
    with pytest.raises(WorkloadError, match=r"splits\.column fold is not a column; there are text"):
        split_column(["text"], "fold")
    assert len(by_column("fold", [[str(n) for n in range(64)]]).names) == 64
    with pytest.raises(WorkloadError, match="more than 64"):
        by_column("fold", [[str(n)] for n in range(65)])


def test_a_sample_keeps_its_rows_when_rows_are_added() -> None:
    def chosen(numbers: range, limit: int) -> set[int]:
        stays = sample(_hashes([str(number) for number in numbers]), Sampling(limit=limit, seed=3))
        return {number for number, keep in zip(numbers, stays, strict=True) if keep}

    small, large = chosen(range(1000), 100), chosen(range(2000), 200)
    assert len(small) == 100
    assert len(large) == 200
    assert len(small & large) > 80
    assert chosen(range(5), 10) == set(range(5))
