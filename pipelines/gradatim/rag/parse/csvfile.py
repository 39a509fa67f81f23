"""csv and tsv: each record a document with its row number, or the whole file as one Markdown table.

A record that does not fit the header is refused by itself, with its row; the file goes on. So is one whose quotes are wrong, where its
line is a whole record all the same: each field that a quote opens ends with one. Where it is not, nobody can tell whose text the lines that
follow are, and a row must never come under the tenant of another: the file is refused. In tsv, where quotes often mean nothing, such a line
is read as it stands when its quotes come in pairs. Field and row limits are enforced while
reading, so that a file of one endless field costs no more than its own size.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.encoding import decode
from gradatim.rag.parse.tables import to_markdown
from gradatim.rag.parse.types import CsvMode, ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason

PARSER = "csv/2"
SNIFF = 64 * 1024
Record = tuple[int, list[str]]  # row and fields


def parse_csv(data: bytes, name: str, options: ParseOptions) -> ParsedFile:
    """Documents of a csv file. Raises ParseError(MissingColumn) for a text column the header lacks, (TooLarge) for too many rows,
    (Broken) for quotes after which rows cannot be told apart.
    """
    decoded = decode(data, name, options)
    records = _records(decoded.text, name, options)
    first = next(records, (0, []))
    if isinstance(first, ParseError):
        raise first
    header = [column.strip() for column in first[1]]
    if not any(header):
        raise ParseError(Reason.EMPTY, "has no header row; the first line must name the columns", file=name)
    repeated = sorted(column for column, times in Counter(header).items() if times > 1)
    if repeated:
        raise ParseError(Reason.BROKEN, f"names a column twice: {', '.join(repeated)}; rename one", file=name)
    missing = [column for column in options.text_columns if column not in header]
    if missing:
        message = f"has no column {', '.join(missing)}; it has {', '.join(header)}"
        raise ParseError(Reason.MISSING_COLUMN, message, file=name)
    if options.csv_mode is CsvMode.TABLE:
        return _table(header, records, decoded.replacement_ratio)
    documents: list[ParsedDocument] = []
    rejected: list[ParseError] = []
    for record in records:
        outcome = record if isinstance(record, ParseError) else _document(header, record, name, options)
        if isinstance(outcome, ParseError):
            rejected.append(outcome)
        else:
            documents.append(outcome)
    if not documents and not rejected:
        raise ParseError(Reason.EMPTY, "has a header but no rows; add rows or remove the file", file=name)
    return ParsedFile(tuple(documents), PARSER, tuple(rejected))


def _table(header: list[str], records: Iterator[Record | ParseError], replacement_ratio: float) -> ParsedFile:
    rows, rejected = [header], []
    for record in records:
        if isinstance(record, ParseError):
            rejected.append(record)
        else:
            rows.append(record[1])
    document = ParsedDocument(to_markdown(rows), replacement_ratio=replacement_ratio)
    return ParsedFile((document,), PARSER, tuple(rejected))


def _dialect(sample: str, name: str) -> type[csv.Dialect]:
    """Tabs for .tsv; otherwise the separator that occurs most in the first line, quotes left out of the count."""
    first = sample.split("\n", 1)[0]
    outside = "".join(part for index, part in enumerate(first.split('"')) if index % 2 == 0)
    separator = "\t" if name.lower().endswith(".tsv") else max(",;\t|", key=outside.count)

    class Detected(csv.excel):
        delimiter = separator
        strict = True  # else a quote without its other half takes in the rows that follow without a word

    return Detected


class _Lines:
    """Lines for `csv.reader`, which remembers the last one that was read."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.last = line
            yield line


