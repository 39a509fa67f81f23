"""csv and tsv: each record a document with its row number, or the whole file as one Markdown table.

A record that does not fit the header is refused by itself, with its row; the file goes on. Field and row limits are enforced while
reading, so that a file of one endless field costs no more than its own size.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.encoding import decode
from gradatim.rag.parse.tables import to_markdown
from gradatim.rag.parse.types import CsvMode, ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason

PARSER = "csv/1"
SNIFF = 64 * 1024


def parse_csv(data: bytes, name: str, options: ParseOptions) -> ParsedFile:
    """Documents of a csv file. Raises ParseError(MissingColumn) for a text column the header lacks, (TooLarge) for too many rows."""
    decoded = decode(data, name, options)
    reader = csv.reader(io.StringIO(decoded.text, newline=""), _dialect(decoded.text[:SNIFF], name))
    records = _records(reader, name, options)
    _, header = next(records, (0, []))
    header = [column.strip() for column in header]
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
        table = to_markdown([header, *(record for _, record in records)])
        return ParsedFile((ParsedDocument(table, replacement_ratio=decoded.replacement_ratio),), PARSER)
    documents: list[ParsedDocument] = []
    rejected: list[ParseError] = []
    for row, record in records:
        outcome = _document(header, record, (name, row), options)
        if isinstance(outcome, ParseError):
            rejected.append(outcome)
        else:
            documents.append(outcome)
    if not documents and not rejected:
        raise ParseError(Reason.EMPTY, "has a header but no rows; add rows or remove the file", file=name)
    return ParsedFile(tuple(documents), PARSER, tuple(rejected))


def _dialect(sample: str, name: str) -> type[csv.Dialect]:
    """Tabs for .tsv; otherwise the separator that occurs most in the first line, quotes left out of the count."""
    first = sample.split("\n", 1)[0]
    outside = "".join(part for index, part in enumerate(first.split('"')) if index % 2 == 0)
    separator = "\t" if name.lower().endswith(".tsv") else max(",;\t|", key=outside.count)

    class Detected(csv.excel):
        delimiter = separator

    return Detected


def _records(reader: Iterator[list[str]], name: str, options: ParseOptions) -> Iterator[tuple[int, list[str]]]:
    """(row, fields), the header as row 0; lines without any field are skipped but a row of empty fields is not."""
    # The module's limit is one for the process, so it is only ever raised; the check below applies this call's own.
    csv.field_size_limit(max(options.max_field_chars, csv.field_size_limit()))
    row = -1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = Reason.TOO_LARGE if "field larger" in str(error) else Reason.BROKEN
            raise ParseError(reason, f"{error}; check the quotes around this row", file=name, row=row + 1) from error
        if not fields:
            continue
        row += 1
        if row > options.max_rows:
            raise ParseError(Reason.TOO_LARGE, f"has more than {options.max_rows} rows; split the file", file=name)
        if max(map(len, fields)) > options.max_field_chars:
            message = f"has a field of more than {options.max_field_chars} characters; check the quotes around this row"
            raise ParseError(Reason.TOO_LARGE, message, file=name, row=row)
        yield row, fields


def _document(
    header: list[str], record: list[str], where: tuple[str, int], options: ParseOptions
) -> ParsedDocument | ParseError:
    name, row = where
    if len(record) != len(header):
        message = (
            f"has {len(record)} fields where the header has {len(header)}; quote fields that contain the separator"
        )
        return ParseError(Reason.BROKEN, message, file=name, row=row)
    values = dict(zip(header, record, strict=True))
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
