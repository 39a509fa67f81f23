"""Which format a file has, and how each is turned into raw rows.

`auto` goes by the file's name, then by its first bytes. Used by `reader.py`; each format has a module of its own.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from gradatim.api.dataset import DataFormat, SchemaKind
from gradatim.workloads.sources import FileRejected, SourceFile

SNIFF_BYTES = 4096
ROW_FORMATS = frozenset({DataFormat.JSONL, DataFormat.CSV, DataFormat.PARQUET})
_SUFFIXES = {
    ".jsonl": DataFormat.JSONL, ".ndjson": DataFormat.JSONL, ".json": DataFormat.JSONL, ".csv": DataFormat.CSV, ".tsv": DataFormat.CSV,
    ".parquet": DataFormat.PARQUET, ".txt": DataFormat.TEXT, ".text": DataFormat.TEXT, ".log": DataFormat.TEXT, ".rst": DataFormat.TEXT,
    ".md": DataFormat.MARKDOWN, ".markdown": DataFormat.MARKDOWN, ".html": DataFormat.HTML, ".htm": DataFormat.HTML,
    ".xhtml": DataFormat.HTML, ".pdf": DataFormat.PDF, ".docx": DataFormat.DOCX, ".doc": DataFormat.DOCX,
}  # fmt: skip


def format_of(file: SourceFile, chosen: DataFormat) -> DataFormat:
    """Return the file's format. Raises FileRejected(UnsupportedFormat) when neither name nor content tells."""
    if chosen is not DataFormat.AUTO:
        return chosen
    known = _SUFFIXES.get(PurePosixPath(file.path).suffix.lower())
    if known is not None:
        return known
    with file.open() as stream:
        found = sniff(stream.read(SNIFF_BYTES))
    if found is None:
        raise FileRejected("UnsupportedFormat", f"{file.path} is of no known format; set spec.format or leave it out")
    return found


def sniff(head: bytes) -> DataFormat | None:
    """Tell a format by the first bytes; None when they do not say.

    >>> sniff(b"%PDF-1.7"), sniff(b"GIF89a")
    (<DataFormat.PDF: 'pdf'>, None)
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    marks = [
        (b"%PDF-", DataFormat.PDF), (b"PAR1", DataFormat.PARQUET), (b"PK\x03\x04", DataFormat.DOCX), (b'{"', DataFormat.JSONL),
        (b"<!doctype html", DataFormat.HTML), (b"<html", DataFormat.HTML),
    ]  # fmt: skip
    return next((kind for mark, kind in marks if start[: len(mark)].lower() == mark.lower()), None)


def allowed(kind: SchemaKind, found: DataFormat) -> bool:
    """Tell whether files of a format can give rows of the kind: running text has no columns."""
    return found in ROW_FORMATS or kind in {SchemaKind.DOCUMENTS, SchemaKind.TEXT}
