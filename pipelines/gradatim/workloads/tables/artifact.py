"""The digest of a Dataset version and its files: `data/<split>.parquet`, `rejected.parquet`, `dropped.parquet`, `manifest.json`.

The digest covers every row with its place and split and the settings that made it; the folder is named after it. The manifest is written last:
a version without one does not exist.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.api.dataset import DatasetSpec, SplitSize
from gradatim.api.run import DatasetOutput, canonical_digest
from gradatim.workloads.errors import NotFound
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.dedup import Digests
from gradatim.workloads.tables.parquetrows import KIND_KEY
from gradatim.workloads.tables.rejects import RejectLog
from gradatim.workloads.tables.schema import REJECT_SCHEMA

FORMAT = "gradatim.dev/dataset/v1"
ROW_GROUP = 20_000
GROUP_BYTES = 16 << 20
MANIFEST_BYTES = 1 << 20
_TRANSFORMATION = ("format", "schema_kind", "columns", "validation", "sampling", "splits", "dedup", "decontaminate")


@dataclass(frozen=True, slots=True)
class Version:
    """A finished set of rows: how many each split has, in order, and what was left out."""

    digest: str
    kind: str
    transformation: str
    inputs: str
    splits: tuple[tuple[str, int], ...]
    rejected: RejectLog
    dropped: RejectLog

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(rows for _, rows in self.splits)


def transformation_digest(spec: DatasetSpec, suite: str = "") -> str:
    """Return the digest of the settings that decide which rows come out."""
    document = spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(_TRANSFORMATION))
    return canonical_digest([FORMAT, document, suite])


def version_digest(transformation: str, splits: Iterable[tuple[str, Digests]]) -> str:
    """Return `sha256:…` over settings, splits in order and the digests of their rows."""
    digest = hashlib.sha256(transformation.encode())
    for name, rows in splits:
        digest.update(f"\n{name}\n".encode())
        digest.update(np.ascontiguousarray(rows).reshape(-1).data)
    return "sha256:" + digest.hexdigest()


def version_path(object_path: str, digest: str) -> str:
    """Return the folder of a version below the store's root."""
    return f"{object_path}/versions/{digest.removeprefix('sha256:')[:16]}"


def write_version(
    store: ArtifactStore, path: str, version: Version, schema: pa.Schema, rows: Iterable[SplitRows]
) -> DatasetOutput:
    """Write the files of a version and return what the result says about it. `rows` come in the order of the source."""
    marked = schema.with_metadata({KIND_KEY: version.kind.encode()})
    with ExitStack() as stack:
        most = max(1 << 20, GROUP_BYTES // len(version.splits))  # each split has a group in memory
        writers = []
        for name, _ in version.splits:
            stream = stack.enter_context(store.open_output(f"{path}/data/{name}.parquet"))
            parquet = stack.enter_context(pq.ParquetWriter(stream, marked, compression="zstd"))
            writers.append(GroupWriter(parquet, most))
        for part in rows:
            writers[part.split].add(part.table.replace_schema_metadata(marked.metadata), part.lengths)
        for writer in writers:
            writer.flush()
    _write_rejects(store, f"{path}/rejected.parquet", version.rejected)
    _write_rejects(store, f"{path}/dropped.parquet", version.dropped)
    files: list[dict[str, Any]] = [
        {
            "name": name,
            "file": f"data/{name}.parquet",
            "rows": count,
            "bytes": store.size(f"{path}/data/{name}.parquet"),
        }
        for name, count in version.splits
    ]
    contaminated = version.dropped.count("Contaminated")
    manifest = {
        "format": FORMAT,
        "digest": version.digest,
        "schemaKind": version.kind,
        "transformation": version.transformation,
        "inputs": version.inputs,
        "rows": version.rows,
        "rejected": version.rejected.total,
        "duplicates": version.dropped.total - contaminated,
        "contaminated": contaminated,
        "bytes": sum(file["bytes"] for file in files),
        "splits": files,
        "columns": schema.names,
    }
    store.write(f"{path}/manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode())
    return _output(store, path, manifest)


def read_output(store: ArtifactStore, path: str, digest: str) -> DatasetOutput | None:
    """Return what is known of a version whose manifest and files are in the store; None when anything is missing."""
    manifest = read_manifest(store, path)
    if manifest is None or manifest.get("digest") != digest:
        return None
    complete = all(store.exists(f"{path}/{split['file']}") for split in manifest["splits"])
    return _output(store, path, manifest) if complete else None


def read_manifest(store: ArtifactStore, path: str) -> dict[str, Any] | None:
    """Return the manifest of a version; None when there is none or it is not one."""
    try:
        found = json.loads(store.read(f"{path}/manifest.json", MANIFEST_BYTES))
    except (NotFound, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Rows of one split, by its number, with their lengths as JSON."""

    split: int
    table: pa.Table
    lengths: npt.NDArray[np.int64]


class GroupWriter:
    """Writes rows in groups that depend on the rows alone, not on the tables they come in: by count, and by length where rows are long."""

    def __init__(self, writer: pq.ParquetWriter, most: int) -> None:
        self._writer = writer
        self._most = most
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._length = 0

    def add(self, table: pa.Table, lengths: npt.NDArray[np.int64]) -> None:
        """Take more rows, writing every group that is full."""
        start = 0
        while start < table.num_rows:
            sums = self._length + np.cumsum(lengths[start:])
            full = int(np.searchsorted(sums, self._most)) + 1
            count = min(full, ROW_GROUP - self._rows, table.num_rows - start)
            self._tables.append(table.slice(start, count))
            self._rows += count
            self._length = int(sums[count - 1])
            start += count
            if self._rows >= ROW_GROUP or self._length >= self._most:
                self.flush()

    def flush(self) -> None:
        """Write what is there as one group."""
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._tables).combine_chunks(), row_group_size=self._rows)
        self._tables, self._rows, self._length = [], 0, 0


def _write_rejects(store: ArtifactStore, path: str, log: RejectLog) -> None:
    with store.open_output(path) as stream, pq.ParquetWriter(stream, REJECT_SCHEMA, compression="zstd") as writer:
        for table in log.tables():
            if table.num_rows:
                writer.write_table(table)


def _output(store: ArtifactStore, path: str, manifest: dict[str, Any]) -> DatasetOutput:
    return DatasetOutput(
        digest=manifest["digest"],
        uri=store.uri(path),
        rows=manifest["rows"],
        rejected=manifest["rejected"],
        duplicates=manifest["duplicates"],
        contaminated=manifest["contaminated"],
        bytes=manifest["bytes"],
        splits=[SplitSize(name=split["name"], rows=split["rows"]) for split in manifest["splits"]],
    )
