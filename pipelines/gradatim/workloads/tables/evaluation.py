"""The texts of an evaluation set, whatever its columns are called: every text of every row, and whole documents.

Used for decontamination only. Rows are read without a schema, because an evaluation set is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gradatim.api.dataset import DataFormat
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources import FileRejected, Listing
from gradatim.workloads.tables.csvrows import read_csv
from gradatim.workloads.tables.documents import document_options, read_document
from gradatim.workloads.tables.formats import format_of
from gradatim.workloads.tables.jsonl import read_jsonl
from gradatim.workloads.tables.parquetrows import read_parquet
from gradatim.workloads.tables.schema import RawRow, Reject


def evaluation_texts(listing: Listing, check: Callable[[], None]) -> Iterator[str]:
    """Yield every text of the set. Raises WorkloadError Data/DataInvalid for a file that cannot be read: a hole would hide a leak."""
    for file in listing.files:
        check()
        try:
            found = format_of(file, DataFormat.AUTO)
            if found is DataFormat.JSONL:
                rows: Iterator[RawRow | Reject] = read_jsonl(file)
            elif found is DataFormat.CSV:
                rows = read_csv(file)
            elif found is DataFormat.PARQUET:
                rows = read_parquet(file)
            else:
                rows = read_document(file, found, document_options(found, file.limit))
            for row in rows:
                if isinstance(row, Reject):
                    raise _unreadable(str(row.place), row.message)
                yield from _texts({name: value for name, value in row.values.items() if name != "metadata"})
        except FileRejected as error:
            raise _unreadable(file.location, str(error)) from error


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _unreadable(where: str, why: str) -> WorkloadError:
    text = f"evaluation set: {where} cannot be read ({why}); leave it out or repair it"
    return WorkloadError(Failure.DATA, Reason.DATA_INVALID, text)
