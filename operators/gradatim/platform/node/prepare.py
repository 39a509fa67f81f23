"""Everything `up` puts on disk before the first process starts: folders, keys, configurations, links to programs.

Called by `lifecycle` under the state lock. Repeating it changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from gradatim.platform.binaries import Toolset
from gradatim.platform.errors import StateError
from gradatim.platform.files import delete, private_dir, write_atomic
from gradatim.platform.node import configs, identities
from gradatim.platform.node.inside import HIDDEN, LOGS, wish_files
from gradatim.platform.node.layout import NodeLayout
from gradatim.platform.node.prerequisites import PrerequisiteError, cni_folder

_KUBE_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


def folders(layout: NodeLayout) -> None:
    """Make the cluster's folders, and remove what a killed `up` left half made in its own."""
    own = (layout.private, layout.secrets, layout.logs, layout.data_root, layout.config, layout.bin, layout.images)
    for folder in (layout.root, *own, layout.hidden, *(layout.root / name for name in ("run", "lib", "containerd"))):
        private_dir(folder)
    for name in (*HIDDEN, LOGS):
        # Programs in containers reach their volumes through the kubelet's folder as users of their own.
        (layout.hidden / name).mkdir(mode=0o755, exist_ok=True)
    delete(layout.leftovers())


def configurations(layout: NodeLayout, mounts: str, pod_memory: int = 0) -> None:
    """Write certificates, kubeconfigs and configuration files. `mounts` is the text of /proc/self/mountinfo, `pod_memory` a limit in bytes."""
    identities.ensure(layout)
    cni = cni_folder()
    if cni is None:
        raise PrerequisiteError("the network plugins of containernetworking-plugins are not installed")
    files = {
        "containerd.toml": configs.containerd(str(cni), snapshotter(layout.root, mounts)),
        "cni/10-pods.conflist": configs.pod_network(),
        "kubelet.json": configs.kubelet(layout.cgroup, pod_memory, psutil.virtual_memory().total),
        "Corefile": configs.corefile(),
        "resolv.conf": configs.resolv_conf(search=False),
        "resolv-search.conf": configs.resolv_conf(search=True),
        **wish_files(),
    }
    for name, text in files.items():
        # Shown to containers or read by other users' processes: no secret is in any of them.
        write_atomic(layout.config / name, text.encode(), mode=0o644)


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Return the mount points in a folder, itself included."""
    points = [line.split()[4].replace("\\040", " ") for line in mountinfo.splitlines()]
    return [point for point in points if Path(point) == folder or folder in Path(point).parents]


def snapshotter(folder: Path, mountinfo: str) -> str:
    """Return containerd's way to store layers: overlays do not lie on overlays."""
    best, kind = Path("/"), ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].replace("\\040", " "))
        if (point == folder or point in folder.parents) and len(point.parts) >= len(best.parts):
            best, kind = point, right.split()[0]
    return "native" if kind in {"overlay", "tmpfs"} else "overlayfs"


def link(layout: NodeLayout, name: str, program: Path) -> None:
    """Put a program into the cluster's folder of programs."""
    target = layout.bin / name
    if target.is_symlink() and target.readlink() == program:
        return
    partial = target.with_name(f".{name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(program)
    partial.replace(target)


def link_kube(layout: NodeLayout, kube: Toolset) -> None:
    """Link every component of Kubernetes; one binary serves all names unless the user gave a folder with more."""
    for name in _KUBE_PROGRAMS:
        own = kube.location / name
        if not kube.location.is_dir():
            own = kube.location
        elif not own.exists():
            own = kube.location / _KUBE_PROGRAMS[0]
        link(layout, name, own)


def remove(layout: NodeLayout, mountinfo: str) -> None:
    """Delete the cluster's files but the lock, which the caller holds.

    Raises StateError when something is mounted there: deleting would reach into it.
    """
    if found := mounts_below(layout.root, mountinfo):
        raise StateError(
            f"{', '.join(found)} is mounted in the state folder: unmount it, then repeat `gradatim down --node`"
        )
    delete({*layout.leftovers(), *layout.owned()} - {layout.lock})


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the user's environment without what would bend the cluster's own settings."""
    return {name: value for name, value in env.items() if name not in {"KUBECONFIG", "CONTAINERD_ADDRESS"}}
