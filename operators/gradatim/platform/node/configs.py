"""The configuration files of the cluster's components.

Pure: facts in, text out; `lifecycle` writes them. All paths are those inside the cluster's mount namespace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gradatim.platform.node.layout import CLUSTER_DOMAIN, INSIDE, NODE_ADDRESS, POD_RANGE, PORTS

PAUSE_IMAGE = "localhost/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
# The kubelet insists on these for the whole machine. It is shown files with its own wishes instead, so that the machine keeps its settings.
KERNEL_WISHES: Mapping[str, str] = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def containerd(cni_folder: str, snapshotter: str) -> str:
    """Return containerd's configuration (format 2, which versions 1.6 to 2 read)."""
    return f"""version = 2
root = "{INSIDE}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{INSIDE}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE a negative oom_score_adj ends runc ("can't get final child's PID from pipe").
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_folder}"
    conf_dir = "{INSIDE}/config/cni"
"""


def pod_network() -> str:
    """Return the pod network: a bridge inside the namespace. It knows no NetworkPolicy."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}, indent=1)


def kubelet(cgroup: str, pod_memory: int = 0, machine_memory: int = 0) -> str:
    """Return the kubelet's configuration; `cgroup` is the control group all pods go into.

    With `pod_memory` all pods together get so many bytes of the machine's, and the kubelet evicts pods shortly before it is used up. It looks
    every ten seconds, so that the margin is what may be taken in that time.
    """
    withheld = max(0, machine_memory - pod_memory) if pod_memory else 0
    margin = str(pod_memory // 10) if withheld else "100Mi"
    content: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": PORTS["kubelet-health"],
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{INSIDE}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{INSIDE}/pki/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{INSIDE}/pki/kubelet-server.key",
        # From 1.35 on the kubelet refuses control groups of version 1 otherwise.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": f"{INSIDE}/config/resolv.conf",
        "failSwapOn": False,
        # Mounted Secrets follow within seconds instead of a minute or two: Kueue waits for its certificates that way.
        "syncFrequency": "10s",
        # The default is a folder of the machine, which the kubelet makes.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # Nothing can be pulled again in a namespace without a way out: no image may be removed for want of space.
        "imageGCHighThresholdPercent": 100,
        "systemReserved": {"memory": str(withheld)} if withheld else {},
        "evictionHard": {"memory.available": margin, "nodefs.available": "1%", "imagefs.available": "1%"},
        "evictionPressureTransitionPeriod": "10s",
    }
    return json.dumps(content, indent=1)


def corefile() -> str:
    """Return CoreDNS's configuration: the cluster's own names and nothing else, for there is nobody to forward to."""
    return f""".:53 {{
  bind {NODE_ADDRESS}
  errors
  ready 127.0.0.1:{PORTS["dns-ready"]}
  cache 5
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig {INSIDE}/private/coredns.kubeconfig gradatim
    ttl 5
  }}
}}
"""


def resolv_conf(*, search: bool) -> str:
    """Return a resolver configuration; with `search`, one for processes that use the short names of services."""
    line = (
        f"search default.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}\noptions ndots:5\n"
        if search
        else ""
    )
    return f"nameserver {NODE_ADDRESS}\n{line}"
