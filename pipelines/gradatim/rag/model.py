"""Values that travel from a source file to a search hit.

Parsers make documents, chunkers make chunks, the store and the metrics read both. Every value says where it came from (source, path,
row or page), so that a rejected row or a cited answer can be found again. Ids are pure functions of content and configuration: two runs
over the same input give the same ids. Nothing here reads a file or a clock.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Scalar = str | int | float | bool
MetadataValue = Scalar | tuple[str, ...]
Metadata = Mapping[str, MetadataValue]

# Fixed for ever: a new value would give every chunk of every index a new id.
CHUNK_NAMESPACE = uuid.UUID("6f0c2b52-2f0e-5d0b-9a5e-2b1f3f6f7a10")


class RagError(Exception):
    """Base of every error the retrieval library raises on purpose; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RecognisedPage:
    """A page whose text was recognised from its image. `page` counts from 1; `confidence` is the engine's, 0 to 1."""

    page: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Document:
    """One text to index. `pages` holds the character offset at which each page starts (empty: the format has no pages).

    `row` counts data records from 1 for formats with rows, and is None otherwise. `replacement_ratio` is the share of characters the
    decoder could not read (0 to 1). `parser` is `name/version`. `recognised` lists the pages that were read from their image.
    """

    id: str
    source: str
    uri: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    pages: tuple[int, ...] = ()
    parser: str = ""
    replacement_ratio: float = 0.0
    row: int | None = None
    recognised: tuple[RecognisedPage, ...] = ()

    def page_at(self, offset: int) -> int | None:
        """Page number, from 1, that holds the character at `offset`; None where the format has no pages."""
        return page_at(self.pages, offset)

    def location(self) -> str:
        """Where a person finds this document: path, then row if it has one."""
        return self.uri if self.row is None else f"{self.uri} row {self.row}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: `document.text[start:end] == text`, exactly.

    `tokens` counts the encoder's tokens without special ones; a word of over 64 characters may count for more than it is. `headings` is the
    path of headings above the first character, outermost first. `parent_id` names the larger chunk that contains this one, where parents were
    asked for.
    """

    id: str
    document_id: str
    index: int
    start: int
    end: int
    text: str
    tokens: int
    parent_id: str | None = None
    headings: tuple[str, ...] = ()
    page: int | None = None


def mean_confidence(recognised: Sequence[RecognisedPage]) -> float:
    """Return the mean confidence of at least one recognised page."""
    return round(math.fsum(page.confidence for page in recognised) / len(recognised), 4)


def document_id(source: str, path: str, row: int | None = None) -> str:
    """Hex SHA-256 over source name, relative path and row. It does not depend on the content: an edited file keeps its id."""
    parts = [source, path] if row is None else [source, path, str(row)]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def chunk_id(document: str, config_digest: str, span: tuple[int, int], text: str) -> str:
    """UUID (version 5) over document id, chunker configuration, offsets and text."""
    text_hash = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return str(uuid.uuid5(CHUNK_NAMESPACE, f"{document}|{config_digest}|{span[0]}|{span[1]}|{text_hash}"))


def page_at(pages: tuple[int, ...], offset: int) -> int | None:
    """Page number, from 1, that holds the character at `offset`, given the start offset of each page."""
    if not pages:
        return None
    return max(1, bisect_right(pages, offset))
