"""Digests that decide what may be reused and what a version is called.

Used by every stage. Pure. A digest covers exactly what changes its result: a file's key what changes its parsed text, a chunk's key what
changes its vector, the resolved digest what changes the index. Vectors are never part of one: the same text embeds alike on every machine
only up to rounding.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import canonical_digest

# Raise one of them when the code behind it changes what it produces from the same input.
PARSE_REVISION = 3
CHUNK_REVISION = 2
LAYOUT_REVISION = 1


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file as it was listed. `content` is a digest over its bytes or, for content-addressed sources, its version."""

    source: str
    path: str
    content: str
    metadata: tuple[tuple[str, str], ...] = ()

    def key(self, parse_digest: str) -> bytes:
        """Return 32 bytes over everything that the parsed documents depend on."""
        return _hash([self.source, self.path, self.content, self.metadata, parse_digest])


def parse_digest(spec: RAGIndexSpec, options_digest: str) -> str:
    """Return the digest of everything but the bytes that parsing depends on.

    Types and tenancy are part of it because a document whose metadata do not fit is refused when it is read.
    """
    types = {field.name: field.type.value for field in spec.schema_.metadata}
    return canonical_digest([PARSE_REVISION, _parsing(spec), options_digest, types, spec.tenancy.to_manifest()])


def _parsing(spec: RAGIndexSpec) -> dict[str, Any]:
    """What the spec says about parsing but for `ocr`: the engine that the options name stands for it, and where none is, nothing changed."""
    return {name: value for name, value in spec.parsing.to_manifest().items() if name != "ocr"}


def chunk_digest(spec: RAGIndexSpec, chunker: str) -> str:
    """Return the digest of everything but the document that chunk rows depend on.

    `chunker` covers the chunker's options and the tokenizer. Schema and tenancy are part of it because rows carry typed metadata.
    """
    return canonical_digest([CHUNK_REVISION, chunker, spec.schema_.to_manifest(), spec.tenancy.to_manifest()])


def chunk_key(text: str, chunker: str, encoder_digest: str) -> bytes:
    """Return 32 bytes over what a chunk's vector is kept under: normalised text, chunker and encoder."""
    return _hash([unicodedata.normalize("NFC", text), chunker, encoder_digest])


def resolved_digest(files: Iterable[FileIdentity], spec: RAGIndexSpec, digests: Sequence[str]) -> str:
    """Return the digest of everything that a build depends on; `digests` are those of parsing, encoder and the suite.

    Retrieval is part of it: its defaults live with the collection, so that a change passes the gates and can be rolled back.
    """
    listed = hashlib.sha256()
    for file in sorted(files, key=lambda item: (item.source, item.path)):
        listed.update(_hash([file.source, file.path, file.content, file.metadata]))
    parts: dict[str, Any] = {
        "layout": LAYOUT_REVISION,
        "files": listed.hexdigest(),
        "digests": list(digests),
        "parsing": _parsing(spec),
        "chunking": spec.chunking.to_manifest(),
        "embedding": spec.embedding.to_manifest(),
        "schema": spec.schema_.to_manifest(),
        "vectorIndex": spec.vector_index.to_manifest(),
        "tenancy": spec.tenancy.to_manifest(),
        "validation": spec.validation.to_manifest(),
        "retrieval": spec.retrieval.to_manifest(),
    }
    # Where the weights lie and how they are batched change nothing: the encoder's digest stands for the model.
    parts["embedding"].pop("model", None)
    parts["embedding"].pop("batchTokens", None)
    return canonical_digest(parts)


class VersionHash:
    """Collects the ids of surviving chunks, in order, into the version's digest."""

    def __init__(self, resolved: str) -> None:
        self._hash = hashlib.sha256(resolved.encode())

    def add(self, ids: Iterable[str]) -> None:
        """Add the ids of the next chunks."""
        for chunk in ids:
            self._hash.update(chunk.encode())
            self._hash.update(b"\n")

    def digest(self) -> str:
        """Return `sha256:…`."""
        return "sha256:" + self._hash.hexdigest()


def part_name(prefix: str, parts: object) -> str:
    """Return a checkpoint's name: the same work has the same name in every attempt."""
    return f"{prefix}-{_hash(parts).hex()[:24]}.parquet"


def _hash(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
