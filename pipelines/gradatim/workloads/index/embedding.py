"""Fifth stage: a vector for every chunk text that neither the previous version nor an earlier attempt or Run has one for.

Texts are embedded in blocks, each a checkpoint that is found again by its keys: a killed attempt loses one block at most. A block is large
enough that batches of like length fill well, and small enough that an order to stop is obeyed soon.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.workloads.index.artifact import CHUNKS_FILE, Artifact
from gradatim.workloads.index.build import Build
from gradatim.workloads.index.checkpoints import VECTORS, vector_files
from gradatim.workloads.index.identity import part_name
from gradatim.workloads.index.reading import ParquetRows, VectorLibrary, Vectors, vector_array
from gradatim.workloads.index.tables import vectors_schema

BLOCK_BATCHES = 16
MAX_BLOCK_TOKENS = 131_072
MAX_BLOCK_TEXTS = 2048
_COLUMNS = ["key", "text", "tokens"]


@dataclass(slots=True)
class Block:
    """Texts to embed together: some batches' worth, so that sorting by length pays."""

    most_tokens: int
    keys: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tokens: int = 0

    @property
    def full(self) -> bool:
        """Whether the block takes no more."""
        return self.tokens >= self.most_tokens or len(self.keys) >= MAX_BLOCK_TEXTS

    @property
    def name(self) -> str:
        """The checkpoint's name, without folder."""
        return part_name(VECTORS.rstrip("-"), [key.hex() for key in self.keys])


@dataclass(slots=True)
class Embedded:
    """Where every vector lies. `reused` counts chunks whose vector was there, `adopted` those of them that another object lent.

    `texts` is what this attempt embedded; what one before it did is reused.
    """

    library: VectorLibrary
    dimension: int
    reused: int = 0
    adopted: int = 0
    texts: int = 0


def dimension_of(build: Build) -> int:
    """Return the length of a vector; the encoder is asked only where no former version of this object knows it."""
    manifest = build.previous.manifest
    if manifest is not None and manifest.encoder_digest == build.models.digest:
        return manifest.dimension
    return int(next(build.executor.map("dimension", [None])))


def open_library(build: Build) -> VectorLibrary:
    """Return the vectors of the previous version, or adopted ones, by key; empty when they come from another encoder."""
    if build.adopted is not None:
        return build.adopted.library
    library = VectorLibrary()
    manifest = build.previous.manifest
    usable = manifest is not None and manifest.encoder_digest == build.models.digest
    if usable and build.previous.chunks is not None:
        library.add(build.previous.chunks)
    return library


def embed_chunks(build: Build, parts: list[str], finished_artifact: Artifact | None) -> Embedded:
    """Embed what is missing; returns the library that has every key of the parts.

    `finished_artifact` is this very version, written by an earlier attempt or Run: it has every vector.
    """
    found = Embedded(open_library(build), dimension_of(build))
    if finished_artifact is not None:
        found.library.add(ParquetRows(build.ctx.store, finished_artifact.file(CHUNKS_FILE)))
    elif build.adopted is not None:
        found.adopted = build.adopted.covered(build.ctx, parts)
    for rows in vector_files(build.ctx):
        found.library.add(rows)
    todo: list[Block] = []

    def inputs() -> Iterator[list[str]]:
        for block in blocks(build, parts, found):
            build.ctx.check_stop()
            found.texts += len(block.keys)
            todo.append(block)
            yield block.texts

    finished: list[Block] = []
    for vectors in build.executor.map("embed", inputs()):
        block = todo.pop(0)
        _write(build, block, vectors)
        finished.append(block)
        build.ctx.advance(len(block.keys))
    for block in finished:
        found.library.add(ParquetRows(build.ctx.store, build.checkpoint(block.name)))
    return found


def blocks(build: Build, parts: list[str], found: Embedded) -> Iterator[Block]:
    """Yield the missing texts, each once, in the order of the chunks; counts the reused ones in `found`."""
    seen: set[bytes] = set()
    most = min(MAX_BLOCK_TOKENS, BLOCK_BATCHES * build.spec.embedding.batch_tokens)
    block = Block(most)
    for part in parts:
        table = pq.read_table(build.ctx.store.open_input(part), columns=_COLUMNS)
        for key, text, tokens in zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True):
            if key in found.library:
                found.reused += 1
                build.ctx.advance()
            elif key not in seen:
                seen.add(key)
                block.keys.append(key)
                block.texts.append(text)
                block.tokens += tokens
                if block.full:
                    yield block
                    block = Block(most)
            else:
                build.ctx.advance()
    if block.keys:
        yield block


def _write(build: Build, block: Block, vectors: Vectors) -> None:
    columns = [pa.array(block.keys, pa.binary(len(block.keys[0]))), vector_array(vectors)]
    table = pa.Table.from_arrays(columns, schema=vectors_schema(vectors.shape[1]))
    build.write_table(build.checkpoint(block.name), table)
