"""Parsers for plain text and Markdown.

Both keep the text as it stands (line ends aside), so that offsets of gold passages stay valid. Markdown front matter is taken out of the
text and returned as metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.encoding import decode, joined_pairs
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason
from gradatim.rag.plainyaml import YamlError, load

MAX_FRONT_MATTER = 64 * 1024
MAX_NUMBER_BITS = 4096  # YAML reads digits without end; Python writes some thousands of them
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def parse_text(data: bytes, name: str, options: ParseOptions) -> ParsedFile:
    """A text file as one document."""
    decoded = decode(data, name, options)
    document = ParsedDocument(decoded.text, {"encoding": decoded.encoding}, replacement_ratio=decoded.replacement_ratio)
    return ParsedFile((document,), "text/1")


def parse_markdown(data: bytes, name: str, options: ParseOptions) -> ParsedFile:
    """A Markdown file as one document; raises ParseError(Broken) when its front matter is not valid YAML."""
    decoded = decode(data, name, options)
    metadata, text = split_front_matter(decoded.text, name)
    document = ParsedDocument(text, metadata, replacement_ratio=decoded.replacement_ratio)
    return ParsedFile((document,), "markdown/1")


def split_front_matter(text: str, name: str) -> tuple[dict[str, MetadataValue], str]:
    """Metadata and the text after the front matter. A leading rule that encloses no mapping is text, not front matter."""
    match = _FRONT_MATTER.match(text[:MAX_FRONT_MATTER])
    if match is None:
        return {}, text
    block = match.group(1) or ""
    try:
        loaded = load(block)
        if not isinstance(loaded, Mapping):
            return {}, text
        return flatten(loaded), text[match.end() :]
    except YamlError as error:
        line = "" if error.line is None else f" at line {error.line + 1}"  # the block begins after the first line
        message = f"front matter {error}{line}; correct it or remove it"
        raise ParseError(Reason.BROKEN, message, file=name) from error


def flatten(values: Mapping[object, object]) -> dict[str, MetadataValue]:
    """Scalars and lists of scalars as metadata; dates become ISO strings. Nested mappings are left out.

    Raises YamlError for a number that is too long to be written anywhere.
    """
    flat: dict[str, MetadataValue] = {}
    for key, value in values.items():
        name = _written(key)
        if isinstance(value, bool | float):
            flat[name] = value
        elif isinstance(value, int):
            flat[name] = _bounded(value)
        elif isinstance(value, str):
            flat[name] = joined_pairs(value)
        elif hasattr(value, "isoformat"):
            flat[name] = str(value.isoformat())
        elif isinstance(value, list) and all(isinstance(item, bool | int | float | str) for item in value):
            flat[name] = tuple(_written(item) for item in value)
    return flat


def _written(value: object) -> str:
    return joined_pairs(str(_bounded(value) if isinstance(value, int) else value))


def _bounded(value: int) -> int:
    if value.bit_length() > MAX_NUMBER_BITS:
        raise YamlError("cannot be read: a number has too many digits")
    return value
