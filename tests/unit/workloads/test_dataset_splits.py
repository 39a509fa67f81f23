"""Splits and samples: decided by content alone, so that adding rows moves none."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest

from gradatim.api.dataset import Sampling, SchemaKind, Splits
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.tables.dedup import content_hashes
from gradatim.workloads.tables.schema import Mapper, Place, RawRow
from gradatim.workloads.tables.splits import assign, sample, unusable

FRACTIONS = Splits.model_validate(
    {"fractions": [{"name": "train", "fraction": 0.8}, {"name": "test", "fraction": 0.2}]}
)


def _table(texts: list[str], **extra: list[object]) -> pa.Table:
    mapper = Mapper(SchemaKind.TEXT)
    rows = [
        mapper.map(RawRow(Place("data", "f", n), {"text": text, **{k: v[n] for k, v in extra.items()}}), "p")
        for n, text in enumerate(texts)
    ]
    return mapper.table(rows)


def _assigned(texts: list[str], splits: Splits = FRACTIONS) -> dict[str, str | None]:
    table = _table(texts)
    found, _ = assign(table, content_hashes(table, SchemaKind.TEXT), splits)
    return dict(zip(texts, found, strict=True))


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
    table = _table(["a", "b"])
    assert assign(table, content_hashes(table, SchemaKind.TEXT), None) == (["all", "all"], ["all"])


def test_a_column_of_the_source_splits_and_bad_names_are_rejected() -> None:
    table = _table(["a", "b", "c", "d"], fold=["train", "../up", None, "dev"])
    found, names = assign(table, [b""] * 4, Splits(column="fold"))
    assert (found, names) == (["train", None, None, "dev"], ["dev", "train"])
    assert [(reject.reason, reject.place.row) for reject in unusable(table, found)] == [
        ("BadSplit", 1),
        ("BadSplit", 2),
    ]


def test_a_split_column_that_is_not_there_or_has_too_many_values_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"splits\.column fold is not a column"):
        assign(_table(["a"]), [b""], Splits(column="fold"))
    many = _table([str(n) for n in range(65)], fold=[str(n) for n in range(65)])
    with pytest.raises(WorkloadError, match="65 values, more than 64"):
        assign(many, [b""] * 65, Splits(column="fold"))


def test_a_sample_keeps_its_rows_when_rows_are_added() -> None:
    def chosen(numbers: range, limit: int) -> set[int]:
        contents = [hashlib.sha256(str(number).encode()).digest() for number in numbers]
        stays = sample(contents, Sampling(limit=limit, seed=3))
        return {number for number, keep in zip(numbers, stays, strict=True) if keep}

    small, large = chosen(range(1000), 100), chosen(range(2000), 200)
    assert len(small) == 100
    assert len(large) == 200
    assert len(small & large) > 80
    assert chosen(range(5), 10) == set(range(5))
