"""csv and tsv files as rows with named columns.

Reads by line with a bound, so that an endless line costs no more than the limit. A record that does not fit the header or is not UTF-8 is
rejected by itself, numbered by record after the header.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator

from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.tables.jsonl import MAX_LINE_BYTES, lines
from gradatim.workloads.tables.schema import Place, RawRow, Reject

PARSER = "csvrows/1"
MAX_COLUMNS = 10_000
_SURROGATES = range(0xDC80, 0xDD00)


class _Lines:
    """Decoded lines for `csv.reader`; bytes that are not UTF-8 survive as surrogates and are found per record."""

    def __init__(self, file: SourceFile, max_line: int) -> None:
        self._file = file
        self._max = max_line
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        with self._file.open() as stream:
            wide = stream.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
            stream.seek(0)
            if wide:
                # Not `splitlines`: it would cut a record at U+2028 and U+0085 too.
                yield from io.StringIO(self._wide(), newline="")
                return
            for _, line in lines(stream, self._max):
                self.too_long = self.too_long or line is None
                yield "\n" if line is None else line.decode("utf-8", "surrogateescape")

    def _wide(self) -> str:
        try:
            return self._file.read().decode("utf-16", "surrogatepass")
        except UnicodeDecodeError as error:
            raise FileRejected(
                "WrongEncoding", f"{self._file.path} begins as UTF-16 and is cut off: {error}"
            ) from error


def read_csv(file: SourceFile, max_line: int = MAX_LINE_BYTES) -> Iterator[RawRow | Reject]:
    """Yield one row per record. Raises FileRejected when there is no usable header."""
    csv.field_size_limit(max(max_line, csv.field_size_limit()))
    source = _Lines(file, max_line)
    text = iter(source)
    first = next((line for line in text if line.strip()), "")
    separator = _separator(first, file.path)
    header = _header(first, separator, file.path)
    _check_header(header, file.path)
    reader = csv.reader(text, delimiter=separator, strict=True)
    number = 0
    while True:
        place = Place(file.source, file.path, number + 1)
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield Reject(place, "BadCsv", f"{error}; check the quotes around this record")
            continue
        if source.too_long:
            source.too_long = False
            number += 1
            yield Reject(place, "LineTooLong", f"a line is longer than {max_line} bytes")
        elif record:
            number += 1
            yield _row(place, header, record)


def _header(first: str, separator: str, name: str) -> list[str]:
    if _undecoded([first]):
        raise FileRejected("WrongEncoding", f"the header of {name} holds bytes that are not UTF-8; convert the file")
    try:
        return [column.strip() for column in next(csv.reader([first], delimiter=separator), [])]
    except csv.Error as error:
        hint = "end lines with a line feed" if "\r" in first.rstrip("\r\n") else "check its quotes"
        raise FileRejected("BadCsv", f"the header of {name} cannot be read, {error}; {hint}") from error


def _undecoded(values: list[str]) -> bool:
    return any(ord(char) in _SURROGATES for value in values if not value.isascii() for char in value)


def _row(place: Place, header: list[str], record: list[str]) -> RawRow | Reject:
    if _undecoded(record):
        return Reject(place, "WrongEncoding", "holds bytes that are not UTF-8; convert the file")
    if len(record) != len(header):
        message = f"has {len(record)} fields where the header has {len(header)}; quote fields that hold the separator"
        return Reject(place, "BadCsv", message)
    return RawRow(place, dict(zip(header, record, strict=True)))


def _separator(first: str, name: str) -> str:
    outside = "".join(part for index, part in enumerate(first.split('"')) if index % 2 == 0)
    return "\t" if name.lower().endswith(".tsv") else max(",;\t|", key=outside.count)


def _check_header(header: list[str], name: str) -> None:
    if not any(header):
        raise FileRejected("Empty", f"{name} has no header line that names the columns")
    if len(header) > MAX_COLUMNS:
        raise FileRejected(
            "BadCsv", f"{name} names {len(header)} columns, more than {MAX_COLUMNS}; is the separator right?"
        )
    repeated = sorted(column for column, times in Counter(header).items() if times > 1)
    if repeated:
        raise FileRejected("BadCsv", f"{name} names a column twice: {', '.join(repeated)[:200]}; rename one")
