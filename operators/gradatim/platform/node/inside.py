"""The first process of the cluster's namespaces: lay out mounts and network, then become `pause`.

Started by `up` as `unshare … python -m gradatim.platform.node STATE PAUSE`, already in mount, network and process namespaces of
its own. All it mounts and makes is seen by nobody else and ends with it, however it ends: that is what makes `down` simple.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradatim.platform.node.configs import KERNEL_WISHES
from gradatim.platform.node.layout import INSIDE, NODE_ADDRESS, NODE_NETWORK, NodeLayout, inside
from gradatim.platform.node.prerequisites import SYSTEM_PATH

READY = "ready"
# What the kubelet and network plugins have below /var/lib, and what the cluster has there instead.
HIDDEN = ("kubelet", "cni")
# A folder of the machine that the cluster covers as a whole.
LOGS = "log"


def network_commands() -> list[list[str]]:
    """Return what makes the network: loopback, and a bridge without ports that carries the node's address.

    Not every kernel has the dummy device type. The default route leads nowhere: kube-proxy and the network plugins want one, and no
    packet can leave the namespace.
    """
    link = ["ip", "link"]
    return [
        [*link, "set", "lo", "up"],
        [*link, "add", "node0", "type", "bridge"],
        ["ip", "addr", "add", NODE_NETWORK, "dev", "node0"],
        [*link, "set", "node0", "up"],
        ["ip", "route", "add", "default", "via", NODE_ADDRESS, "dev", "node0"],
    ]


def mount_commands(layout: NodeLayout, var_lib: Iterable[str]) -> list[list[str]]:
    """Return the mounts, in order; afterwards the state folder is at `INSIDE`, and /run and /var/lib belong to the cluster.

    `var_lib` are the folders this machine has in /var/lib: they are shown again. A mount point made there instead would be taken away
    by whoever removes it, in every namespace at once.
    """
    run, lib = layout.root / "run", layout.root / "lib"
    shown = [name for name in var_lib if name not in HIDDEN]
    bind, recursive = ["mount", "-n", "--bind"], ["mount", "-n", "--rbind"]
    return [
        ["mount", "-n", "-t", "tmpfs", "-o", "mode=755", "gradatim", str(run)],
        ["mkdir", str(run / INSIDE.name)],
        [*bind, str(layout.root), str(run / INSIDE.name)],
        ["mount", "-n", "-t", "tmpfs", "-o", "mode=755", "gradatim", str(lib)],
        ["mkdir", *(str(lib / name) for name in (*shown, *HIDDEN))],
        *([*recursive, f"/var/lib/{name}", str(lib / name)] for name in shown),
        *([*bind, str(layout.hidden / name), str(lib / name)] for name in HIDDEN),
        [*bind, str(layout.hidden / LOGS), "/var/log"],
        *([*bind, str(layout.config / _wish(name)), f"/proc/sys/{name}"] for name in KERNEL_WISHES),
        ["mount", "-n", "--move", str(lib), "/var/lib"],
        ["mount", "-n", "--move", str(run), "/run"],
        # The kubelet and containers with `Bidirectional` volumes want mounts to spread: within the cluster they may.
        ["mount", "-n", "--make-rshared", "/"],
    ]


def wish_files() -> dict[str, str]:
    """Return the names and content of the files that stand in for kernel settings."""
    return {_wish(name): f"{value}\n" for name, value in KERNEL_WISHES.items()}


def _wish(setting: str) -> str:
    return f"sysctl-{setting.replace('/', '-')}"


def _run(commands: Sequence[Sequence[str]]) -> None:
    for argv in commands:
        done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(argv)}: exit code {done.returncode}")


def _settings() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not bridged.is_file():
        # Answers of a pod to another pod on the bridge must pass where the service's address is put back.
        raise SystemExit(f"{bridged} is missing: load the kernel module br_netfilter (modprobe br_netfilter)")
    bridged.write_text("1")


def _resolver() -> None:
    """Show the cluster's own resolver to its processes; on some systems the file is a link into the folder just replaced."""
    target = Path(os.path.realpath("/etc/resolv.conf"))
    if Path("/run") in target.parents:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    elif not target.exists():
        # A file made here would be this machine's.
        return
    _run([["mount", "-n", "--bind", str(INSIDE / "config" / "resolv-search.conf"), str(target)]])


def main(argv: Sequence[str]) -> None:
    """Prepare the namespaces, say so, and hold them open until killed."""
    root, pause = argv
    layout = NodeLayout(Path(root))
    os.environ["PATH"] = SYSTEM_PATH
    folders = sorted(entry.name for entry in os.scandir("/var/lib") if entry.is_dir(follow_symlinks=False))
    _run(mount_commands(layout, folders))
    _resolver()
    _run(network_commands())
    _settings()
    inside(layout, layout.ready / READY).touch()
    os.chdir("/")
    os.execv(pause, [pause])  # noqa: S606 - no shell, a path of ours
