"""What the previous version lends: parsed documents of unchanged files, their chunks, and vectors of unchanged texts.

Opened once per build. A previous artifact that is gone or cannot be read is reported and lends nothing: the build is then slower, never wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from gradatim.api.run import PreviousVersion
from gradatim.workloads.errors import NotFound, StoreError
from gradatim.workloads.index.artifact import CHUNKS_FILE, DOCUMENTS_FILE, REJECTED_FILE, Artifact, ArtifactManifest
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.index.tables import CHUNKS, DOCUMENTS
from gradatim.workloads.store import ArtifactStore

log = logging.getLogger("gradatim.workloads")


@dataclass(slots=True)
class Previous:
    """The previous artifact, indexed by file and by document. Empty where there is none."""

    manifest: ArtifactManifest | None = None
    documents: ParquetRows | None = None
    chunks: ParquetRows | None = None
    _files: dict[bytes, list[int]] = field(default_factory=dict)
    _ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    _incomplete: set[bytes] = field(default_factory=set)

    @classmethod
    def open(cls, store: ArtifactStore, version: PreviousVersion | None) -> Previous:
        """Open the artifact of a version and index it."""
        if version is None:
            return cls()
        try:
            found = cls._read(store, version)
            found.index_rows(ParquetRows(store, f"{store.path_of(version.uri)}/{REJECTED_FILE}"))
        except (NotFound, StoreError, pa.ArrowInvalid, KeyError) as error:
            log.warning("building without the previous version: %s", error)
            return cls()
        return found

    @classmethod
    def _read(cls, store: ArtifactStore, version: PreviousVersion) -> Previous:
        artifact = Artifact(store, store.path_of(version.uri))
        manifest = artifact.manifest()
        if manifest.digest != version.digest:
            raise StoreError(f"{version.uri} holds another version than {version.digest}")
        documents = ParquetRows(store, artifact.file(DOCUMENTS_FILE))
        return cls(manifest, documents, ParquetRows(store, artifact.file(CHUNKS_FILE)))

    def index_rows(self, rejected: ParquetRows) -> None:
        """Read keys and ids, never texts; `rejected` are the rows of `rejected.parquet`."""
        if self.documents is None or self.chunks is None:
            return
        for position, key in enumerate(self.documents.column("file").to_pylist()):
            self._files.setdefault(key, []).append(position)
        ids = self.chunks.column("document").to_pylist()
        start = 0
        for position in range(1, len(ids) + 1):
            if position == len(ids) or ids[position] != ids[start]:
                self._ranges[ids[start]] = (start, position)
                start = position
        # A file of which a part was refused is read again: its rejections belong to the new version too.
        if "file" in rejected.schema.names:  # an artifact from before names files by other keys, and lends none
            for table in rejected.groups(["file"]):
                self._incomplete.update(key for key in table.column("file").to_pylist() if key is not None)

    def has_file(self, key: bytes) -> bool:
        """Tell whether every document of the file can be carried over."""
        return key in self._files and key not in self._incomplete

    def documents_of(self, keys: Sequence[bytes]) -> pa.Table:
        """Return the rows of these files' documents, marked as carried over and not yet judged."""
        if self.documents is None:
            return DOCUMENTS.empty_table()
        positions = [position for key in keys for position in self._files[key]]
        known = set(self.documents.schema.names) - {"carried", "rejected"}
        table = self.documents.take(positions, [name for name in DOCUMENTS.names if name in known])
        if "recognised" not in known:  # an artifact from before pages could be recognised
            column = DOCUMENTS.field("recognised")
            table = table.append_column(column, pa.nulls(len(table), column.type))
        table = table.append_column("carried", pa.array([True] * len(table), pa.bool_()))
        return table.append_column("rejected", pa.array([False] * len(table), pa.bool_())).select(DOCUMENTS.names)

    @property
    def digest(self) -> str:
        """Which version this is; empty for none."""
        return "" if self.manifest is None else self.manifest.digest

    def chunks_of(self, document: str, chunk_digest: str, encoder_digest: str) -> range | None:
        """Return the positions of a carried document's chunks, None where they were cut otherwise or the document had none.

        Rows of another encoder are others too: they carry the key of its vectors.
        """
        if self.manifest is None or document not in self._ranges:
            return None
        if (self.manifest.chunk_digest, self.manifest.encoder_digest) != (chunk_digest, encoder_digest):
            return None
        return range(*self._ranges[document])

    def chunk_rows(self, positions: Sequence[int]) -> pa.Table:
        """Return chunk rows without their vectors."""
        return CHUNKS.empty_table() if self.chunks is None else self.chunks.take(positions, CHUNKS.names)
