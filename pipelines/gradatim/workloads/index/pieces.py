"""Cuts a file of a Dataset into pieces, so that a Dataset of any size becomes an index in bounded memory.

Used by `resolve`. A Dataset has rows and no documents, one file per split: a limit on the size of files would lose a whole split as if it were
one bad document. A piece is a row group, which a Dataset writes in bounded size, and is named by its rows: a Dataset's digest fixes those, not the
groups. What a Dataset wrote is whole in the store or damaged; where it is damaged the Run ends: nothing of it may be left out in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.files import TEXT_COLUMNS
from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.tables.parquetrows import ParquetTable


@dataclass(frozen=True, slots=True)
class Piece:
    """A row group of an opened file: `rows` of them after the first `skipped`."""

    file: SourceFile
    table: ParquetTable
    group: int
    skipped: int
    rows: int

    @property
    def name(self) -> str:
        """Which rows of its file these are."""
        return f"{self.skipped + 1}-{self.skipped + self.rows}"

    def read(self) -> bytes:
        """Return the rows as a Parquet file of their own. Raises WorkloadError Data/DataInvalid for a damaged one."""
        try:
            return self.table.group(self.group)
        except FileRejected as error:
            raise damaged(self.file, str(error)) from error


def pieces_of(file: SourceFile) -> Iterator[Piece]:
    """Yield the pieces in order. Raises WorkloadError Data/DataInvalid for a damaged file and for one without text."""
    try:
        table = ParquetTable(file.open(), file.path, file.size, ratio=math.inf)  # what is unpacked at once is bounded
    except FileRejected as error:
        raise damaged(file, str(error)) from error
    if not set(TEXT_COLUMNS) & set(table.names):
        names = ", ".join(table.names)[:300]
        raise _unusable(f"{file.location} has no column {' or '.join(TEXT_COLUMNS)} to index; it has {names}")
    skipped = 0
    for group, rows in enumerate(table.groups):
        yield Piece(file, table, group, skipped, rows)
        skipped += rows


def damaged(file: SourceFile, why: str) -> WorkloadError:
    """Return the error of a file that is not as its Dataset wrote it."""
    text = f"{file.location} of {file.size} bytes cannot be read: {why}; the Dataset's snapshot is damaged"
    return _unusable(f"{text}: remove its folder from the artifact store and rerun the Dataset")


def _unusable(text: str) -> WorkloadError:
    return WorkloadError(Failure.DATA, Reason.DATA_INVALID, text)
