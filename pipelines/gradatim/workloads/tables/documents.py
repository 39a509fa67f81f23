"""Running text as rows: text, Markdown, html, pdf and docx through the parsers of the retrieval library.

One file gives one row. What a parser refuses (broken, encrypted, an archive that unpacks to too much, the wrong encoding) is rejected with its
reason and page.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradatim.api.dataset import DataFormat
from gradatim.rag.parse import ParseError, ParseOptions, parse
from gradatim.workloads.sources import SourceFile
from gradatim.workloads.tables.schema import Place, RawRow, Reject

PARSER = "documents/1"


def read_document(file: SourceFile, found: DataFormat, options: ParseOptions) -> Iterator[RawRow | Reject]:
    """Yield the file's document, or why it was refused."""
    place = Place(file.source, file.path)
    try:
        parsed = parse(file.read(options.max_bytes), file.path, options)
    except ParseError as error:
        yield Reject(Place(file.source, file.path, error.row, error.page), error.reason.value, error.detail)
        return
    for document in parsed.documents:
        facts = {
            "pages": len(document.pages) or None,
            "page_starts": list(document.pages) or None,
            "replacement_ratio": document.replacement_ratio,
            "parser": parsed.parser,
        }
        values = {"text": document.text, "metadata": {**document.metadata, "format": found.value}}
        yield RawRow(place, values, facts)
    for refused in parsed.rejected:
        yield Reject(Place(file.source, file.path, refused.row, refused.page), refused.reason.value, refused.detail)


def document_options(found: DataFormat, max_bytes: int) -> ParseOptions:
    """Return the parser's options for a format that is known by now."""
    return ParseOptions(format=found.value, max_bytes=max_bytes)
