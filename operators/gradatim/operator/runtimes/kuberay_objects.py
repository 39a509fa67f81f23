"""The RayJob of one attempt, rendered from the frozen inputs and the platform team's profile.

Called by `kuberay` once per attempt; a RayJob is never changed after its creation. Pure. No text of a user reaches a command line: the
entrypoint consists of a word from a fixed set, fixed paths, a number and a digest. Our security settings are laid over the overlay last.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from gradatim.api.computeprofile import ComputeProfileSpec
from gradatim.api.kuberay import RAY_CONTAINER, KubeRayRuntime, PodGroup
from gradatim.api.meta import LABEL_KIND, LABEL_MANAGED_BY, LABEL_OWNER, LABEL_RUN, MANAGER
from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig
from gradatim.operator.errors import WillNeverWork
from gradatim.operator.kube import owner_reference
from gradatim.operator.runtimes.base import Launch
from gradatim.operator.runtimes.kuberay_mounts import CONFIG_FILE, CONFIG_FOLDER, TMP, Mount, head_mounts, tmp
from gradatim.operator.runtimes.kueue import PRIORITY_LABEL, QUEUE_LABEL

Body = dict[str, Any]
DIGEST_ANNOTATION = "gradatim.dev/config-digest"
COMPONENT_LABEL = "app.kubernetes.io/component"
WORKLOADS = ("validate", "index")
USER_ID = 10001
STOP_WAIT_SECONDS = 10
MAX_NAME = 47  # KubeRay's, so that the RayCluster and its services have room for their suffixes
# The main process of the pod: what the driver logs there is what `kubectl logs` shows.
POD_LOG = "/proc/1/fd/1"

POD_SECURITY: Body = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# In place of KubeRay's, which asks first after ten seconds and then every five: submitting waits for it. Once ready, a pod
# that refuses counts as not ready after fifty seconds, as with KubeRay's.
READINESS: Body = {
    "httpGet": {"path": "/api/healthz", "port": 52365},
    "initialDelaySeconds": 1,
    "periodSeconds": 1,
    "timeoutSeconds": 5,
    "failureThreshold": 50,
}
CONTAINER_SECURITY: Body = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def rayjob(launch: Launch, config: RunConfig, profile: ComputeProfileSpec) -> Body:
    """Return the RayJob of an attempt. Raises `WillNeverWork` for an unknown workload or a profile without pods."""
    pods = profile.runtime.kube_ray
    if pods is None or config.workload not in WORKLOADS or len(launch.name) > MAX_NAME:
        raise WillNeverWork(
            Reason.INVALID_SPEC, "this Run cannot execute as a RayJob; check spec.runtime of its ComputeProfile"
        )
    owner = config.object
    labels = {
        LABEL_MANAGED_BY: MANAGER,
        LABEL_KIND: owner.kind,
        LABEL_OWNER: owner.uid,
        LABEL_RUN: config.run,
    }
    spec: Body = {
        "entrypoint": (
            f"python -m gradatim.workloads {config.workload} --config {CONFIG_FOLDER}/{CONFIG_FILE}"
            f" --attempt {int(config.attempt)} --digest {config.digest}"
        ),
        "jobId": launch.name,
        "submissionMode": "HTTPMode",
        "backoffLimit": 0,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": pods.ttl_seconds_after_finished,
        "preRunningDeadlineSeconds": pods.pre_running_deadline_seconds,
        "rayClusterSpec": _cluster(launch, config, profile, pods, labels),
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": launch.name,
            "namespace": launch.namespace,
            "labels": labels | _queue_labels(pods, config),
            "annotations": {DIGEST_ANNOTATION: launch.config_digest},
            "ownerReferences": [
                owner_reference({"kind": owner.kind, "metadata": {"name": owner.name, "uid": owner.uid}})
            ],
        },
        # Kueue's from here on: it sets it to false when it admits, and to true when it evicts.
        "spec": spec | ({"suspend": True} if pods.queue_name else {}),
    }


def _queue_labels(pods: KubeRayRuntime, config: RunConfig) -> dict[str, str]:
    if pods.queue_name is None:
        return {}
    spec = config.dataset or config.index
    priority = spec.compute.priority if spec is not None else None
    return {QUEUE_LABEL: pods.queue_name} | ({PRIORITY_LABEL: priority} if priority else {})


def _cluster(
    launch: Launch, config: RunConfig, profile: ComputeProfileSpec, pods: KubeRayRuntime, labels: Mapping[str, str]
) -> Body:
    """Return the RayCluster. One worker works in the driver, so that the head is the only pod and has the worker's shape."""
    alone = launch.workers == 1
    labels = dict(labels) | {COMPONENT_LABEL: "workload"}
    head = _template(pods, pods.worker if alone else pods.head, head_mounts(config, profile), labels)
    # More than one actor would go to one pod while others stand idle: a worker's pod offers one place, the head none.
    workers = _template(pods, pods.worker, (tmp(),), labels)
    replicas = {"replicas": launch.workers, "minReplicas": launch.workers, "maxReplicas": launch.workers}
    group = {"groupName": "workers", **replicas, "rayStartParams": {"num-cpus": "1"}, "template": workers}
    return {
        "rayVersion": pods.ray_version,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": False,
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "1" if alone else "0"},  # noqa: S104 - a pod's
            "template": head,
        },
        "workerGroupSpecs": [] if alone else [group],
    }


