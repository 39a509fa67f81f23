"""Another Dataset of the namespace, as the operator resolved it: the `datasetRef` source.

Its Parquet files are content-addressed, so their version is the Dataset's digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO, cast

from gradatim.api.reasons import Reason
from gradatim.api.run import ResolvedDataset
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import StoreError, WorkloadError
from gradatim.workloads.sources.base import Listing, SourceFile, listing
from gradatim.workloads.store import ArtifactStore


def list_dataset(
    source: str, name: str, datasets: Sequence[ResolvedDataset], store: ArtifactStore, limit: int
) -> Listing:
    """List `data/<split>.parquet` of the resolved Dataset `name`."""
    found = next((item for item in datasets if item.name == name), None)
    if found is None:
        raise WorkloadError(
            Failure.USER, Reason.DATASET_NOT_FOUND, f"source {source}: Dataset {name} was not resolved for this run"
        )
    try:
        folder = store.path_of(found.uri)
    except StoreError as error:
        raise WorkloadError(Failure.USER, Reason.SOURCE_NOT_ALLOWED, f"source {source}: {error}") from error

    def opener(path: str) -> Callable[[], BinaryIO]:
        return lambda: cast("BinaryIO", store.open_input(path))

    files = [
        SourceFile(
            source,
            path.removeprefix(f"{folder}/data/"),
            store.size(path),
            found.digest,
            limit,
            opener(path),
            exact=True,
        )
        for path in store.list(f"{folder}/data")
        if path.endswith(".parquet")
    ]
    return listing(source, files, revision=found.digest)
