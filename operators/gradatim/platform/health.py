"""Ask a component whether it works, over the interface its users use.

Called while starting, by `up` to decide what to keep, and by `status`. A probe answers within its timeout and never raises for a
component that is down: that is its answer.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from gradatim.platform import pki
from gradatim.platform.components import Component
from gradatim.platform.dirs import Layout
from gradatim.platform.state import PlatformState

_TIMEOUT = 3.0


@dataclass(frozen=True)
class Health:
    """The answer of one probe; `detail` says what was missing."""

    ok: bool
    detail: str = ""


def probe(component: Component, state: PlatformState) -> Health:
    """Ask one component. `state.ports` must be filled."""
    try:
        return _PROBES[component](state)
    except (httpx.HTTPError, OSError, ssl.SSLError, ValueError) as error:
        return Health(ok=False, detail=str(error) or type(error).__name__)


def tls_context(layout: Layout, authority: str, user: str) -> ssl.SSLContext:
    """Return a context that trusts one authority of the platform and presents one identity."""
    context = ssl.create_default_context(cafile=str(pki.pair(layout.pki, authority).crt))
    client = pki.pair(layout.pki, user)
    context.load_cert_chain(client.crt, client.key)
    return context


def get(url: str, *, verify: ssl.SSLContext | bool = True, token: str | None = None) -> Health:
    """Ask one address; success is health."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # The user's proxy has no business between this machine and itself.
    with httpx.Client(verify=verify, trust_env=False, timeout=_TIMEOUT, headers=headers) as client:
        response = client.get(url)
    if response.is_success:
        return Health(ok=True)
    return Health(ok=False, detail=f"{url} answers {response.status_code}")


def _etcd(state: PlatformState) -> Health:
    context = tls_context(Layout(state.state_dir), pki.ETCD_CA, "etcd-client")
    return get(f"https://127.0.0.1:{state.ports['etcd-client']}/health", verify=context)


def _apiserver(state: PlatformState) -> Health:
    context = tls_context(Layout(state.state_dir), pki.CLUSTER_CA, "admin")
    return get(f"{state.api_server}/readyz", verify=context)


def _controller_manager(state: PlatformState) -> Health:
    context = tls_context(Layout(state.state_dir), pki.CLUSTER_CA, "admin")
    return get(f"https://127.0.0.1:{state.ports['controller-manager']}/healthz", verify=context)


def _weaviate(state: PlatformState) -> Health:
    answer = get(f"{state.weaviate}/v1/.well-known/ready")
    if answer.ok:
        # Searches go over gRPC, which starts after the REST interface says it is ready.
        with socket.create_connection(("127.0.0.1", state.ports["weaviate-grpc"]), timeout=_TIMEOUT):
            pass
    return answer


def _ray(state: PlatformState) -> Health:
    token = state.ray_token.read_text().strip()
    agent = f"http://127.0.0.1:{state.ports['ray-agent-http']}/api/local_raylet_healthz"
    # The version is the dashboard's alone; listing jobs needs the cluster behind it; submitting one needs the node's agent.
    for url in (f"{state.ray_dashboard}/api/version", f"{state.ray_dashboard}/api/jobs/", agent):
        if not (answer := get(url, token=token)).ok:
            return answer
    return Health(ok=True)


def _operator(state: PlatformState) -> Health:
    return get(f"{state.operator_health}/healthz")


_PROBES: dict[Component, Callable[[PlatformState], Health]] = {
    Component.ETCD: _etcd,
    Component.APISERVER: _apiserver,
    Component.CONTROLLER_MANAGER: _controller_manager,
    Component.WEAVIATE: _weaviate,
    Component.RAY: _ray,
    Component.OPERATOR: _operator,
}
