"""The command line and environment of every component.

Pure: paths, ports and tokens in, `Launch` out; `up` runs them. Everything binds to loopback. No secret is put on a command line, where
every user of the machine could read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gradatim.platform import pki
from gradatim.platform.binaries import Toolset
from gradatim.platform.components import Component
from gradatim.platform.dirs import Layout
from gradatim.platform.processes import Launch

OPERATOR_NAMESPACE = "gradatim-system"
_SERVICE_RANGE = "10.96.0.0/16"
# No node, so no pods: the controllers that make pods would only cost memory.
_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "namespace-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "validatingadmissionpolicy-status-controller",
)
# Whoever has memory to spare for the API server saves a third of its CPU time under load.
_GARBAGE = ("GOGC", "GOMEMLIMIT")
# What a server of ours may take over from the user's shell; proxies and credentials are not among it.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")
# A user's own Ray or Kubernetes settings must not bend the platform's.
_NOT_INHERITED = ("RAY_", "KUBECONFIG", "GRADATIM_", "WEAVIATE_")
# Ray ends itself when its node has not registered within 30 s, a constant in its code.
_RAY_ATTEMPTS = 4
_OBJECT_STORE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class WeaviateKeys:
    """API keys by user, and the password of Weaviate's own cluster interface."""

    operator: str
    workload: str
    cluster: str


@dataclass(frozen=True)
class Site:
    """What every launch needs to know about its platform."""

    layout: Layout
    ports: Mapping[str, int]
    env: Mapping[str, str]
    python: str

    def url(self, port: str, scheme: str = "https") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[port]}"

    def plain_env(self) -> dict[str, str]:
        return {name: self.env[name] for name in _INHERITED if name in self.env}

    def user_env(self) -> dict[str, str]:
        return {name: value for name, value in self.env.items() if not name.startswith(_NOT_INHERITED)}


def etcd(site: Site, kube: Toolset, version: str) -> Launch:
    """Return the launch of etcd: TLS with client certificates on both ports."""
    server, authority = pki.pair(site.layout.pki, "etcd"), pki.pair(site.layout.pki, pki.ETCD_CA)
    client, peer = site.url("etcd-client"), site.url("etcd-peer")
    argv = [
        *kube.argv("etcd"),
        "--name=gradatim",
        f"--data-dir={site.layout.data(Component.ETCD)}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
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
        # A power cut may cost a local platform its last second; an fsync per write costs everybody every second.
        "--unsafe-no-fsync",
    ]
    made = _launch(site, Component.ETCD, argv, site.plain_env(), version)
    return replace(made, data=site.layout.data(Component.ETCD))


def apiserver(site: Site, kube: Toolset, version: str) -> Launch:
    """Return the launch of the API server: RBAC, no anonymous requests."""
    folder = site.layout.pki
    server, etcd_client = pki.pair(folder, "apiserver"), pki.pair(folder, "etcd-client")
    argv = [
        *kube.argv("kube-apiserver"),
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={site.ports['apiserver']}",
        f"--tls-cert-file={server.crt}",
        f"--tls-private-key-file={server.key}",
        f"--client-ca-file={pki.pair(folder, pki.CLUSTER_CA).crt}",
        "--anonymous-auth=false",
        "--authorization-mode=RBAC",
        f"--etcd-servers={site.url('etcd-client')}",
        f"--etcd-cafile={pki.pair(folder, pki.ETCD_CA).crt}",
        f"--etcd-certfile={etcd_client.crt}",
        f"--etcd-keyfile={etcd_client.key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        f"--service-cluster-ip-range={_SERVICE_RANGE}",
        # Nothing here is behind the `kubernetes` Service, and a loopback address would be refused as its endpoint.
        "--endpoint-reconciler-type=none",
        "--profiling=false",
    ]
    garbage = {name: site.env[name] for name in _GARBAGE if name in site.env}
    return _launch(site, Component.APISERVER, argv, site.plain_env() | garbage, version)


def controller_manager(site: Site, kube: Toolset, version: str) -> Launch:
    """Return the launch of the controller manager, with the controllers that make sense without a node."""
    folder = site.layout.pki
    serving = pki.pair(folder, "controller-manager")
    argv = [
        *kube.argv("kube-controller-manager"),
        "--bind-address=127.0.0.1",
        f"--secure-port={site.ports['controller-manager']}",
        f"--tls-cert-file={serving.crt}",
        f"--tls-private-key-file={serving.key}",
        f"--kubeconfig={controller_manager_kubeconfig(site.layout)}",
        f"--root-ca-file={pki.pair(folder, pki.CLUSTER_CA).crt}",
        f"--service-account-private-key-file={folder / 'sa.key'}",
        "--use-service-account-credentials=true",
        f"--controllers={','.join(_CONTROLLERS)}",
        "--leader-elect=false",
        "--profiling=false",
    ]
    return _launch(site, Component.CONTROLLER_MANAGER, argv, site.plain_env(), version)


