"""Which RayJobs the operator may create, on a real API server with KubeRay's own definition: those it renders, and no others."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.support.charts import CRDS, OPERATOR, Body, Installed, eventually

from gradatim.platform.binaries import manifests

RENDERED = Path(__file__).parents[2] / "unit" / "kuberay" / "golden"
RAY = "/apis/ray.io/v1/namespaces"
HEAD = ("rayClusterSpec", "headGroupSpec")
POD = (*HEAD, "template", "spec")
WORKERS = ("rayClusterSpec", "workerGroupSpecs", 0, "template", "spec")


@pytest.fixture(scope="module")
def rayjobs(installed: Installed) -> Installed:
    """The cluster with KubeRay's definition of RayJobs, where its policies already count."""
    api = installed.api
    text = (manifests.kuberay_crds(os.environ) / "ray.io_rayjobs.yaml").read_text()
    api.create(CRDS, yaml.load(text, yaml.CSafeLoader))
    eventually(lambda: api.exists(f"{RAY}/team-a/rayjobs"))
    eventually(lambda: submit(installed, rendered(), "kube-system").status_code == 403)
    return installed


def rendered(name: str = "index-on-gpu-workers") -> Body:
    """Return a RayJob as the operator renders it."""
    found: Body = json.loads((RENDERED / f"{name}.json").read_text().replace("sha256:digest", f"sha256:{'0' * 64}"))
    return found


def submit(installed: Installed, job: Body, namespace: str = "team-a", user: str = OPERATOR) -> httpx.Response:
    """Try to create a RayJob."""
    metadata = job["metadata"] | {"namespace": namespace}
    return installed.api.call("POST", f"{RAY}/{namespace}/rayjobs", job | {"metadata": metadata}, user=user, dry=True)


def changed(path: tuple[str | int, ...], value: Any) -> Body:
    """Return the RayJob with another value at a path of its spec; None removes the member."""
    job = rendered()
    where = job["spec"]
    for step in path[:-1]:
        where = where[step]
    if value is None:
        del where[path[-1]]
    else:
        where[path[-1]] = copy.deepcopy(value)
    return job


@pytest.mark.parametrize("name", ["dataset-on-one-pod", "index-on-gpu-workers"])
def test_the_operator_creates_what_it_renders(rayjobs: Installed, name: str) -> None:
    answer = submit(rayjobs, rendered(name))
    assert answer.status_code == 201, answer.text


