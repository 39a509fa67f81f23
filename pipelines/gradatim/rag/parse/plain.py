"""Parsers for plain text and Markdown.

Both keep the text as it stands (line ends aside), so that offsets of gold passages stay valid. Markdown front matter is taken out of the
text and returned as metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from gradatim.rag.model import MetadataValue
from gradatim.rag.parse.encoding import decode
from gradatim.rag.parse.types import ParsedDocument, ParsedFile, ParseError, ParseOptions, Reason

MAX_FRONT_MATTER = 64 * 1024
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
        loaded = yaml.safe_load(block)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 2}" if mark is not None else ""
        raise ParseError(
            Reason.BROKEN, f"front matter is not valid YAML{line}; correct it or remove it", file=name
        ) from error
    except (RecursionError, ValueError) as error:  # deep nesting, or a date such as 2024-02-31
        raise ParseError(
            Reason.BROKEN, f"front matter cannot be read: {error}; correct it or remove it", file=name
        ) from error
    if not isinstance(loaded, Mapping):
        return {}, text
    return flatten(loaded), text[match.end() :]


def flatten(values: Mapping[object, object]) -> dict[str, MetadataValue]:
    """Scalars and lists of scalars as metadata; dates become ISO strings. Nested mappings are left out."""
    flat: dict[str, MetadataValue] = {}
    for key, value in values.items():
        if isinstance(value, bool | int | float | str):
            flat[str(key)] = value
        elif hasattr(value, "isoformat"):
            flat[str(key)] = str(value.isoformat())
        elif isinstance(value, list) and all(isinstance(item, bool | int | float | str) for item in value):
            flat[str(key)] = tuple(str(item) for item in value)
    return flat