def _template(pods: KubeRayRuntime, group: PodGroup, mounts: Iterable[Mount], labels: Mapping[str, str]) -> Body:
    """Return the pod template of a group: ours, the overlay over it, our security over both."""
    mounts = tuple(mounts)
    amounts = {"cpu": group.resources.cpu, "memory": group.resources.memory}
    if group.accelerators is not None:
        amounts[group.accelerators.resource] = str(group.accelerators.count)
    container: Body = {
        "name": RAY_CONTAINER,
        "env": [{"name": name, "value": value} for name, value in _ENVIRONMENT.items()],
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "volumeMounts": [m.in_container() for m in mounts],
    }
    spec: Body = {
        "enableServiceLinks": False,
        "securityContext": {"fsGroup": USER_ID, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [container],
        "volumes": [m.in_pod() for m in mounts],
    }
    overlay = copy.deepcopy(group.pod_template)
    merged = overlaid(spec, overlay.get("spec", {}))
    _seal(merged, pods, group, mounts)
    metadata = overlay.get("metadata", {})
    out: Body = {"metadata": {"labels": metadata.get("labels", {}) | dict(labels)}, "spec": merged}
    if metadata.get("annotations"):
        out["metadata"]["annotations"] = metadata["annotations"]
    return out


_ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
    "GRADATIM_LOG_COPY": POD_LOG,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_SECONDS),
    # An actor asks for one place of the pod, not for its accelerators, and gets all of them.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def _seal(spec: Body, pods: KubeRayRuntime, group: PodGroup, mounts: tuple[Mount, ...]) -> None:
    """Lay what must hold over the merged pod spec, in place."""
    spec["automountServiceAccountToken"] = False
    spec["securityContext"] = spec.get("securityContext", {}) | POD_SECURITY
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        container["securityContext"] = copy.deepcopy(CONTAINER_SECURITY)
    main = next(c for c in spec["containers"] if c["name"] == RAY_CONTAINER)
    spec["containers"] = [main, *(c for c in spec["containers"] if c is not main)]  # KubeRay takes the first for Ray's
    main["image"], main["imagePullPolicy"] = pods.image, pods.image_pull_policy
    main.setdefault("readinessProbe", copy.deepcopy(READINESS))
    ours = {m.name: m.in_pod() for m in mounts if m.name != TMP}
    spec["volumes"] = [ours.get(v["name"], v) for v in spec["volumes"]]
    paths = {m.path: m.in_container() for m in mounts}
    others = [m for m in main["volumeMounts"] if m.get("mountPath") not in paths]
    main["volumeMounts"] = [*paths.values(), *others]
    if group.node_selector:
        spec["nodeSelector"] = dict(group.node_selector)
    if group.tolerations:
        spec["tolerations"] = [t.to_manifest() for t in group.tolerations]
    if pods.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pods.image_pull_secrets]
    if pods.service_account_name:
        spec["serviceAccountName"] = pods.service_account_name
    if pods.priority_class_name:
        spec["priorityClassName"] = pods.priority_class_name


def overlaid(base: Body, over: Mapping[str, Any]) -> Body:
    """Return `base` with `over` laid over it: objects by member, lists of named objects by name, everything else replaced.

    >>> overlaid({"a": [{"name": "x", "n": 1}]}, {"a": [{"name": "y"}, {"name": "x", "m": 2}]})
    {'a': [{'name': 'x', 'n': 1, 'm': 2}, {'name': 'y'}]}
    """
    out = copy.deepcopy(base)
    for key, value in over.items():
        known = out.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            out[key] = overlaid(known, value)
        elif isinstance(known, list) and isinstance(value, list) and _named(known) and _named(value):
            more = {member["name"]: member for member in value}
            first = [overlaid(m, more.pop(m["name"], {})) for m in known]
            out[key] = [*first, *more.values()]
        else:
            out[key] = copy.deepcopy(value)
    return out


def _named(members: list[Any]) -> bool:
    # Mounts have names too, but one volume may be mounted twice.
    return all(isinstance(m, dict) and "name" in m and "mountPath" not in m for m in members)