ENTRYPOINT = "python -m gradatim.workloads index --config /etc/gradatim/run/config.json --attempt 1 --digest sha256:"
WORKLOADS, CLUSTERS = "starts workloads of Gradatim only", "no autoscaler, Service or Ingress"
HOST, FOLDERS, PRIVILEGES = "nothing of their host", "mount no folder of their host", "run without privileges"
TOKEN = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
PLAIN = {"name": "more", "image": "more"}
SEALED = rendered()["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["securityContext"]


def container(**members: Any) -> list[Body]:
    """Return the containers of a pod whose only one is sealed but for some members of its security context."""
    return [PLAIN | {"securityContext": SEALED | members}]


REFUSED: list[tuple[str, tuple[str | int, ...], Any, str]] = [
    ("another command", ("entrypoint",), "sh -c id", WORKLOADS),
    ("a command after ours", ("entrypoint",), f"{ENTRYPOINT}{'0' * 64}; id", WORKLOADS),
    ("a command on a second line", ("entrypoint",), f"{ENTRYPOINT}{'0' * 64}\nid", WORKLOADS),
    ("a command before ours", ("entrypoint",), f"id; {ENTRYPOINT}{'0' * 64}", WORKLOADS),
    ("no command", ("entrypoint",), None, WORKLOADS),
    ("a pod that submits", ("submissionMode",), "K8sJobMode", WORKLOADS),
    ("the default way to submit", ("submissionMode",), None, WORKLOADS),
    ("a template of a submitter", ("submitterPodTemplate",), {"spec": {"containers": [PLAIN]}}, WORKLOADS),
    ("code from an address", ("runtimeEnvYAML",), "working_dir: https://example.com/a.zip", WORKLOADS),
    ("somebody's Ray cluster", ("clusterSelector",), {"ray.io/cluster": "theirs"}, WORKLOADS),
    ("an autoscaler", ("rayClusterSpec", "enableInTreeAutoscaling"), True, CLUSTERS),
    ("a Service", (*HEAD, "headService"), {"spec": {"externalIPs": ["192.0.2.1"]}}, CLUSTERS),
    ("an Ingress", (*HEAD, "enableIngress"), True, CLUSTERS),
    ("a token", (*POD, "automountServiceAccountToken"), True, HOST),
    ("a token by default", (*POD, "automountServiceAccountToken"), None, HOST),
    ("a token of a worker", (*WORKERS, "automountServiceAccountToken"), None, HOST),
    ("the network of the host", (*POD, "hostNetwork"), True, HOST),
    ("the processes of the host", (*WORKERS, "hostPID"), True, HOST),
    ("the memory of the host", (*WORKERS, "hostIPC"), True, HOST),
    ("a folder of the host", (*POD, "volumes"), [{"name": "v", "hostPath": {"path": "/"}}], FOLDERS),
    ("a folder of the host for workers", (*WORKERS, "volumes"), [{"name": "v", "hostPath": {"path": "/"}}], FOLDERS),
    ("a foreign server's folder", (*POD, "volumes"), [{"name": "v", "nfs": {"server": "a", "path": "/"}}], FOLDERS),
    ("a token as a volume", (*POD, "volumes"), [{"name": "v"} | TOKEN], FOLDERS),
    ("a bare container", (*POD, "containers"), [PLAIN], PRIVILEGES),
    ("a bare container of a worker", (*WORKERS, "containers"), [PLAIN], PRIVILEGES),
    ("a bare container before", (*WORKERS, "initContainers"), [PLAIN], PRIVILEGES),
    ("a privileged container", (*POD, "containers"), container(privileged=True), PRIVILEGES),
    ("an escalation", (*POD, "containers"), container(allowPrivilegeEscalation=True), PRIVILEGES),
    ("a capability", (*POD, "containers"), container(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}), PRIVILEGES),
    ("capabilities by default", (*POD, "containers"), container(capabilities={}), PRIVILEGES),
    ("root", (*POD, "containers"), container(runAsUser=0), PRIVILEGES),
    ("perhaps root", (*POD, "containers"), container(runAsNonRoot=False), PRIVILEGES),
    ("an unmasked /proc", (*POD, "containers"), container(procMount="Unmasked"), PRIVILEGES),
    (
        "a port of the host",
        (*POD, "containers"),
        [container()[0] | {"ports": [{"containerPort": 80, "hostPort": 80}]}],
        PRIVILEGES,
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_the_operator_creates_nothing_else(
    rayjobs: Installed, path: tuple[str | int, ...], value: Any, said: str
) -> None:
    answer = submit(rayjobs, changed(path, value))
    assert (answer.status_code, said in answer.text) == (403, True), answer.text


TAKEN: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("another sealed container", (*POD, "containers"), container()),
    ("a user that is not root", (*POD, "containers"), container(runAsUser=1000)),
    (
        "a port of its own",
        (*POD, "containers"),
        [container()[0] | {"ports": [{"containerPort": 80}]}],
    ),
    ("no volumes", (*WORKERS, "volumes"), None),
    (
        "a projected Secret",
        (*WORKERS, "volumes"),
        [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}],
    ),
    ("no workers", ("rayClusterSpec", "workerGroupSpecs"), None),
    ("no word on autoscaling", ("rayClusterSpec", "enableInTreeAutoscaling"), None),
]


@pytest.mark.parametrize(("path", "value"), [r[1:] for r in TAKEN], ids=[r[0] for r in TAKEN])
def test_what_a_profile_may_ask_for_goes_through(rayjobs: Installed, path: tuple[str | int, ...], value: Any) -> None:
    answer = submit(rayjobs, changed(path, value))
    assert answer.status_code == 201, answer.text


def test_kube_system_and_a_job_without_a_cluster_are_refused(rayjobs: Installed) -> None:
    refused = submit(rayjobs, rendered(), "kube-system")
    assert (refused.status_code, "starts nothing in kube-system" in refused.text) == (403, True)
    assert submit(rayjobs, changed(("rayClusterSpec",), None)).status_code == 403


def test_the_jobs_of_others_are_none_of_our_business(rayjobs: Installed) -> None:
    job = changed(("entrypoint",), "python train.py")
    answer = submit(rayjobs, job, user="")
    assert answer.status_code == 201, answer.text
