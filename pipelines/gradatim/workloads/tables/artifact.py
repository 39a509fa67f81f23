"""The digest of a Dataset version and its files: `data/<split>.parquet`, `rejected.parquet`, `dropped.parquet`, `manifest.json`.

The digest covers every row with its place and split and the settings that made it; the folder is named after it. The manifest is written last:
a version without one does not exist.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.api.dataset import DatasetSpec, SplitSize
from gradatim.api.run import DatasetOutput, canonical_digest
from gradatim.workloads.errors import NotFound
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.tables.parquetrows import KIND_KEY
from gradatim.workloads.tables.reader import reject_table
from gradatim.workloads.tables.schema import Reject

FORMAT = "gradatim.dev/dataset/v1"
ROW_GROUP = 20_000
MANIFEST_BYTES = 1 << 20
_TRANSFORMATION = ("format", "schema_kind", "columns", "validation", "sampling", "splits", "dedup", "decontaminate")


@dataclass(frozen=True, slots=True)
class Version:
    """A finished set of rows: one table per split, in order, and what was left out."""

    splits: dict[str, pa.Table]
    rejected: tuple[Reject, ...]
    dropped: tuple[Reject, ...]
    transformation: str
    inputs: str

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(table.num_rows for table in self.splits.values())


def transformation_digest(spec: DatasetSpec, suite: str = "") -> str:
    """Return the digest of the settings that decide which rows come out."""
    document = spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(_TRANSFORMATION))
    return canonical_digest([FORMAT, document, suite])


def version_digest(version: Version) -> str:
    """Return `sha256:…` over settings, splits and rows. Columns that a row lacks do not count, so a new empty column changes nothing."""
    digest = hashlib.sha256(version.transformation.encode())
    for name, table in version.splits.items():
        digest.update(f"\n{name}\n".encode())
        for batch in table.to_batches(ROW_GROUP):
            for row in batch.to_pylist():
                text = json.dumps({k: v for k, v in row.items() if v is not None}, sort_keys=True, ensure_ascii=False)
                digest.update(hashlib.sha256(text.encode()).digest())
    return "sha256:" + digest.hexdigest()


def version_path(object_path: str, digest: str) -> str:
    """Return the folder of a version below the store's root."""
    return f"{object_path}/versions/{digest.removeprefix('sha256:')[:16]}"


def write_version(store: ArtifactStore, path: str, digest: str, version: Version, kind: str) -> DatasetOutput:
    """Write the files of a version, unless they are there already, and return what the result says about it."""
    known = read_output(store, path, digest)
    if known is not None:
        return known
    files, total = [], 0
    for name, table in version.splits.items():
        file = f"data/{name}.parquet"
        marked = table.replace_schema_metadata({KIND_KEY: kind.encode()})
        write_parquet(store, f"{path}/{file}", marked)
        size = store.size(f"{path}/{file}")
        total += size
        files.append({"name": name, "file": file, "rows": table.num_rows, "bytes": size})
    write_parquet(store, f"{path}/rejected.parquet", reject_table(version.rejected))
    write_parquet(store, f"{path}/dropped.parquet", reject_table(version.dropped))
    contaminated = sum(item.reason == "Contaminated" for item in version.dropped)
    manifest = {
        "format": FORMAT,
        "digest": digest,
        "schemaKind": kind,
        "transformation": version.transformation,
        "inputs": version.inputs,
        "rows": version.rows,
        "rejected": len(version.rejected),
        "duplicates": len(version.dropped) - contaminated,
        "contaminated": contaminated,
        "bytes": total,
        "splits": files,
        "columns": next(iter(version.splits.values())).column_names if version.splits else [],
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


def write_parquet(store: ArtifactStore, path: str, table: pa.Table) -> None:
    """Write a table with row groups small enough to be read by parts."""
    with store.open_output(path) as stream:
        pq.write_table(table, stream, compression="zstd", row_group_size=ROW_GROUP)


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


def by_split(table: pa.Table, found: Sequence[str | None], names: Sequence[str]) -> dict[str, pa.Table]:
    """Return one table per split; a split without rows stays, with none."""
    return {name: table.filter(pa.array([each == name for each in found], pa.bool_())) for name in names}
