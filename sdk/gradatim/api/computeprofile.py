"""`ComputeProfile`: what the platform team owns about compute, stores and prices. Cluster-scoped.

Users name a profile; they never see addresses or credentials. Store roots, endpoints and the runtime's type are immutable, because running
objects and their clean-up depend on them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import (
    SET,
    Address,
    ApiModel,
    Currency,
    DecimalAmount,
    Flag,
    ObjectName,
    ReadModel,
    Region,
    Short,
    Timestamp,
    rules,
)
from gradatim.api.kuberay import KubeRayRuntime
from gradatim.api.meta import Conditions, ObjectMeta, ObservedGeneration, State

KUBERAY_SECRETS_PATH = "/var/run/secrets/gradatim"  # where a pod finds the Secrets of its Run
_RUNTIME_RULES = (
    ("self.type != 'rayCluster' || has(self.rayCluster)", "type rayCluster needs the block rayCluster"),
    ("self.type != 'kuberay' || has(self.kubeRay)", "type kuberay needs the block kubeRay"),
    ("self.type == 'rayCluster' || !has(self.rayCluster)", "the block rayCluster needs type rayCluster"),
    ("self.type == 'kuberay' || !has(self.kubeRay)", "the block kubeRay needs type kuberay"),
)
_SHARED_FOLDER = r"^file:///[^{}]+/\{namespace\}(/[^{}]*)?$"
_IS_SHARED_FOLDER = f"self.artifactStore.root.matches(r'{_SHARED_FOLDER}')"
_VOLUME_RULES = (
    (
        "!has(self.runtime.kubeRay) || self.artifactStore.root.startsWith('s3://') || has(self.runtime.kubeRay.artifactVolume)",
        "a file: artifact store needs runtime.kubeRay.artifactVolume, so that pods and operator share it",
    ),
    (
        f"!has(self.runtime.kubeRay) || !has(self.runtime.kubeRay.artifactVolume) || {_IS_SHARED_FOLDER}",
        "runtime.kubeRay.artifactVolume needs an artifactStore.root of the form file:///folder/{namespace}/",
    ),
)


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
    shared_trust: Flag = Field(
        default=False, description="Several namespaces may use this cluster although it cannot keep them apart."
    )


class Runtime(ApiModel):
    """Where Runs execute."""

    model_config = ConfigDict(json_schema_extra=rules(*_RUNTIME_RULES))
    type: Literal["rayCluster", "kuberay"] = Field(
        default="rayCluster",
        json_schema_extra=rules(("self == oldSelf", "runtime.type is immutable")),
        description="Immutable. rayCluster is a standing Ray cluster, kuberay starts one per attempt.",
    )
    ray_cluster: RayClusterRuntime | None = None
    kube_ray: KubeRayRuntime | None = None

    @property
    def secrets_path(self) -> str | None:
        """Return the folder in which a workload finds its Secrets."""
        return self.ray_cluster.secrets_path if self.ray_cluster is not None else KUBERAY_SECRETS_PATH

    @model_validator(mode="after")
    def _block(self) -> Runtime:
        found = (self.ray_cluster is not None, self.kube_ray is not None)
        wanted = (self.type == "rayCluster", self.type == "kuberay")
        for has, wants, needs, alone in zip(found, wanted, _RUNTIME_RULES[:2], _RUNTIME_RULES[2:], strict=True):
            if has != wants:
                raise ValueError(needs[1] if wants else alone[1])
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
    endpoint: Address | None = Field(
        default=None, description="Address of an S3-compatible store; absent means Amazon S3. Immutable."
    )
    region: Region | None = Field(default=None, description="Region of the bucket.")
    operator_secret_name: ObjectName | None = Field(
        default=None,
        description="Secret in the operator's namespace; keys `access-key-id` and `secret-access-key`.",
    )
    workload_secret_name: ObjectName | None = Field(
        default=None, description="Secret of the Run; the same keys, limited to the namespace's prefix."
    )

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
    endpoint: Address = Field(description="REST address. Immutable.")
    grpc_endpoint: Address = Field(description="gRPC address.")
    operator_secret_name: ObjectName | None = Field(default=None, description="Key `api-key`.")
    workload_secret_name: ObjectName | None = Field(default=None, description="Key `api-key`.")


class Pricing(ApiModel):
    """What compute costs, for the figure in `status.run.cost`."""

    accelerator_hour: DecimalAmount = Field(default="0", description="Price of one accelerator for one hour.")
    cpu_hour: DecimalAmount = Field(default="0", description="Price of one CPU for one hour.")
    currency: Currency = Field(default="USD", description="ISO 4217 code.")


class ConcurrencyLimit(ApiModel):
    """Runs at a time; beyond it objects wait, fairly between namespaces."""

    per_namespace: Annotated[int, Field(ge=1, le=10_000, strict=True)] | None = Field(
        default=None, description="Runs at a time in one namespace; absent means no limit."
    )
    total: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = Field(
        default=None, description="Runs at a time in all namespaces together; absent means no limit."
    )


class Limits(ApiModel):
    """What users may ask for."""

    max_workers: Annotated[int, Field(ge=1, le=1024, strict=True)] = Field(
        default=16, description="Most that compute.workers may ask for."
    )
    max_run_seconds: Annotated[int, Field(ge=1, le=31_536_000, strict=True)] = Field(
        default=86_400, description="No attempt runs longer, whatever activeDeadlineSeconds says."
    )
    max_concurrent_runs: ConcurrencyLimit = Field(default_factory=ConcurrencyLimit)
    allowed_source_roots: Annotated[
        list[Annotated[str, Field(max_length=1024, pattern=r"^/")]], Field(max_length=32, json_schema_extra=SET)
    ] = Field(default_factory=list, description="Folders below which `path` sources and `file:` models may lie.")
    allow_private_networks: Flag = Field(
        default=False, description="Sources may lie on loopback, private or link-local addresses."
    )
    max_source_bytes: Annotated[int, Field(ge=1, le=2**50, strict=True)] = Field(
        default=2**36, description="Most that one source may hold."
    )
    max_document_bytes: Annotated[int, Field(ge=1, le=2**40, strict=True)] = Field(
        default=2**28, description="Most that one file or document may hold."
    )


class NamespaceSelector(ApiModel):
    """Namespaces by label; an empty one means all."""

    match_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = Field(
        default_factory=dict, description="Labels that a namespace must carry, all of them."
    )


class AllowedNamespaces(ApiModel):
    """Which namespaces may use the profile."""

    selector: NamespaceSelector = Field(default_factory=NamespaceSelector)


class ComputeProfileSpec(ApiModel):
    """What the platform team declares."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(oldSelf.vectorStore) || has(self.vectorStore)", "vectorStore cannot be removed once it is set"),
            *_VOLUME_RULES,
        )
    )
    runtime: Runtime
    artifact_store: ArtifactStore
    vector_store: VectorStore | None = None
    pricing: Pricing = Field(default_factory=Pricing)
    limits: Limits = Field(default_factory=Limits)
    allowed_namespaces: AllowedNamespaces = Field(default_factory=AllowedNamespaces)
    probe_interval_seconds: Annotated[int, Field(ge=5, le=31_536_000, strict=True)] = Field(
        default=60, description="Time between two probes of every dependency while all answer."
    )

    @model_validator(mode="after")
    def _shared_store(self) -> ComputeProfileSpec:
        pods, root = self.runtime.kube_ray, self.artifact_store.root
        if pods is None:
            return self
        if pods.artifact_volume is None and not root.startswith("s3://"):
            raise ValueError(_VOLUME_RULES[0][1])
        if pods.artifact_volume is not None and not re.fullmatch(_SHARED_FOLDER, root):
            raise ValueError(_VOLUME_RULES[1][1])
        return self


class ComputeProfileStatus(ReadModel):
    """What the operator found when it probed every dependency."""

    observed_generation: ObservedGeneration = -1
    state: State = State.PENDING
    conditions: Conditions = Field(default_factory=list)
    reason_text: Short | None = Field(
        default=None, description="Why it is not well, in one word, for the printer column; absent while all is well."
    )
    runtime_version: Short | None = Field(default=None, description="Version that the Ray cluster reports.")
    vector_store_version: Short | None = Field(default=None, description="Version that Weaviate reports.")
    active_runs: int = Field(default=0, description="Runs that hold a slot of this profile.")
    last_probe: Timestamp | None = Field(default=None, description="When a probe last found something new.")


class ComputeProfile(ReadModel):
    """What the platform team owns about compute, stores and prices: users name it and see no address."""

    api_version: Literal["gradatim.dev/v1alpha1"] = "gradatim.dev/v1alpha1"
    kind: Literal["ComputeProfile"] = "ComputeProfile"
    metadata: ObjectMeta
    spec: ComputeProfileSpec
    status: ComputeProfileStatus | None = None
