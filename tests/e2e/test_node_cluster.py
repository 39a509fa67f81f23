"""The node cluster itself: pods run, names resolve, rights hold, and nothing is left of it however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.node import apply, kernel_settings, need_node, node_cluster, until

from gradatim.platform import processes
from gradatim.platform.node import NodeCluster, NodeOptions, OneLayer, Part, down, load, status, up

IMAGE = "localhost/kubectl:test"
# Where a kubelet, containerd or network plugin would leave something on this machine.
PLACES = (
    "/var/lib",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/usr/libexec",
    "/opt",
    "/run/containerd",
    "/root/.minio",
)
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> NodeOptions:
    return NodeOptions(
        tmp_path_factory.mktemp("node-cluster-with-a-folder-name-too-long-for-a-socket" + "-x" * 20) / "state"
    )


@pytest.fixture(scope="module")
def cluster(options: NodeOptions) -> Iterator[NodeCluster]:
    with node_cluster(options) as running:
        kubectl = (running.layout.bin / "kubectl").resolve()
        running.build_image(OneLayer(IMAGE, ("/kubectl",), {"kubectl": kubectl}))
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        apply(running, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": labels}})
        yield running


def pod(name: str, *args: str, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": IMAGE, "args": list(args), "securityContext": RESTRICTED}
    main |= {"volumeMounts": [{"name": "config", "mountPath": "/config"}], **container}
    volumes = [{"name": "config", "configMap": {"name": "by-name"}}]
    spec = {"restartPolicy": "Never", "containers": [main], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team"}, "spec": spec}


def by_name(server: str) -> dict[str, Any]:
    """Return a ConfigMap with a kubeconfig that reaches a server by its name, as the pod's service account."""
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": f"{SERVICE_ACCOUNT}/ca.crt"}}],
        "users": [{"name": "c", "user": {"tokenFile": f"{SERVICE_ACCOUNT}/token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }  # fmt: skip
    metadata = {"name": "by-name", "namespace": "team"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"kubeconfig": json.dumps(kubeconfig)},
    }


def finish(cluster: NodeCluster, name: str) -> str:
    """Return the pod's output once it has ended well."""

    def phase() -> str:
        return cluster.kubectl("get", "pod", name, "-n", "team", "-o", "jsonpath={.status.phase}")

    assert until(lambda: phase() in {"Succeeded", "Failed"} and phase()) == "Succeeded", cluster.kubectl(
        "describe", "pod", name, "-n", "team"
    )
    return cluster.kubectl("logs", name, "-n", "team")


def test_every_part_runs_and_the_node_is_ready(cluster: NodeCluster, options: NodeOptions) -> None:
    assert {part.component: part.state for part in status(options.state_dir)} == {
        part: "running" for part in Part if part not in {Part.OPERATOR, Part.WEAVIATE, Part.MINIO}
    }
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status} {.status.addresses[0].address}"
    assert cluster.kubectl("get", "node", "node-1", "-o", ready) == "True 10.210.0.1"


def test_a_pod_reaches_a_service_by_its_name_and_no_policy_is_enforced(cluster: NodeCluster) -> None:
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "team"},
    }
    apply(cluster, by_name("https://kubernetes.default"), {**policy, "spec": deny})
    apply(cluster, pod("reader", "--kubeconfig=/config/kubeconfig", "get", "--raw", "/version"))
    # Answered through name server, service address, certificate and service-account token; and past the policy, which a bridge ignores.
    assert json.loads(finish(cluster, "reader"))["gitVersion"].startswith("v1.")


def test_a_pod_that_is_not_restricted_is_refused(cluster: NodeCluster) -> None:
    loose = pod("loose", "version", securityContext={"privileged": True})
    with pytest.raises(subprocess.CalledProcessError) as refused:
        apply(cluster, loose)
    assert 'violates PodSecurity "restricted:latest"' in refused.value.stderr


