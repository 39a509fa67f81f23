"""What the node cluster takes from the operating system, and how to install it.

Called by `up` before it touches anything, by `gradatim node install-prerequisites` and by the test tier. Programs are looked for, not
packages: a distribution may name them differently.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from gradatim.platform.errors import PlatformError

# Program to Debian package; the first three are in every installation of Linux worth the name.
PROGRAMS = {
    "mount": "mount",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "socat": "socat",
}
CNI_PLUGINS = ("bridge", "host-local", "portmap", "loopback")
_CNI_PACKAGE = "containernetworking-plugins"
_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INSTALL_SECONDS = 600


class PrerequisiteError(PlatformError):
    """This machine cannot run a node cluster as it is."""


def cni_folder(folders: Iterable[Path] = _CNI_FOLDERS) -> Path | None:
    """Return the folder that holds the network plugins, or None when no folder holds all of them."""
    return next((f for f in folders if all(os.access(f / name, os.X_OK) for name in CNI_PLUGINS)), None)


def missing_packages(path: str = SYSTEM_PATH, folders: Iterable[Path] = _CNI_FOLDERS) -> list[str]:
    """Return the Debian names of what is not installed, sorted."""
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None}
    if cni_folder(folders) is None:
        packages.add(_CNI_PACKAGE)
    return sorted(packages)


def check() -> None:
    """Raise PrerequisiteError unless this machine can run a node cluster."""
    if platform.system() != "Linux":
        raise PrerequisiteError("a node cluster needs Linux: use `gradatim up` without --node here")
    if os.geteuid() != 0:
        raise PrerequisiteError(
            "a node cluster needs root: run the command with sudo, or use `gradatim up` without --node"
        )
    if missing := missing_packages():
        raise PrerequisiteError(
            f"not installed: {', '.join(missing)}; on Debian and Ubuntu `apt-get install -y {' '.join(missing)}` "
            "or `gradatim node install-prerequisites` installs them"
        )


def install_prerequisites(progress: Callable[[str], None] = lambda _message: None) -> list[str]:
    """Install what is missing with apt-get and return the packages; nothing missing is not an error.

    Raises PrerequisiteError without root, without apt-get, or with apt-get's own words when it fails.
    """
    missing = missing_packages()
    if not missing:
        return []
    apt = shutil.which("apt-get", path=SYSTEM_PATH)
    if os.geteuid() != 0 or apt is None:
        raise PrerequisiteError(f"install these packages first: {' '.join(missing)} (needs root; apt-get on Debian)")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": SYSTEM_PATH}
    for argv in ([apt, "update", "-qq"], [apt, "install", "-y", "-qq", "--no-install-recommends", *missing]):
        progress(" ".join(argv[1:]))
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_INSTALL_SECONDS
        )  # fmt: skip
        if done.returncode != 0:
            raise PrerequisiteError(f"{' '.join(argv)} failed: {(done.stderr or done.stdout).strip()[-800:]}")
    if left := missing_packages():
        raise PrerequisiteError(f"still not installed after apt-get: {' '.join(left)}")
    return missing
