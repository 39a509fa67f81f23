"""The run contract: the only thing that the control plane and the data plane share.

The operator freezes a `RunConfig` in a ConfigMap and hands it to one process, `python -m gradatim.workloads <workload>`; the process writes
`Progress` and one `RunResult` to the artifact store. The operator treats both as untrusted: strict schema, bounded size, verdicts
recomputed. No secret ever enters a RunConfig: it names folders in which the workload finds them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gradatim.api.base import ApiModel, Count, Digest, ReadModel, Short, Text, Timestamp, Uid
from gradatim.api.computeprofile import Limits
from gradatim.api.dataset import DatasetSpec, SplitSize
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.runstatus import Failure, Metrics, Progress, ReasonCounts, ValidationSummary

CONFIG_ENV = "GRADATIM_RUN_CONFIG"
MAX_DOCUMENT_BYTES = 1_048_576
# How a process ends whose result a full artifact store did not take: all that it can still say, and runtimes tell it.
STORE_FULL_STATUS = 73
_PACKED = "zlib:"
Long = Annotated[str, Field(max_length=1024)]  # as long as a profile may say


class RunObject(ApiModel):
    """The object that a Run belongs to."""

    kind: Literal["Dataset", "RAGIndex"]
    namespace: Short
    name: Short
    uid: Short
    generation: int = 0


class StoreConfig(ApiModel):
    """The artifact store, with `{namespace}` already filled in. `root` ends with a slash."""

    root: Annotated[str, Field(max_length=1024, pattern=r"^(file:///|s3://).*/$")]
    endpoint: Long | None = None
    region: Short | None = None
    secret_name: Short | None = None


class VectorStoreConfig(ApiModel):
    """The Weaviate to load into."""

    endpoint: Long
    grpc_endpoint: Long
    secret_name: Short | None = None


class ResolvedDataset(ApiModel):
    """A Dataset of the same namespace, resolved by the operator."""

    name: Short
    digest: Digest
    uri: Annotated[str, Field(max_length=2048)]


class SuiteDocument(ApiModel):
    """A Great Expectations suite read from a ConfigMap, as JSON text."""

    name: Short
    document: Annotated[str, Field(max_length=262_144)]


class PreviousVersion(ApiModel):
    """A version that is there. The one that a build starts from lends vectors, and its digests decide `unchanged`; see `restore` too."""

    digest: Digest
    uri: Annotated[str, Field(max_length=2048)]
    collection: Short
    resolved_digest: Digest | None = None


class IndexInputs(ApiModel):
    """What the `index` workload gets besides the spec."""

    collection_prefix: Annotated[str, Field(pattern=r"^G[0-9a-f]{10}_$", max_length=12)] = Field(
        description="Every collection of this object starts so; the rest is the artifact digest's first ten characters."
    )
    previous: PreviousVersion | None = None
    adopt_from: Uid | None = Field(
        default=None,
        description="An object of this name that is gone: its finished artifacts lend vectors, nothing else.",
    )
    force: bool = Field(default=False, description="Build although nothing changed (a requested rerun).")
    restore: PreviousVersion | None = Field(
        default=None,
        description="Load this version from its artifact into its collection, and look at no source. Where the artifact cannot be used: "
        "build, unless the spec has a pin.",
    )

    @model_validator(mode="after")
    def _first_build(self) -> IndexInputs:
        if self.adopt_from is not None and self.previous is not None:
            raise ValueError("adoptFrom is for builds without a previous version")
        return self


class RunConfig(ApiModel):
    """Everything one attempt needs. `digest` covers all but `attempt` and itself."""

    api_version: Literal["gradatim.dev/run/v1alpha1"] = "gradatim.dev/run/v1alpha1"
    workload: Literal["validate", "index"]
    object: RunObject
    run: Annotated[str, Field(max_length=63)]
    attempt: Annotated[int, Field(ge=1)]
    dataset: DatasetSpec | None = None
    index: RAGIndexSpec | None = None
    index_inputs: IndexInputs | None = None
    previous_dataset_digest: Digest | None = None
    datasets: Annotated[list[ResolvedDataset], Field(max_length=128)] = Field(default_factory=list)
    suite: SuiteDocument | None = None
    store: StoreConfig
    vector_store: VectorStoreConfig | None = None
    limits: Limits = Field(default_factory=Limits)
    secrets_path: Long | None = None
    deadline_seconds: int = 3600
    digest: Short = ""

    @property
    def object_path(self) -> str:
        """Return the folder of the object below the store's root, without slashes at the ends."""
        return object_path(self.object.kind, self.object.name, self.object.uid)

    @property
    def run_path(self) -> str:
        """Return the folder of the Run below the store's root."""
        return f"{self.object_path}/{self.run}"

    @property
    def attempt_path(self) -> str:
        """Return the folder of the attempt below the store's root."""
        return f"{self.run_path}/a{self.attempt}"

    def sealed(self) -> RunConfig:
        """Return a copy with `digest` filled in."""
        return self.model_copy(update={"digest": config_digest(self)})


