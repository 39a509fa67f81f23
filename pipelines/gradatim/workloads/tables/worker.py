"""What is done with the rows of one block: judge, hash, sign, compare, digest. Lives in this process or in a Ray actor.

Used by the `validate` workload through `workloads.executor`. Every method takes one picklable input and gives one picklable result; none touches
the store or the network, and nothing is kept between blocks.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gradatim.api.dataset import NearDedup, SchemaKind
from gradatim.workloads.executor import Place
from gradatim.workloads.expectations.blocks import BlockVerdicts, Plan, judge_block
from gradatim.workloads.tables.decontaminate import EvaluationSet, hits
from gradatim.workloads.tables.dedup import Digests, as_digests, content_hashes, texts
from gradatim.workloads.tables.minhash import MinHasher, Signatures
from gradatim.workloads.tables.rows import RawBlock
from gradatim.workloads.tables.schema import REQUIRED

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a worker must know: the columns of all rows and what is asked of them."""

    kind: SchemaKind
    schema: pa.Schema
    plan: Plan
    sets: tuple[EvaluationSet, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the first pass says about a block, one entry per row; 0 stands for no row number or page."""

    verdicts: BlockVerdicts
    empty: Mask
    hashes: Digests
    row: npt.NDArray[np.int64]
    page: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A block and which of its rows are asked about."""

    block: RawBlock
    mask: Mask


@dataclass(frozen=True, slots=True)
class Written:
    """The digest of each chosen row, and its length as JSON."""

    digests: Digests
    lengths: npt.NDArray[np.int64]


class RowWorker:
    """Does the passes over blocks."""

    def __init__(self, recipe: Recipe, place: Place) -> None:
        del place  # one thread suits this work
        self._recipe = recipe

    def judge(self, block: RawBlock) -> Seen:
        """Judge a block and hash the content of its rows."""
        recipe = self._recipe
        table = block.table(recipe.schema)
        verdicts = judge_block(recipe.plan, table, first=block.start == 0)
        required = [pc.is_null(table.column(name)) for name in REQUIRED[recipe.kind]]
        empty = functools.reduce(pc.or_, required).to_numpy()
        numbers = [pc.fill_null(table.column(name), 0).to_numpy() for name in ("row", "page")]
        return Seen(verdicts, empty, content_hashes(table, recipe.kind), *numbers)

    def sign(self, wanted: tuple[Chosen, NearDedup]) -> Signatures:
        """Return the MinHash signatures of the chosen rows."""
        chosen, near = wanted
        return MinHasher(near.permutations, near.shingle).signatures(self._texts(chosen))

    def compare(self, chosen: Chosen) -> npt.NDArray[np.int8]:
        """Return, per chosen row, the number of the evaluation set it shares words with, or -1."""
        return hits(self._texts(chosen), self._recipe.sets)

    def column(self, wanted: tuple[Chosen, str]) -> list[Any]:
        """Return the values of a column for the chosen rows."""
        chosen, name = wanted
        values: list[Any] = self._table(chosen).column(name).to_pylist()
        return values

    def digest(self, chosen: Chosen) -> Written:
        """Digest the chosen rows. Columns that a row lacks do not count, so a new empty column changes nothing."""
        digests, lengths = [], []
        for row in self._table(chosen).to_pylist():
            text = json.dumps({k: v for k, v in row.items() if v is not None}, sort_keys=True, ensure_ascii=False)
            data = text.encode()
            digests.append(hashlib.sha256(data).digest())
            lengths.append(len(data))
        return Written(as_digests(digests), np.array(lengths, dtype=np.int64))

    def _texts(self, chosen: Chosen) -> list[str]:
        return texts(self._table(chosen), self._recipe.kind)

    def _table(self, chosen: Chosen) -> pa.Table:
        return chosen.block.table(self._recipe.schema).filter(pa.array(chosen.mask))
