"""The block `kubeRay` of a ComputeProfile: the pods in which Runs execute on Kubernetes.

Part of `computeprofile`. The platform team owns it; users say `compute.workers` and `compute.priority` only. A pod template is an opaque
overlay for what has no field of its own; what would weaken the pods is refused here by name, never dropped in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from gradatim.api.base import (
    ATOMIC,
    FREE_FORM,
    MAX_NESTING,
    SET,
    ApiModel,
    Flag,
    Name,
    ObjectName,
    nested_deeper,
    rules,
)

MAX_OVERLAY_BYTES = 32_768
RAY_CONTAINER = "ray"  # the overlay's container of this name is merged with ours

Cpu = Annotated[str, Field(max_length=16, pattern=r"^([0-9]+(\.[0-9]{1,3})?|[0-9]+m)$")]
Memory = Annotated[str, Field(max_length=20, pattern=r"^[0-9]+(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$")]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
QualifiedName = Annotated[
    str, Field(min_length=1, max_length=317, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")
]

_DIGEST = r"@sha256:[0-9a-f]{64}$"
_PINNED = "image must be pinned as name@sha256:digest; allowUnpinnedImage: true is for clusters with side-loaded images"
_PRIORITIES = "allowedPriorities needs queueName: without a queue priorities are ignored"
_OWN_FIELDS = {
    "serviceAccountName": "kubeRay.serviceAccountName",
    "serviceAccount": "kubeRay.serviceAccountName",
    "priorityClassName": "kubeRay.priorityClassName",
    "imagePullSecrets": "kubeRay.imagePullSecrets",
    "nodeSelector": "the group's nodeSelector",
    "tolerations": "the group's tolerations",
}
_NEVER = (
    "hostNetwork", "hostPID", "hostIPC", "hostUsers", "nodeName", "automountServiceAccountToken", "restartPolicy",
    "shareProcessNamespace", "ephemeralContainers",
)  # fmt: skip
_POD_SECURITY = frozenset(
    {"fsGroup", "fsGroupChangePolicy", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxOptions"}
)
# Those of the Pod Security level "restricted"; the others show a pod something of its node or of a foreign server.
_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
# Those of the Pod Security levels "baseline" and "restricted".
_SELINUX_TYPES = frozenset({"container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_RESERVED_LABEL = re.compile(r"(^|\.|/)(gradatim\.dev|ray\.io|kueue\.x-k8s\.io|app\.kubernetes\.io)/")


class Toleration(ApiModel):
    """A taint that the pods tolerate."""

    key: QualifiedName | None = Field(default=None, description="Absent with operator Exists tolerates everything.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Whether the value counts.")
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Absent means every effect."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000, strict=True)] | None = Field(
        default=None, description="How long a NoExecute taint is tolerated."
    )


class PodResources(ApiModel):
    """What one pod asks for and gets: requests and limits alike, so that quotas count what is used."""

    cpu: Cpu = Field(default="1", description="CPUs, e.g. 2 or 500m.")
    memory: Memory = Field(default="2Gi", description="Memory, e.g. 8Gi; Ray's object store takes a part of it.")


class Accelerators(ApiModel):
    """Accelerators of one pod."""

    resource: QualifiedName = Field(default="nvidia.com/gpu", description="Extended resource of the device plugin.")
    count: Annotated[int, Field(ge=1, le=64, strict=True)] = Field(default=1, description="How many a pod gets.")


class PodGroup(ApiModel):
    """The shape of the head's pod or of the workers' pods."""

    resources: PodResources = Field(default_factory=PodResources)
    accelerators: Accelerators | None = None
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=16)] = Field(
        default_factory=dict, description="Labels that a node must carry, e.g. those of a GPU pool."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=16, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Taints that the pods tolerate."
    )
    pod_template: Annotated[dict[str, Any], Field(max_length=2, json_schema_extra=FREE_FORM)] = Field(
        default_factory=dict,
        description="Overlay of a PodTemplateSpec: labels, annotations and spec. Its container `ray` is merged with the "
        "platform's, others are added; security contexts and the command of `ray` are refused.",
    )

    @field_validator("pod_template")
    @classmethod
    def _harmless(cls, overlay: dict[str, Any]) -> dict[str, Any]:
        found = overlay_problem(overlay)
        if found is not None:
            raise ValueError(f"podTemplate: {found}")
        return overlay


class ArtifactVolume(ApiModel):
    """A volume claim of the Run's namespace that holds a `file:` artifact store; the operator mounts the same storage."""

    claim_name: ObjectName = Field(description="Claim of that name in every namespace that uses the profile.")
    shared: Flag = Field(
        default=False,
        description="The claim shows the whole store, of which the folder named like the namespace is mounted. Without, "
        "it shows that folder only, which also keeps other pods of the namespace from the rest.",
    )


