"""Random access to rows of Parquet files, one row group in memory at a time.

Used for what a build takes from the previous artifact, from its checkpoints, and from its own artifact when loading. Memory is bounded by
the row group and by one position per row, never by the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.workloads.store import ArtifactStore

Positions = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class ParquetRows:
    """One Parquet file of the artifact store, opened for reading by row position."""

    def __init__(self, store: ArtifactStore, path: str) -> None:
        """Open the file; raises NotFound, or ArrowInvalid for what is not Parquet."""
        self.path = path
        self._file = pq.ParquetFile(store.open_input(path))
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts: Positions = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64)
        self._held: tuple[int, tuple[str, ...]] | None = None
        self._table: pa.Table | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self._starts[-1])

    @property
    def schema(self) -> pa.Schema:
        """The schema as Arrow sees it."""
        return self._file.schema_arrow

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one whole column: for small ones only."""
        return self._file.read(columns=[name]).column(0)

    def groups(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the row groups in order."""
        for group in range(len(self._starts) - 1):
            yield self._file.read_row_group(group, columns=list(columns) if columns else None)

    def take(self, positions: Sequence[int] | Positions, columns: Sequence[str]) -> pa.Table:
        """Return the rows at these positions, in their order."""
        wanted: Positions = np.asarray(positions, dtype=np.int64)
        order = np.argsort(wanted, kind="stable")
        found: list[pa.Table] = []
        ordered = wanted[order]
        owners = np.searchsorted(self._starts, ordered, side="right") - 1
        for group in np.unique(owners):
            local = ordered[owners == group] - self._starts[group]
            found.append(self._group(int(group), tuple(columns)).take(pa.array(local)))
        empty = pa.schema([self.schema.field(name) for name in columns]).empty_table()
        table = pa.concat_tables(found) if found else empty
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return table.take(pa.array(back)).select(list(columns))

    def _group(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        if self._held != (group, columns) or self._table is None:
            self._table = self._file.read_row_group(group, columns=list(columns))
            self._held = (group, columns)
        return self._table


def vectors_of(column: pa.ChunkedArray | pa.Array) -> Vectors:
    """Return a vector column as an array of shape (rows, dimension), float32."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    dimension = array.type.list_size
    flat: Vectors = array.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, dimension)


def vector_array(vectors: Vectors) -> pa.FixedSizeListArray:
    """Return vectors of shape (rows, dimension) as a column."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


class VectorLibrary:
    """Vectors by key, gathered from several Parquet files with the columns `key` and `vector`; the first file that has a key wins."""

    def __init__(self) -> None:
        self._files: list[ParquetRows] = []
        self._where: dict[bytes, tuple[int, int]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._where

    def add(self, rows: ParquetRows, usable: npt.NDArray[np.bool_] | None = None) -> None:
        """Add a file, or those of its rows that are `usable`: reads its keys only."""
        number = len(self._files)
        self._files.append(rows)
        for position, key in enumerate(rows.column("key").to_pylist()):
            if usable is None or usable[position]:
                self._where.setdefault(key, (number, position))

    def take(self, keys: Sequence[bytes], dimension: int) -> Vectors:
        """Return the vectors, shape (keys, dimension). Raises KeyError for an unknown key."""
        found: Vectors = np.empty((len(keys), dimension), dtype=np.float32)
        by_file: dict[int, list[tuple[int, int]]] = {}
        for target, key in enumerate(keys):
            number, position = self._where[key]
            by_file.setdefault(number, []).append((target, position))
        for number, pairs in by_file.items():
            targets, positions = zip(*pairs, strict=True)
            found[list(targets)] = vectors_of(self._files[number].take(positions, ["vector"]).column(0))
        return found
