"""Run configs and in-process attempts for tests of workloads: a fluent way to say what a Dataset is made of.

Nothing here replaces a part of the product: the store is a folder, the attempt is the real one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.api.computeprofile import Limits
from gradatim.api.dataset import DatasetSpec
from gradatim.api.run import ResolvedDataset, RunConfig, RunObject, RunResult, StoreConfig
from gradatim.workloads.__main__ import attempt
from gradatim.workloads.context import RunContext
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.sources import SourceFile
from gradatim.workloads.store import ArtifactStore


@dataclass(frozen=True)
class DatasetRun:
    """A Run of `validate` over files below `folder`; every method returns a changed copy."""

    folder: Path
    spec: Mapping[str, Any]
    run: str = "d-r1"
    number: int = 1
    limits: Mapping[str, Any] | None = None
    previous: str | None = None
    secrets: Path | None = None
    deadline: int = 600
    datasets: Sequence[ResolvedDataset] = ()
    store_config: StoreConfig | None = None

    @property
    def data(self) -> Path:
        """Where the source's files lie."""
        return self.folder / "data"

    @property
    def store_root(self) -> Path:
        """Where the artifact store's files lie."""
        return self.folder / "store" / "team"

    @property
    def config(self) -> RunConfig:
        """The sealed config of this attempt."""
        spec = {"source": {"path": f"file://{self.data}"}, **self.spec}
        return RunConfig(
            workload="validate",
            object=RunObject(kind="Dataset", namespace="team", name="tickets", uid="uid-1"),
            run=self.run,
            attempt=self.number,
            dataset=DatasetSpec.model_validate(spec),
            store=self.store_config or StoreConfig(root=f"file://{self.store_root}/"),
            limits=Limits.model_validate({"allowedSourceRoots": [str(self.data)], **(self.limits or {})}),
            previous_dataset_digest=self.previous,
            secrets_path=str(self.secrets) if self.secrets else None,
            deadline_seconds=self.deadline,
            datasets=list(self.datasets),
        ).sealed()

    @property
    def store(self) -> ArtifactStore:
        """The artifact store."""
        return ArtifactStore.open(self.config.store, SecretFolder(self.secrets))

    def context(self) -> RunContext:
        """An attempt's context that is not entered."""
        return RunContext(self.config, self.store, SecretFolder(self.secrets))

    def with_files(self, files: Mapping[str, str | bytes | list[dict[str, Any]]]) -> DatasetRun:
        """Write files: text, bytes, or rows as JSON lines."""
        for name, content in files.items():
            path = self.data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, list):
                path.write_text("".join(json.dumps(row) + "\n" for row in content))
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def but(self, **changes: Any) -> DatasetRun:
        """The same Run with other fields."""
        return replace(self, **changes)

    def with_spec(self, **members: Any) -> DatasetRun:
        """The same Run with other members of the spec."""
        return replace(self, spec={**self.spec, **members})

    def execute(self) -> RunResult:
        """Run the attempt in this process."""
        found = attempt(self.context())
        assert found is not None
        return found

    def written(self) -> RunResult:
        """The result in the store."""
        return RunResult.model_validate_json(self.store.read(f"{self.config.attempt_path}/result.json"))

    def rows(self, result: RunResult, split: str = "all") -> list[dict[str, Any]]:
        """The rows of a split of the version that a result names."""
        return list(self.table(result, f"data/{split}.parquet").to_pylist())

    def table(self, result: RunResult, name: str) -> pa.Table:
        """A file of the version that a result names."""
        assert result.dataset is not None
        path = f"{self.store.path_of(result.dataset.uri)}/{name}"
        return pq.read_table(io.BytesIO(self.store.read(path)))


def memory_file(path: str, data: bytes, *, version: str = "v1", limit: int = 1 << 28) -> SourceFile:
    """A source file whose content is in memory."""
    return SourceFile("data", path, len(data), version, limit, lambda: io.BytesIO(data), exact=True)
