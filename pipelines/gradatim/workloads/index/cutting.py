"""Turns parsed documents into chunk rows: chunker, typed metadata, tenant, parents, keys.

Runs inside a worker. Pure but for the encoder that the semantic strategy asks about sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gradatim.rag.chunk.chunker import ChunkedDocument, chunk_document
from gradatim.rag.chunk.semantic import Embed
from gradatim.rag.chunk.tokens import Tokenizer
from gradatim.rag.model import Chunk, Document
from gradatim.rag.store.rows import typed_metadata
from gradatim.workloads.index.identity import chunk_key
from gradatim.workloads.index.settings import IndexSettings
from gradatim.workloads.index.tables import CHUNKS, document_of, dump_metadata


@dataclass(frozen=True, slots=True)
class CuttingTools:
    """What cutting needs besides the documents. `encoder` is the encoder's digest."""

    tokenizer: Tokenizer
    encoder: str
    embed: Embed | None = None


def cut_documents(rows: list[dict[str, Any]], settings: IndexSettings, tools: CuttingTools) -> pa.Table:
    """Return the chunk rows of document rows, in order."""
    found: list[dict[str, Any]] = []
    for row in rows:
        document = document_of(row)
        cut = chunk_document(document, settings.chunk, tools.tokenizer, tools.embed, tools.encoder)
        found += chunk_rows(document, cut, settings, tools)
    return pa.Table.from_pylist(found, schema=CHUNKS)


def chunk_rows(
    document: Document, cut: ChunkedDocument, settings: IndexSettings, tools: CuttingTools
) -> list[dict[str, Any]]:
    """Return the rows of one document's chunks. The first chunk of each parent carries the parent's text."""
    chunker = settings.chunk.digest(tools.tokenizer.digest, tools.encoder)
    values = typed_metadata(document.metadata, settings.fields)
    shared = {
        "document": document.id,
        "source": document.source,
        "path": document.uri,
        "row": document.row,
        "metadata": dump_metadata(values),
        "tenant": None if settings.tenant_field is None else str(values[settings.tenant_field]),
    }
    parents = {parent.id: parent for parent in cut.parents}
    carriers: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for chunk in cut.chunks:
        row = {
            **shared,
            "id": chunk.id,
            "key": chunk_key(chunk.text, chunker, tools.encoder),
            "index": chunk.index,
            "start": chunk.start,
            "end": chunk.end,
            "text": chunk.text,
            "tokens": chunk.tokens,
            "page": chunk.page,
            "headings": list(chunk.headings),
        }
        rows.append(row | _parent(chunk, parents, carriers))
    return rows


def _parent(chunk: Chunk, parents: Mapping[str, Chunk], carriers: dict[str, str]) -> dict[str, Any]:
    if chunk.parent_id is None:
        return {}
    parent = parents[chunk.parent_id]
    carrier = carriers.setdefault(parent.id, chunk.id)
    return {
        "parent": parent.id,
        "parent_carrier": carrier,
        "parent_start": parent.start,
        "parent_end": parent.end,
        "parent_text": parent.text if carrier == chunk.id else None,
    }