class KubeRayRuntime(ApiModel):
    """One RayJob per attempt, run by KubeRay 1.6 or later in the namespace of the object."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (f"self.allowUnpinnedImage || self.image.matches('{_DIGEST}')", _PINNED),
            ("!has(self.allowedPriorities) || has(self.queueName)", _PRIORITIES),
        )
    )
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$")] = Field(
        description="Image of the workloads, as name@sha256:digest."
    )
    allow_unpinned_image: Flag = Field(
        default=False, description="Accept an image by tag: two attempts of a Run may then differ."
    )
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", description="When nodes fetch the image; Never for side-loaded ones."
    )
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=8, json_schema_extra=SET)] = Field(
        default_factory=list, description="Secrets of the Run's namespace for the registry."
    )
    ray_version: Annotated[
        str, Field(max_length=16, pattern=r"^(2\.(5[4-9]|[6-9][0-9]|[1-9][0-9]{2})|[3-9]\.[0-9]{1,3})\.[0-9]{1,3}$")
    ] = Field(description="Version of Ray in the image, 2.54 or later: token authentication is always on.")
    head: PodGroup = Field(default_factory=PodGroup)
    worker: PodGroup = Field(default_factory=PodGroup)
    service_account_name: ObjectName | None = Field(
        default=None, description="Service account of the Run's namespace; its token is not mounted."
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of the pods.")
    queue_name: ObjectName | None = Field(
        default=None, description="LocalQueue of the Run's namespace; Kueue then decides when an attempt starts."
    )
    allowed_priorities: Annotated[list[Name], Field(max_length=32)] | None = Field(
        default=None,
        json_schema_extra={**SET},
        description="WorkloadPriorityClasses that compute.priority may name; absent means any, an empty list none.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=604_800, strict=True)] = Field(
        default=300, description="How long pods are kept after an attempt ended, for their logs."
    )
    pre_running_deadline_seconds: Annotated[int, Field(ge=10, le=86_400, strict=True)] = Field(
        default=900, description="An attempt whose pods are not ready after this time ends; another may follow."
    )
    artifact_volume: ArtifactVolume | None = None

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if not self.allow_unpinned_image and not re.search(_DIGEST, self.image):
            raise ValueError(_PINNED)
        if self.allowed_priorities is not None and self.queue_name is None:
            raise ValueError(_PRIORITIES)
        return self


def overlay_problem(overlay: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a pod template overlay, or None.

    >>> overlay_problem({"spec": {"hostNetwork": True}})
    'spec.hostNetwork must not be set'
    """
    if nested_deeper(overlay):
        return f"nested deeper than {MAX_NESTING} levels"
    if len(json.dumps(overlay)) > MAX_OVERLAY_BYTES:
        return f"larger than {MAX_OVERLAY_BYTES} bytes"
    if unknown := sorted(overlay.keys() - {"metadata", "spec"}):
        return f"{unknown[0]} is neither metadata nor spec"
    return _metadata_problem(overlay.get("metadata", {})) or _spec_problem(overlay.get("spec", {}))


def _metadata_problem(metadata: Any) -> str | None:
    if not isinstance(metadata, dict):
        return "metadata is not an object"
    if unknown := sorted(metadata.keys() - {"labels", "annotations"}):
        return f"metadata.{unknown[0]} must not be set; labels and annotations may"
    for part in ("labels", "annotations"):
        entries = metadata.get(part, {})
        if not isinstance(entries, dict) or not all(isinstance(v, str) for v in entries.values()):
            return f"metadata.{part} is not an object of texts"
        if taken := [key for key in sorted(entries) if _RESERVED_LABEL.search(key)]:
            return f"metadata.{part}: {taken[0]} belongs to the platform"
    if profiles := [key for key in sorted(metadata.get("annotations", {})) if key.startswith(_APPARMOR)]:
        return f"metadata.annotations: {profiles[0]} must not be set; the node's default profile holds"
    return None


