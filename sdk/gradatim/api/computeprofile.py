"""`ComputeProfile`: what the platform team owns about compute, stores and prices. Cluster-scoped.

Users name a profile; they never see addresses or credentials. Store roots, endpoints and the runtime's type are immutable, because running
objects and their clean-up depend on them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import SET, ApiModel, ObjectName, ReadModel, Seconds, Short, Timestamp, map_list, rules
from gradatim.api.meta import Condition, ObjectMeta, State

Address = Annotated[str, Field(max_length=1024, pattern=r"^https?://[^@\s]+$")]


class RayClusterRuntime(ApiModel):
    """A standing Ray cluster, reached by its Jobs API. One trust domain."""

    address: Address = Field(description="Dashboard address, without credentials.")
    operator_secret_name: ObjectName | None = Field(
        default=None, description="Secret in the operator's namespace; key `auth_token`."
    )
    secrets_path: Annotated[str, Field(max_length=1024, pattern=r"^/")] = Field(
        default="/var/run/secrets/gradatim",
        description="Folder on the cluster's nodes that holds one sub-folder per Secret and one file per key.",
    )
    shared_trust: bool = Field(
        default=False, description="Several namespaces may use this cluster although it cannot keep them apart."
    )


class Runtime(ApiModel):
    """Where Runs execute."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.type != 'rayCluster' || has(self.rayCluster)", "type rayCluster needs the block rayCluster"),
        )
    )
    type: Literal["rayCluster"] = Field(
        default="rayCluster", json_schema_extra=rules(("self == oldSelf", "runtime.type is immutable"))
    )
    ray_cluster: RayClusterRuntime | None = None

    @model_validator(mode="after")
    def _block(self) -> Runtime:
        if self.type == "rayCluster" and self.ray_cluster is None:
            raise ValueError("type rayCluster needs the block rayCluster")
        return self


class ArtifactStore(ApiModel):
    """Where Runs keep checkpoints, results and artifacts. The operator reads it, the workload writes it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.root.contains('{namespace}')", "root must contain {namespace}"),
            ("self.root == oldSelf.root", "artifactStore.root is immutable"),
            (
                "has(self.endpoint) == has(oldSelf.endpoint) && (!has(self.endpoint) || self.endpoint == oldSelf.endpoint)",
                "artifactStore.endpoint is immutable",
            ),
        )
    )
    root: Annotated[str, Field(max_length=1024, pattern=r"^(file:///|s3://[a-z0-9][a-z0-9.-]+/).*")] = Field(
        description="file:///store/{namespace}/ or s3://bucket/{namespace}/."
    )
    endpoint: Address | None = None
    region: Annotated[str, Field(max_length=63)] | None = None
    operator_secret_name: ObjectName | None = None
    workload_secret_name: ObjectName | None = None

    @model_validator(mode="after")
    def _template(self) -> ArtifactStore:
        if "{namespace}" not in self.root:
            raise ValueError("root must contain {namespace}")
        return self


class VectorStore(ApiModel):
    """A Weaviate 1.32 or later."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.endpoint == oldSelf.endpoint", "vectorStore.endpoint is immutable"))
    )
    endpoint: Address
    grpc_endpoint: Address
    operator_secret_name: ObjectName | None = Field(default=None, description="Key `api-key`.")
    workload_secret_name: ObjectName | None = Field(default=None, description="Key `api-key`.")


class Pricing(ApiModel):
    """What compute costs, for estimates."""

    accelerator_hour: Annotated[str, Field(max_length=20, pattern=r"^[0-9]+(\.[0-9]+)?$")] = "0"
    cpu_hour: Annotated[str, Field(max_length=20, pattern=r"^[0-9]+(\.[0-9]+)?$")] = "0"
    currency: Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$")] = "USD"


class ConcurrencyLimit(ApiModel):
    """Runs at a time; beyond it objects wait, fairly between namespaces."""

    per_namespace: Annotated[int, Field(ge=1, le=10_000)] | None = None
    total: Annotated[int, Field(ge=1, le=100_000)] | None = None


class Limits(ApiModel):
    """What users may ask for."""

    max_workers: Annotated[int, Field(ge=1, le=1024)] = 16
    max_run_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 86_400
    max_concurrent_runs: ConcurrencyLimit = Field(default_factory=ConcurrencyLimit)
    allowed_source_roots: Annotated[
        list[Annotated[str, Field(max_length=1024, pattern=r"^/")]], Field(max_length=32, json_schema_extra=SET)
    ] = Field(default_factory=list, description="Folders below which `path` sources and `file:` models may lie.")
    allow_private_networks: bool = Field(
        default=False, description="Sources may lie on loopback, private or link-local addresses."
    )
    max_source_bytes: Annotated[int, Field(ge=1, le=2**50)] = 2**36
    max_document_bytes: Annotated[int, Field(ge=1, le=2**40)] = 2**28


class NamespaceSelector(ApiModel):
    """Namespaces by label; an empty one means all."""

    match_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = Field(
        default_factory=dict
    )


class AllowedNamespaces(ApiModel):
    """Which namespaces may use the profile."""

    selector: NamespaceSelector = Field(default_factory=NamespaceSelector)


class ComputeProfileSpec(ApiModel):
    """What the platform team declares."""

    runtime: Runtime
    artifact_store: ArtifactStore
    vector_store: VectorStore | None = None
    pricing: Pricing = Field(default_factory=Pricing)
    limits: Limits = Field(default_factory=Limits)
    allowed_namespaces: AllowedNamespaces = Field(default_factory=AllowedNamespaces)
    probe_interval_seconds: Annotated[Seconds, Field(ge=5)] = 60


class ComputeProfileStatus(ReadModel):
    """What the operator found when it probed every dependency."""

    observed_generation: int = -1
    state: State = State.PENDING
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    runtime_version: Short | None = None
    vector_store_version: Short | None = None
    active_runs: int = 0
    last_probe: Timestamp | None = None


class ComputeProfile(ReadModel):
    """A ComputeProfile as applied and as observed."""

    api_version: Literal["gradatim.dev/v1alpha1"] = "gradatim.dev/v1alpha1"
    kind: Literal["ComputeProfile"] = "ComputeProfile"
    metadata: ObjectMeta
    spec: ComputeProfileSpec
    status: ComputeProfileStatus | None = None
