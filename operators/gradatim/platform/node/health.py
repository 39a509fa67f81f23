"""Ask a part of the cluster whether it works, from inside its network.

Called while starting, by `up` to decide what to keep, and by `status`. Never raises for a part that is down: that is its answer.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from gradatim.platform import pki
from gradatim.platform.health import Health, get, tls_context
from gradatim.platform.node.inside import READY
from gradatim.platform.node.launches import enter
from gradatim.platform.node.layout import API_SERVER, NODE_ADDRESS, PORTS, NodeLayout, Part
from gradatim.platform.node.namespace import entered, network_namespace

_TIMEOUT = 5.0


@dataclass(frozen=True)
class Probe:
    """Probes of one running cluster; `init` is asked for anew, since the first process may be replaced."""

    layout: NodeLayout
    init: Callable[[], int]

    def __call__(self, component: str) -> Health:
        """Ask one part."""
        part = Part(component)
        try:
            if part is Part.NODE:
                ready = self.init() > 0 and (self.layout.ready / READY).is_file()
                return Health(ok=ready, detail="" if ready else "mounts and network are not in place")
            with entered(network_namespace(self.init())):
                return self._inside(part)
        except (httpx.HTTPError, OSError, ssl.SSLError, ValueError, subprocess.SubprocessError) as error:
            return Health(ok=False, detail=str(error) or type(error).__name__)

    def _inside(self, part: Part) -> Health:
        if part is Part.CONTAINERD:
            return self._containerd()
        answer = get(_URLS[part], verify=self._context(part))
        if answer.ok and part is Part.WEAVIATE:
            with socket.create_connection((NODE_ADDRESS, PORTS["weaviate-grpc"]), timeout=_TIMEOUT):
                pass
        return answer

    def _context(self, part: Part) -> ssl.SSLContext | bool:
        if part is Part.ETCD:
            return tls_context(self.layout, pki.ETCD_CA, "etcd-client")
        return tls_context(self.layout, pki.CLUSTER_CA, "admin") if _URLS[part].startswith("https") else True

    def _containerd(self) -> Health:
        done = subprocess.run(
            [*enter(self.init()), "ctr", "version"], capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
        return Health(ok=done.returncode == 0, detail=done.stderr.strip()[-200:])


_LOOPBACK = "127.0.0.1"
_URLS = {
    Part.ETCD: f"https://{_LOOPBACK}:{PORTS['etcd-client']}/health",
    Part.APISERVER: f"{API_SERVER}/readyz",
    Part.CONTROLLER_MANAGER: f"https://{_LOOPBACK}:{PORTS['controller-manager']}/healthz",
    Part.SCHEDULER: f"https://{_LOOPBACK}:{PORTS['scheduler']}/healthz",
    Part.KUBELET: f"http://{_LOOPBACK}:{PORTS['kubelet-health']}/healthz",
    Part.PROXY: f"http://{_LOOPBACK}:{PORTS['proxy-health']}/healthz",
    Part.DNS: f"http://{_LOOPBACK}:{PORTS['dns-ready']}/ready",
    Part.KUBERAY: f"http://{_LOOPBACK}:{PORTS['kuberay-health']}/healthz",
    Part.OPERATOR: f"http://{_LOOPBACK}:{PORTS['operator-health']}/healthz",
    Part.WEAVIATE: f"http://{NODE_ADDRESS}:{PORTS['weaviate-http']}/v1/.well-known/ready",
    Part.MINIO: f"http://{NODE_ADDRESS}:{PORTS['minio']}/minio/health/ready",
}