def controller_manager_kubeconfig(layout: Layout) -> Path:
    """Return the path of the controller manager's kubeconfig."""
    return layout.private / "controller-manager.kubeconfig"


def weaviate(site: Site, tool: Toolset, keys: WeaviateKeys) -> Launch:
    """Return the launch of a single Weaviate node with API keys and no anonymous access."""
    ports = site.ports
    argv = [*tool.argv("weaviate"), "--scheme=http", "--host=127.0.0.1", f"--port={ports['weaviate-http']}"]
    env = {
        **site.plain_env(),
        "PERSISTENCE_DATA_PATH": str(site.layout.data(Component.WEAVIATE)),
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": f"{keys.operator},{keys.workload}",
        "AUTHENTICATION_APIKEY_USERS": "operator,workload",
        "AUTHORIZATION_ADMINLIST_ENABLED": "true",
        "AUTHORIZATION_ADMINLIST_USERS": "operator,workload",
        "CLUSTER_HOSTNAME": "gradatim",
        "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
        "CLUSTER_BIND_ADDR": "127.0.0.1",
        "CLUSTER_GOSSIP_BIND_PORT": str(ports["weaviate-gossip"]),
        "CLUSTER_DATA_BIND_PORT": str(ports["weaviate-data"]),
        "CLUSTER_BASIC_AUTH_USERNAME": "gradatim",
        "CLUSTER_BASIC_AUTH_PASSWORD": keys.cluster,
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "RAFT_PORT": str(ports["weaviate-raft"]),
        "RAFT_INTERNAL_RPC_PORT": str(ports["weaviate-raft-rpc"]),
        "GRPC_PORT": str(ports["weaviate-grpc"]),
        "DEFAULT_VECTORIZER_MODULE": "none",
        "ENABLE_MODULES": "",
        "DISABLE_TELEMETRY": "true",
        "GO_PROFILING_DISABLE": "true",
        # Up to 1.37 the newer keyword index drops matches of rare words that are not flushed to disk yet (weaviate pull request 11780):
        # an index just built would be judged by half of its answers.
        "USE_INVERTED_SEARCHABLE": "false",
        "LOG_LEVEL": "warning",
    }
    made = _launch(site, Component.WEAVIATE, argv, env, tool.version)
    return replace(made, data=site.layout.data(Component.WEAVIATE))


def ray(site: Site, token_file: Path, temp: Path, cpus: int, version: str) -> Launch:
    """Return the launch of a Ray head with token authentication."""
    ports = site.ports
    argv = [
        site.python,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
        "--node-ip-address=127.0.0.1",
        f"--num-cpus={cpus}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={temp}",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={ports['ray-dashboard']}",
        f"--port={ports['ray-gcs']}",
        f"--dashboard-agent-listen-port={ports['ray-agent-http']}",
        f"--dashboard-agent-grpc-port={ports['ray-agent-grpc']}",
        f"--ray-client-server-port={ports['ray-client']}",
        f"--metrics-export-port={ports['ray-metrics']}",
        f"--runtime-env-agent-port={ports['ray-runtime-env']}",
        f"--node-manager-port={ports['ray-node-manager']}",
        f"--object-manager-port={ports['ray-object-manager']}",
        "--min-worker-port=0",
        "--max-worker-port=0",
    ]
    env = {
        **site.user_env(),
        # Jobs are started as `python -m …`: that must be the interpreter which has the workloads, activated or not.
        "PATH": f"{Path(site.python).parent}:{site.env.get('PATH', '')}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Without it Ray replaces 127.0.0.1 by the machine's outside address and listens on every interface.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "AUTOSCALER_METRIC_PORT": str(ports["ray-autoscaler-metrics"]),
        "DASHBOARD_METRIC_PORT": str(ports["ray-dashboard-metrics"]),
    }
    return replace(_launch(site, Component.RAY, argv, env, version), scratch=temp, attempts=_RAY_ATTEMPTS)


def operator(site: Site, version: str, settings: Mapping[str, str]) -> Launch:
    """Return the launch of the operator with its own, limited identity; `settings` are variables of `gradatim.operator`."""
    env = {
        **site.user_env(),
        **settings,
        "KUBECONFIG": str(site.layout.operator_kubeconfig),
        "GRADATIM_OPERATOR_NAMESPACE": OPERATOR_NAMESPACE,
        "GRADATIM_METRICS_PORT": str(site.ports["operator-metrics"]),
        "GRADATIM_HEALTH_PORT": str(site.ports["operator-health"]),
    }
    return _launch(site, Component.OPERATOR, [site.python, "-m", "gradatim.operator"], env, version)


def _launch(site: Site, component: Component, argv: list[str], env: Mapping[str, str], version: str) -> Launch:
    return Launch(component, tuple(argv), env, version, site.layout.log(component))
