"""Manifests of ComputeProfiles with the runtime `kuberay`, and what API server and models must say about them.

Part of the table in `spec_cases`. Rules about the inside of a pod template are the models' alone: the API server keeps it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGEST = "sha256:" + "1" * 64
PINNED = f"registry.local/gradatim/index@{DIGEST}"
POD = {
    "resources": {"cpu": "500m", "memory": "4Gi"},
    "accelerators": {"resource": "nvidia.com/gpu", "count": 2},
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60}
    ],
    "podTemplate": {"metadata": {"labels": {"team": "a"}}, "spec": {"terminationGracePeriodSeconds": 60}},
}
KUBERAY: Mapping[str, Any] = {"type": "kuberay", "kubeRay": {"image": PINNED, "rayVersion": "2.60.0"}}
KUBERAY_FULL: Mapping[str, Any] = {
    "type": "kuberay",
    "kubeRay": {
        "image": PINNED,
        "allowUnpinnedImage": True,
        "imagePullPolicy": "Never",
        "imagePullSecrets": ["registry"],
        "rayVersion": "2.60.0",
        "head": POD,
        "worker": POD,
        "serviceAccountName": "runs",
        "priorityClassName": "batch",
        "queueName": "team-a",
        "allowedPriorities": ["high", "normal"],
        "ttlSecondsAfterFinished": 60,
        "preRunningDeadlineSeconds": 60,
        "artifactVolume": {"claimName": "artifacts", "shared": True},
    },
}
FOLDER = "file:///store/{namespace}/"
RAY = {"address": "http://ray:8265"}
VOLUME = {"claimName": "artifacts"}
Row = tuple[str, Mapping[str, Any], str, Mapping[str, Any] | None]


def _kuberay(**block: Any) -> Mapping[str, Any]:
    return {"runtime": {**KUBERAY, "kubeRay": {**KUBERAY["kubeRay"], **block}}}


# (sentence, change of the base profile, fragment of the refusal, the object before)
ROWS: tuple[Row, ...] = (
    ("a profile may start a Ray cluster per attempt", _kuberay(), "", None),
    ("kuberay needs its block", {"runtime": {"type": "kuberay"}}, "type kuberay needs the block kubeRay", None),
    ("kuberay takes no address", {"runtime": {**KUBERAY, "rayCluster": RAY}}, "the block rayCluster needs type rayCluster", None),
    ("a standing cluster takes no pods", {"runtime.kubeRay": KUBERAY["kubeRay"]}, "the block kubeRay needs type kuberay", None),
    ("a standing cluster does not become pods", _kuberay(), "runtime.type is immutable", {}),
    ("an image is pinned", _kuberay(image="gradatim/index:0.1.0"), "image must be pinned", None),
    ("a side-loaded image may be allowed", _kuberay(image="localhost/gradatim/index:0.1.0", allowUnpinnedImage=True), "", None),
    ("an image holds no blanks", _kuberay(image=f"a b@{DIGEST}"), "spec.runtime.kubeRay.image", None),
    ("a new image is no new runtime", _kuberay(image=f"other@{DIGEST}"), "", _kuberay()),
    ("a Ray without token authentication is refused", _kuberay(rayVersion="2.51.0"), "spec.runtime.kubeRay.rayVersion", None),
    ("a Ray with the unauthenticated delete is refused", _kuberay(rayVersion="2.53.9"), "spec.runtime.kubeRay.rayVersion", None),
    ("a later Ray is right", _kuberay(rayVersion="2.104.1"), "", None),
    ("priorities may be limited", _kuberay(queueName="team-a", allowedPriorities=["high"]), "", None),
    ("no priority at all may be allowed", _kuberay(queueName="team-a", allowedPriorities=[]), "", None),
    ("priorities need a queue", _kuberay(allowedPriorities=["high"]), "allowedPriorities needs queueName", None),
    (
        "a priority is allowed once",
        _kuberay(queueName="team-a", allowedPriorities=["high", "high"]),
        "allowedPriorities",
        None,
    ),
    (
        "a priority is a name",
        _kuberay(queueName="team-a", allowedPriorities=["Very High"]),
        "spec.runtime.kubeRay.allowedPriorities",
        None,
    ),
    ("CPUs are a quantity", _kuberay(head={"resources": {"cpu": "two"}}), "spec.runtime.kubeRay.head.resources.cpu", None),
    ("memory is a quantity", _kuberay(worker={"resources": {"memory": "4 GB"}}), "spec.runtime.kubeRay.worker.resources.memory", None),
    ("an overlay is kept", _kuberay(worker={"podTemplate": POD["podTemplate"]}), "", None),
    ("a folder needs a volume", {**_kuberay(), "artifactStore.root": FOLDER}, "a file: artifact store needs runtime.kubeRay.artifactVolume", None),
    ("a folder on a volume is right", {**_kuberay(artifactVolume=VOLUME), "artifactStore.root": FOLDER}, "", None),
    ("a volume needs a folder", _kuberay(artifactVolume=VOLUME), "runtime.kubeRay.artifactVolume needs an artifactStore.root", None),
    (
        "a volume shows whole namespaces",
        {**_kuberay(artifactVolume=VOLUME), "artifactStore.root": "file:///store/ns-{namespace}/"},
        "runtime.kubeRay.artifactVolume needs an artifactStore.root",
        None,
    ),
)  # fmt: skip
