"""Two credentials for one S3 store: a workload writes its namespace's prefix and no other, the operator reads, and results elsewhere are nothing."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.platform import S3Server
from tests.support.s3limits import Keys, filesystem, limited, listing, statement
from tests.support.workload_runs import DatasetRun

from gradatim.api.run import StoreConfig
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.errors import DependencyError
from gradatim.operator.stores.artifacts import ArtifactStore
from gradatim.operator.stores.documents import parse_result
from gradatim.operator.stores.identity import Opener, Secret
from gradatim.workloads.__main__ import main


@dataclass(frozen=True)
class Place:
    """A bucket with the credentials that a platform team would make: one for the operator, one for each namespace."""

    server: S3Server
    bucket: str
    opener: Opener

    def workload(self, namespace: str) -> Keys:
        """Return what the Secret of a namespace holds: everything below its prefix."""
        prefix = f"{namespace}/"
        return limited(self.server, [statement(self.bucket, prefix, "*"), listing(self.bucket, prefix)])

    def operator(self) -> Keys:
        """Return what the operator's Secret holds: reading and deleting everywhere, writing below `_control/`."""
        reading = statement(self.bucket, "", "GetObject", "DeleteObject")
        control = statement(self.bucket, "*/_control/", "PutObject", "AbortMultipartUpload")
        return limited(self.server, [reading, control, listing(self.bucket, "")])

    def store(self, namespace: str) -> ArtifactStore:
        """Return a namespace's store as the operator opens it."""
        identity = StoreIdentity(
            profile="p",
            profile_uid="u",
            artifact_root=f"s3://{self.bucket}/{{namespace}}/",
            artifact_endpoint=self.server.endpoint,
            artifact_region="us-east-1",
        )
        return self.opener.artifacts(identity, namespace, Secret("1", self.operator().secret_data))

    def run(self, folder: Path, namespace: str, keys: Keys) -> DatasetRun:
        """Return a Run whose config names the prefix of `namespace` and whose mounted Secret holds `keys`."""
        root = f"s3://{self.bucket}/{namespace}/"
        store = StoreConfig(root=root, endpoint=self.server.endpoint, region="us-east-1", secret_name="artifacts")
        files = {"rows.jsonl": [{"text": "one"}, {"text": "two"}]}
        return DatasetRun(folder, {}, secrets=keys.mounted(folder / "secrets"), store_config=store).with_files(files)

    def names(self) -> list[str]:
        """Return the names of all files in the bucket."""
        from pyarrow import fs

        found = filesystem(self.server).get_file_info(fs.FileSelector(self.bucket, recursive=True))
        return [f.path.removeprefix(f"{self.bucket}/") for f in found if f.type == fs.FileType.File]


@pytest_asyncio.fixture
async def place(s3_server: S3Server) -> AsyncIterator[Place]:
    """Return a new bucket."""
    bucket = f"store-{uuid.uuid4().hex[:8]}"
    filesystem(s3_server).create_dir(bucket)
    opener = Opener()
    yield Place(s3_server, bucket, opener)
    await opener.close()


def start(run: DatasetRun) -> int:
    """Start the workload as a pod does."""
    file = run.folder / "config.json"
    file.write_text(run.config.model_dump_json(by_alias=True, exclude_none=True))
    return main(["validate", "--config", str(file), "--attempt", "1", "--digest", run.config.digest])


async def test_what_a_workload_writes_with_its_credentials_the_operator_reads_with_its_own(
    place: Place, tmp_path: Path
) -> None:
    run = place.run(tmp_path, "team", place.workload("team"))
    assert start(run) == 0
    raw = await place.store("team").read(f"{run.config.attempt_path}/result.json")
    assert raw is not None
    assert parse_result(raw, run.config).outcome == "Succeeded"


async def test_a_workload_that_names_another_namespaces_prefix_is_refused_by_the_store(
    place: Place, tmp_path: Path
) -> None:
    run = place.run(tmp_path, "victim", place.workload("team"))
    assert start(run) != 0
    assert place.names() == []


async def test_the_operator_writes_requests_to_stop_and_nothing_else(place: Place, tmp_path: Path) -> None:
    store = place.store("team")
    await store.write_control("_control/r-1/stop.json", b"{}")
    assert await store.read("_control/r-1/stop.json") == b"{}"
    with pytest.raises((DependencyError, OSError)):
        await store._run(lambda: store.files.write(("dataset", "x"), b"forged"), 20.0)
    run = place.run(tmp_path, "team", place.workload("team"))
    assert start(run) == 0
    await store.delete(run.config.object_path, within=run.config.object_path)
    assert [n for n in place.names() if "_control" not in n] == []


async def test_a_result_in_another_namespaces_prefix_counts_for_nobody(place: Place, tmp_path: Path) -> None:
    run = place.run(tmp_path, "attacker", place.workload("attacker"))
    assert start(run) == 0
    path = f"{run.config.attempt_path}/result.json"
    assert await place.store("attacker").read(path) is not None
    assert await place.store("team").read(path) is None