def _spec_problem(spec: Any) -> str | None:
    if not isinstance(spec, dict):
        return "spec is not an object"
    for name in sorted(spec):
        if name in _OWN_FIELDS:
            return f"spec.{name} has a field of its own: {_OWN_FIELDS[name]}"
        if name in _NEVER:
            return f"spec.{name} must not be set"
    if (found := _security_problem(spec.get("securityContext", {}))) is not None:
        return found
    for part in ("containers", "initContainers", "volumes"):
        if not _named(spec.get(part, [])):
            return f"spec.{part} is not a list of objects with different names"
    return _volumes_problem(spec.get("volumes", [])) or _containers_problem(spec)


def _security_problem(context: Any) -> str | None:
    if not isinstance(context, dict) or (unknown := sorted(context.keys() - _POD_SECURITY)):
        what = f"securityContext.{unknown[0]}" if isinstance(context, dict) else "securityContext"
        return f"spec.{what} must not be set; {', '.join(sorted(_POD_SECURITY))} may"
    options = context.get("seLinuxOptions", {})
    if not isinstance(options, dict) or not all(isinstance(v, str) for v in options.values()):
        return "spec.securityContext.seLinuxOptions is not an object of texts"
    if other := sorted(options.keys() - {"level", "type"}):
        return f"spec.securityContext.seLinuxOptions.{other[0]} must not be set; level and type may"
    if "type" in options and options["type"] not in _SELINUX_TYPES:
        return f"spec.securityContext.seLinuxOptions.type must be one of {', '.join(sorted(_SELINUX_TYPES))}"
    return None


def _volumes_problem(volumes: list[dict[str, Any]]) -> str | None:
    for volume in volumes:
        if (found := _volume_problem(volume)) is not None:
            return f"spec.volumes: {volume['name']} {found}"
    return None


def _containers_problem(spec: Mapping[str, Any]) -> str | None:
    for part in ("containers", "initContainers"):
        for container in spec.get(part, []):
            if (found := _container_problem(container)) is not None:
                return f"spec.{part}: {container['name']}: {found}"
    return None


def _named(members: Any) -> bool:
    """Return whether this is a list of objects, each with a name that no other has."""
    if not isinstance(members, list) or not all(
        isinstance(m, dict) and isinstance(m.get("name"), str) for m in members
    ):
        return False
    return len({m["name"] for m in members}) == len(members)


def _volume_problem(volume: Mapping[str, Any]) -> str | None:
    if other := sorted(volume.keys() - _VOLUMES - {"name"}):
        return f"is a {other[0]}; use a persistentVolumeClaim"
    projected = volume.get("projected", {})
    sources = projected.get("sources", []) if isinstance(projected, dict) else None
    if not isinstance(sources, list) or not all(isinstance(s, dict) for s in sources):
        return "is not a projected volume with a list of sources"
    if any("serviceAccountToken" in source for source in sources):
        return "mounts a serviceAccountToken, which no pod of a Run gets"
    return None


def _container_problem(container: Mapping[str, Any]) -> str | None:
    if "securityContext" in container:
        return "securityContext must not be set; every container gets the restricted one"
    for part in ("env", "envFrom", "volumeMounts", "ports"):
        members = container.get(part, [])
        if not isinstance(members, list) or not all(isinstance(m, dict) for m in members):
            return f"{part} is not a list of objects"
    if any("hostPort" in port for port in container.get("ports", [])):
        return "ports must not have a hostPort"
    if container["name"] == RAY_CONTAINER:
        if taken := sorted(container.keys() & {"image", "imagePullPolicy", "command", "args", "envFrom"}):
            return f"{taken[0]} must not be set"
        if any(str(e.get("name", "")).startswith(("RAY_AUTH", "GRADATIM_")) for e in container.get("env", [])):
            return "env must not set RAY_AUTH… or GRADATIM_… variables"
    return None