def object_path(kind: str, name: str, uid: str) -> str:
    """Return the store folder of an object, relative to the namespace's root."""
    return f"{kind.lower()}/{name}/{uid}"


def attempt_name(run: str, attempt: int) -> str:
    """Return the name of the attempt: the submission's id and the child's name."""
    return f"{run}-a{attempt}"


def canonical_digest(value: object) -> str:
    """Return `sha256:…` over the canonical JSON of `value`: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def config_digest(config: RunConfig) -> str:
    """Return the digest that binds a Run's attempts: everything but the attempt's number."""
    return document_digest(config.model_dump(mode="json", by_alias=True, exclude_none=True))


def document_digest(document: Mapping[str, Any]) -> str:
    """Return `config_digest` of a config in its JSON form, of whatever release it is."""
    return canonical_digest({k: v for k, v in document.items() if k not in {"attempt", "digest"}})


def given(config: RunConfig) -> dict[str, Any]:
    """Return a config that was read as the document that it was read from: without defaults that only this release has."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def is_sealed(config: RunConfig) -> bool:
    """Return whether the digest is that of the content, be it made here or read from what a release with other defaults has frozen."""
    return config.digest in {config_digest(config), document_digest(given(config))}


def attempt_json(document: Mapping[str, Any], number: int) -> str:
    """Return what an attempt is handed: the inputs in the JSON form in which they were frozen, by whatever release, with its number."""
    return json.dumps({**document, "attempt": number}, separators=(",", ":"), ensure_ascii=False)


def packed(config_json: str, limit: int) -> str:
    """Return the config as an environment variable can carry it: as it is up to `limit` characters, compressed above.

    Linux refuses a variable of more than 128 KiB; a config with a large expectation suite is mostly repetition.
    """
    if len(config_json) <= limit:
        return config_json
    return _PACKED + base64.b64encode(zlib.compress(config_json.encode(), 9)).decode()


def unpacked(text: str) -> str:
    """Return the config's JSON. Raises `ValueError` for a damaged one or one of more than `MAX_DOCUMENT_BYTES`."""
    if not text.startswith(_PACKED):
        return text
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(text.removeprefix(_PACKED), validate=True), MAX_DOCUMENT_BYTES + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"the packed run config is damaged: {error}") from error
    if len(data) > MAX_DOCUMENT_BYTES or not stream.eof:
        raise ValueError(f"the packed run config is damaged or larger than {MAX_DOCUMENT_BYTES} bytes")
    return data.decode()


class Stamp(ReadModel):
    """Binds a document in the store to one attempt; anything without the right stamp is ignored."""

    uid: Short
    run: Short
    attempt: int
    config_digest: Short

    @classmethod
    def of(cls, config: RunConfig) -> Stamp:
        """Return the stamp of a config."""
        return cls(uid=config.object.uid, run=config.run, attempt=config.attempt, config_digest=config.digest)


class ProgressDocument(ReadModel):
    """`<run>/a<n>/progress.json`: rewritten at least every ten seconds while the attempt lives."""

    stamp: Stamp
    heartbeat: Timestamp
    progress: Progress
    process: Count = Field(default=0, description="Which process of the attempt wrote this, counted from 1.")


class DatasetOutput(ReadModel):
    """What `validate` produced."""

    digest: Digest
    uri: Annotated[str, Field(max_length=2048)]
    rows: Count
    rejected: Count = 0
    duplicates: Count = 0
    contaminated: Count = 0
    bytes: Count = 0
    splits: Annotated[list[SplitSize], Field(max_length=64)] = Field(default_factory=list)


class IndexOutput(ReadModel):
    """What `index` produced: an artifact, and a collection whose counts were reconciled with it."""

    digest: Digest
    resolved_digest: Digest
    uri: Annotated[str, Field(max_length=2048)]
    collection: Annotated[str, Field(max_length=128, pattern=r"^G[0-9a-f]{10}_[0-9a-f]{10}$")]
    encoder_digest: Digest
    documents: Count
    chunks: Count
    rejected: Count = 0
    reused_vectors: Count = 0
    adopted_vectors: Count = 0
    embedded: Count = 0
    metrics: Metrics = Field(default_factory=list)


class RunResult(ReadModel):
    """`<run>/a<n>/result.json`: written once, last, atomically."""

    stamp: Stamp
    outcome: Literal["Succeeded", "Unchanged", "Stopped", "Failed"]
    failure: Failure | None = None
    reason: Short | None = None
    message: Text = ""
    finished: Timestamp
    validation: ValidationSummary | None = None
    rejections: ReasonCounts = Field(default_factory=list)
    dataset: DatasetOutput | None = None
    index: IndexOutput | None = None
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds by stage.")

    @property
    def read_nothing(self) -> bool:
        """Whether the Run found its sources unchanged and read no row: what was rejected before still counts."""
        return self.outcome == "Unchanged" and self.validation is None


class StopRequest(ReadModel):
    """`_control/<run>/stop.json` below the namespace's root, written by the operator."""

    run: Short
    requested: Timestamp
    reason: Short = ""


def control_path(run: str) -> str:
    """Return the stop request's path below the store's root."""
    return f"_control/{run}/stop.json"
