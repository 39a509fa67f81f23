"""The command line and environment of every process of the cluster.

Pure: paths and identities in, `Launch` out. Apart from the first, each is started through `nsenter` into the namespaces the first one
holds open, and is told paths as they are in there. No secret is put on a command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gradatim.platform import launches as local
from gradatim.platform import pki
from gradatim.platform.binaries import Toolset
from gradatim.platform.binaries.catalog import LISTEN_VARIABLE
from gradatim.platform.launches import OPERATOR_NAMESPACE, WeaviateKeys
from gradatim.platform.node.identities import FRONT_CA
from gradatim.platform.node.layout import (
    INSIDE,
    NODE_ADDRESS,
    NODE_NAME,
    POD_RANGE,
    PORTS,
    SERVICE_RANGE,
    NodeLayout,
    Part,
)  # fmt: skip
from gradatim.platform.node.prerequisites import SYSTEM_PATH
from gradatim.platform.processes import MARK_COMPONENT, Launch

_PKI = INSIDE / "pki"
_ETCD = f"https://127.0.0.1:{PORTS['etcd-client']}"
# Namespaces of a process that the cluster is to end with.
UNSHARE = (
    "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--",
)  # fmt: skip


def enter(init: int) -> tuple[str, ...]:
    """Return the command prefix that runs a program in all namespaces of the cluster."""
    return ("nsenter", f"--target={init}", "--mount", "--net", "--pid", "--")


@dataclass(frozen=True)
class NodeSite:
    """What every launch needs to know: paths, the user's environment, the Python to run, the first process's id."""

    layout: NodeLayout
    env: Mapping[str, str]
    python: str
    init: int = 0

    def launch(self, part: Part, argv: list[str], version: str, env: Mapping[str, str] | None = None) -> Launch:
        """Return the launch of a program inside."""
        merged = {"HOME": f"{INSIDE}/data", "LANG": "C.UTF-8", **(env or {})}
        merged["PATH"] = f"{INSIDE}/bin:{SYSTEM_PATH}"
        return Launch(part, (*enter(self.init), *argv), merged, version, self.layout.log(part))

    def kubeconfig(self, user: str) -> str:
        return f"{INSIDE}/private/{user}.kubeconfig"


def node(site: NodeSite, pause: Toolset) -> Launch:
    """Return the launch of the first process, which makes the namespaces and holds them."""
    inner = [site.python, "-m", "gradatim.platform.node", str(site.layout.root), *pause.argv("pause")]
    env = {**site.env, "PYTHONDONTWRITEBYTECODE": "1"}
    made = Launch(Part.NODE, (*UNSHARE, *inner), env, pause.version, site.layout.log(Part.NODE))
    return replace(made, scratch=site.layout.ready)


def etcd(site: NodeSite, version: str) -> Launch:
    """Return the launch of etcd: on loopback of the namespace, TLS with client certificates on both ports."""
    server, authority = pki.pair(_PKI, "etcd"), pki.pair(_PKI, pki.ETCD_CA)
    peer = f"https://127.0.0.1:{PORTS['etcd-peer']}"
    argv = [
        "etcd",
        "--name=gradatim",
        f"--data-dir={INSIDE}/data/etcd",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=gradatim={peer}",
        "--client-cert-auth",
        "--peer-client-cert-auth",
        f"--trusted-ca-file={authority.crt}",
        f"--peer-trusted-ca-file={authority.crt}",
        f"--cert-file={server.crt}",
        f"--key-file={server.key}",
        f"--peer-cert-file={server.crt}",
        f"--peer-key-file={server.key}",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
        # The cluster does not outlive its namespaces, so nothing is gained by surviving a power cut.
        "--unsafe-no-fsync",
    ]
    return replace(site.launch(Part.ETCD, argv, version), data=site.layout.data("etcd"))


def apiserver(site: NodeSite, version: str) -> Launch:
    """Return the launch of the API server: Node and RBAC authorization, NodeRestriction, no anonymous requests."""
    server, etcd_client = pki.pair(_PKI, "apiserver"), pki.pair(_PKI, "etcd-client")
    kubelet, front = pki.pair(_PKI, "kubelet-client"), pki.pair(_PKI, "front-proxy-client")
    authority = pki.pair(_PKI, pki.CLUSTER_CA).crt
    argv = [
        "kube-apiserver",
        # Loopback and the node's address; there is no other way into the namespace.
        "--bind-address=0.0.0.0",
        f"--advertise-address={NODE_ADDRESS}",
        f"--secure-port={PORTS['apiserver']}",
        f"--tls-cert-file={server.crt}",
        f"--tls-private-key-file={server.key}",
        f"--client-ca-file={authority}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--etcd-servers={_ETCD}",
        f"--etcd-cafile={pki.pair(_PKI, pki.ETCD_CA).crt}",
        f"--etcd-certfile={etcd_client.crt}",
        f"--etcd-keyfile={etcd_client.key}",
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={kubelet.crt}",
        f"--kubelet-client-key={kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki.pair(_PKI, FRONT_CA).crt}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={front.crt}",
        f"--proxy-client-key-file={front.key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={_PKI}/sa.pub",
        f"--service-account-signing-key-file={_PKI}/sa.key",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
    ]
    return site.launch(Part.APISERVER, argv, version)


def _delegating(site: NodeSite, user: str) -> list[str]:
    """Return the arguments of a component that asks the API server who its own callers are."""
    kubeconfig, serving = site.kubeconfig(user), pki.pair(_PKI, user)
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={PORTS[user]}",
        f"--tls-cert-file={serving.crt}",
        f"--tls-private-key-file={serving.key}",
        "--leader-elect=false",
    ]


def controller_manager(site: NodeSite, version: str) -> Launch:
    """Return the launch of the controller manager: all controllers, each with its own service account."""
    authority = pki.pair(_PKI, pki.CLUSTER_CA)
    argv = [
        "kube-controller-manager",
        *_delegating(site, "controller-manager"),
        f"--root-ca-file={authority.crt}",
        f"--cluster-signing-cert-file={authority.crt}",
        f"--cluster-signing-key-file={authority.key}",
        f"--service-account-private-key-file={_PKI}/sa.key",
        "--use-service-account-credentials=true",
        "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
    ]
    return site.launch(Part.CONTROLLER_MANAGER, argv, version)


def scheduler(site: NodeSite, version: str) -> Launch:
    """Return the launch of the scheduler."""
    return site.launch(Part.SCHEDULER, ["kube-scheduler", *_delegating(site, "scheduler")], version)


def containerd(site: NodeSite) -> Launch:
    """Return the launch of the cluster's own containerd; the system's is never touched."""
    # Without mark and session its shims do not count as containerd: ending it alone, as a crash does, leaves the pods running.
    plain = ["env", "-u", MARK_COMPONENT, "setsid"]
    return site.launch(Part.CONTAINERD, [*plain, "containerd", f"--config={INSIDE}/config/containerd.toml"], "system")


def kubelet(site: NodeSite, version: str) -> Launch:
    """Return the launch of the kubelet with its node's identity."""
    argv = [
        "kubelet",
        f"--config={INSIDE}/config/kubelet.json",
        f"--kubeconfig={site.kubeconfig('kubelet')}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
    ]
    return site.launch(Part.KUBELET, argv, version)