def _records(text: str, name: str, options: ParseOptions) -> Iterator[Record | ParseError]:
    """(row, fields), the header as row 0; lines without any field are skipped but a row of empty fields is not."""
    # The module's limit is one for the process, so it is only ever raised; the check below applies this call's own.
    csv.field_size_limit(max(options.max_field_chars, csv.field_size_limit()))
    lines, dialect = _Lines(text), _dialect(text[:SNIFF], name)
    reader = csv.reader(lines, dialect)
    row, width = -1, 0
    while True:
        before = reader.line_num
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row += 1
            single = reader.line_num == before + 1
            literal = _literal(lines.last, name) if single and width else []
            if literal and len(literal) == width:
                _check_row(row, name, options)
                yield row, _checked(literal, row, name, options)
                continue
            alone = single and width == _width(lines.last, dialect) and _whole(lines.last, dialect)
            refused = _misquoted(error, name, row, alone=alone)
            if not alone:
                raise refused from error
            _check_row(row, name, options)
            yield refused
            continue
        if not fields:
            continue
        row += 1
        width = width or len(fields)
        _check_row(row, name, options)
        yield row, _checked(fields, row, name, options)


def _checked(fields: list[str], row: int, name: str, options: ParseOptions) -> list[str]:
    """The same fields; raises ParseError(TooLarge) where one of them is too long."""
    if max(map(len, fields)) > options.max_field_chars:
        message = f"has a field of more than {options.max_field_chars} characters; check the quotes around this row"
        raise ParseError(Reason.TOO_LARGE, message, file=name, row=row)
    return fields


def _check_row(row: int, name: str, options: ParseOptions) -> None:
    if row > options.max_rows:
        raise ParseError(Reason.TOO_LARGE, f"has more than {options.max_rows} rows; split the file", file=name)


def _width(line: str, dialect: type[csv.Dialect]) -> int:
    """Number of fields of a line whose quotes are wrong, read by itself."""
    try:
        return len(next(csv.reader([line], dialect, strict=False), []))
    except csv.Error:
        return 0


def _whole(line: str, dialect: type[csv.Dialect]) -> bool:
    """Whether each field of a line that opens with a quote ends with one; else its text may go on in the lines that follow.

    A field ends at the first quote before a separator, and nothing is tried twice: the time is linear.
    """
    separator = re.escape(dialect.delimiter)
    field = rf'(?>"[^\n]*?"(?=[{separator}\n]|\Z)|[^"{separator}\n][^{separator}\n]*+|)'
    return re.fullmatch(rf"{field}(?:{separator}{field})*+\n?", line) is not None


def _literal(line: str, name: str) -> list[str]:
    """Fields of a line of tsv, where quotes are letters; none where a field opens a quote that it does not close, or of other files."""
    if not name.lower().endswith(".tsv"):
        return []
    fields = line.rstrip("\n").split("\t")
    return [] if any(field.startswith('"') and field.count('"') % 2 for field in fields) else fields


def _misquoted(error: csv.Error, name: str, row: int, *, alone: bool) -> ParseError:
    if "field larger" in str(error):
        return ParseError(Reason.TOO_LARGE, f"{error}; check the quotes around this row", file=name, row=row)
    message = f"{error}; check the quotes around this row, and write those within a field twice"
    if not alone:
        message = f"{message}; the file is refused, since the rows after it cannot be told apart"
    return ParseError(Reason.BROKEN, message, file=name, row=row)


def _document(header: list[str], record: Record, name: str, options: ParseOptions) -> ParsedDocument | ParseError:
    row, fields = record
    if len(fields) != len(header):
        message = (
            f"has {len(fields)} fields where the header has {len(header)}; quote fields that contain the separator"
        )
        return ParseError(Reason.BROKEN, message, file=name, row=row)
    values = dict(zip(header, fields, strict=True))
    chosen = options.text_columns or tuple(column for column in header if column not in options.metadata_columns)
    parts = [(column, values[column].strip()) for column in chosen if values[column].strip()]
    if not parts:
        return ParseError(
            Reason.EMPTY, f"has no text in {', '.join(chosen)}; fill it or drop the row", file=name, row=row
        )
    text = parts[0][1] if len(chosen) == 1 else "\n".join(f"{column}: {value}" for column, value in parts)
    metadata: dict[str, MetadataValue] = {
        column: value for column, value in values.items() if column and column not in chosen
    }
    ratio = text.count("\ufffd") / len(text)
    return ParsedDocument(text, metadata, replacement_ratio=ratio, row=row)