def test_an_admission_policy_in_cel_is_enforced(cluster: NodeCluster) -> None:
    metadata = {"name": "no-bad-names"}
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "!object.metadata.name.startsWith('bad')", "message": "bad name"}],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": metadata}
    binding = {"policyName": "no-bad-names", "validationActions": ["Deny"]}
    apply(
        cluster,
        {**kind, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**kind, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    )

    def refused() -> bool:
        tried = cluster.exec(["kubectl", "create", "configmap", "bad", "--dry-run=server"], check=False)
        return "bad name" in tried.stderr

    assert until(refused)


@pytest.mark.parametrize(
    ("user", "question", "answer"),
    [
        pytest.param(
            "kubelet", ("update", "nodes/node-1", "--subresource=status"), "yes", id="a kubelet reports on its node"
        ),
        pytest.param("kubelet", ("list", "secrets", "-A"), "no", id="a kubelet does not list secrets"),
        pytest.param("coredns", ("list", "services", "-A"), "yes", id="the name server lists services"),
        pytest.param("coredns", ("get", "secrets", "-A"), "no", id="the name server reads no secret"),
        pytest.param("kuberay", ("create", "pods", "-A"), "yes", id="KubeRay makes pods"),
        pytest.param("kuberay", ("create", "clusterroles"), "no", id="KubeRay gives no rights"),
        pytest.param(
            "scheduler", ("create", "pods", "--subresource=binding", "-A"), "yes", id="the scheduler binds pods"
        ),
        pytest.param("scheduler", ("delete", "namespaces"), "no", id="the scheduler deletes no namespace"),
    ],
)
def test_an_identity_may_do_its_work_and_no_more(
    cluster: NodeCluster, user: str, question: tuple[str, ...], answer: str
) -> None:
    kubeconfig = str(cluster.layout.kubeconfig_of(user))
    asked = cluster.exec(["kubectl", "--kubeconfig", kubeconfig, "auth", "can-i", *question], check=False)
    assert asked.stdout.split()[0] == answer, asked.stderr


def test_a_kubelet_cannot_speak_for_another_node(cluster: NodeCluster) -> None:
    other = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
    kubeconfig = str(cluster.layout.kubeconfig_of("kubelet"))
    tried = cluster.exec(["kubectl", "--kubeconfig", kubeconfig, "create", "-f", "-"], check=False, stdin=other)
    assert 'node "node-1" is not allowed to modify node "node-2"' in tried.stderr


def test_code_of_a_test_process_talks_to_the_cluster(cluster: NodeCluster) -> None:
    here = Path("/proc/thread-self/ns/net").readlink()
    with cluster.entered(), socket.create_connection(("10.210.0.1", 6443), timeout=5):
        assert Path("/proc/thread-self/ns/net").readlink() == cluster.network.readlink() != here
    assert Path("/proc/thread-self/ns/net").readlink() == here


def test_nothing_leaves_the_network(cluster: NodeCluster) -> None:
    links = json.loads(cluster.exec(["ip", "-json", "link"]).stdout)
    names = {link["ifname"] for link in links if not link["ifname"].startswith("veth")}
    assert names <= {"lo", "node0", "cni0"}


def test_a_second_up_leaves_a_running_cluster_alone(cluster: NodeCluster, options: NodeOptions) -> None:
    before = {part.component: part.pid for part in status(options.state_dir)}
    assert up(options).init == cluster.init
    assert {part.component: part.pid for part in status(options.state_dir)} == before


@pytest.mark.parametrize("part", [Part.APISERVER, Part.CONTAINERD, Part.KUBELET, Part.ETCD])
def test_a_killed_part_comes_back_with_its_data(cluster: NodeCluster, options: NodeOptions, part: Part) -> None:
    cluster.kubectl("create", "configmap", f"kept-{part}")
    cluster.kill(part)
    until(lambda: {found.component: found.state for found in status(options.state_dir)}[part] == "dead")
    assert up(options).init == cluster.init
    assert {found.component: found.state for found in status(options.state_dir)}[part] == "running"
    assert cluster.kubectl("get", "configmap", f"kept-{part}", "-o", "name") == f"configmap/kept-{part}\n"


def traces() -> dict[str, Any]:
    """Return what a cluster could leave on this machine."""
    return {
        "mounts": sorted(
            line.split(" - ")[0].split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        ),
        "groups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("**/gradatim-*")),
        "folders": sorted(str(path) for place in PLACES for path in Path(place).glob("*")),
        "network": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "settings": kernel_settings(),
        "containerd": Path("/run/containerd").exists(),
    }


def test_after_everything_was_killed_down_leaves_nothing(tmp_path: Path) -> None:
    need_node()
    before = traces()
    options = NodeOptions(tmp_path / "state", addons=frozenset())
    try:
        cluster = up(options)
        assert kernel_settings() == before["settings"]
        kubectl = (cluster.layout.bin / "kubectl").resolve()
        cluster.build_image(OneLayer(IMAGE, ("/kubectl",), {"kubectl": kubectl}))
        apply(
            cluster,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}},
            by_name("https://kubernetes.default"),
        )
        apply(cluster, pod("stays", "--kubeconfig=/config/kubeconfig", "get", "ns", "--watch"))
        until(
            lambda: (
                cluster.kubectl("get", "pod", "stays", "-n", "team", "-o", "jsonpath={.status.phase}")
                in {"Running", "Failed"}
            )
        )
        families = processes.with_children([psutil.Process(cluster.init), *processes.marked(options.state_dir)])
        assert len(families) > 8
        for process in families:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    finally:
        down(options.state_dir)
    assert [process for process in families if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert not options.state_dir.exists()
    assert traces() == before
    down(options.state_dir)


def test_a_cluster_that_died_is_started_over(tmp_path: Path) -> None:
    need_node()
    options = NodeOptions(tmp_path / "state", addons=frozenset())
    try:
        first = up(options)
        os.kill(first.init, signal.SIGKILL)
        second = up(options)
        assert second.init != first.init
        assert load(options.state_dir) == second
        assert second.kubectl("get", "nodes", "-o", "name") == "node/node-1\n"
    finally:
        down(options.state_dir)