def proxy(site: NodeSite, version: str) -> Launch:
    """Return the launch of kube-proxy. It leaves the connection tables of the machine as they are."""
    argv = [
        "kube-proxy",
        f"--kubeconfig={site.kubeconfig('kube-proxy')}",
        f"--hostname-override={NODE_NAME}",
        "--proxy-mode=nftables",
        f"--cluster-cidr={POD_RANGE}",
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        f"--healthz-bind-address=127.0.0.1:{PORTS['proxy-health']}",
        "--metrics-bind-address=127.0.0.1:10249",
    ]
    return site.launch(Part.PROXY, argv, version)


def dns(site: NodeSite, version: str) -> Launch:
    """Return the launch of CoreDNS on the node's address."""
    return site.launch(Part.DNS, ["coredns", "-conf", f"{INSIDE}/config/Corefile"], version)


def kuberay(site: NodeSite, version: str) -> Launch:
    """Return the launch of KubeRay's operator; outside a pod it reaches Ray's dashboards through the API server."""
    argv = [
        "kuberay",
        "--use-kubernetes-proxy",
        "--enable-leader-election=false",
        f"--metrics-addr=127.0.0.1:{PORTS['kuberay-metrics']}",
        f"--health-probe-bind-address=127.0.0.1:{PORTS['kuberay-health']}",
    ]
    return site.launch(Part.KUBERAY, argv, version, {"KUBECONFIG": site.kubeconfig("kuberay")})


def operator(site: NodeSite, version: str, settings: Mapping[str, str]) -> Launch:
    """Return the launch of our own operator with its limited identity."""
    env = {
        **local.Site(site.layout, PORTS, site.env, site.python).user_env(),
        **settings,
        "KUBECONFIG": site.kubeconfig("operator"),
        "GRADATIM_OPERATOR_NAMESPACE": OPERATOR_NAMESPACE,
        "GRADATIM_METRICS_PORT": str(PORTS["operator-metrics"]),
        "GRADATIM_HEALTH_PORT": str(PORTS["operator-health"]),
    }
    return site.launch(Part.OPERATOR, [site.python, "-m", "gradatim.operator"], version, env)


def weaviate(site: NodeSite, tool: Toolset, keys: WeaviateKeys) -> Launch:
    """Return the launch of Weaviate as on the local platform, but reachable from pods: on the namespace's addresses."""
    made = local.weaviate(local.Site(NodeLayout(INSIDE), PORTS, {}, site.python), tool, keys)
    argv = [word.replace("--host=127.0.0.1", "--host=0.0.0.0") for word in made.argv]
    env = {**made.env, LISTEN_VARIABLE: "0.0.0.0"}  # noqa: S104 - of a namespace that nothing leaves
    return replace(site.launch(Part.WEAVIATE, argv, made.version, env), data=site.layout.data("weaviate"))


def minio(site: NodeSite, tool: Toolset, user: str, password: str) -> Launch:
    """Return the launch of an S3 server on the node's address."""
    address = f"{NODE_ADDRESS}:{PORTS['minio']}"
    argv = [*tool.argv("minio"), "server", "--quiet", "--address", address, f"{INSIDE}/data/minio"]
    env = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}
    return site.launch(Part.MINIO, argv, tool.version, env)


def cluster_env(layout: NodeLayout, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a program that works on the cluster from its network namespace."""
    kept = {name: value for name, value in env.items() if name != "KUBECONFIG"}
    return {**kept, "KUBECONFIG": str(layout.kubeconfig), "PATH": f"{layout.bin}:{env.get('PATH', SYSTEM_PATH)}"}
