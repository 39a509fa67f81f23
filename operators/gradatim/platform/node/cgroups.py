"""The control group that holds the cluster's pods: make it, and remove it with everything in it.

Called by `up` before the kubelet starts, which wants it to exist, and by `down`. Works on both versions of control groups; the group
is named after the state folder, so that no other program's group is ever touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_SECONDS = 10.0


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Return where a group must exist: the one tree of version 2, or each controller's own tree of version 1."""
    if (root / "cgroup.controllers").is_file():
        return [root]
    # Links such as cpu -> cpu,cpuacct name a tree a second time.
    trees = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    return sorted(path for path in trees if (path / "cgroup.procs").is_file())


def make(name: str, root: Path = ROOT) -> None:
    """Make the group in every tree, with the controllers that the kubelet looks for."""
    for tree in hierarchies(root):
        # Where both versions are mounted, the second one's tree has no controllers and is runc's affair.
        if tree.name == "unified":
            continue
        if (tree / "cgroup.subtree_control").is_file():
            for controller in (tree / "cgroup.controllers").read_text().split():
                # One that this machine does not let us hand down is one that pods do without.
                with contextlib.suppress(OSError):
                    (tree / "cgroup.subtree_control").write_text(f"+{controller}")
        group = tree / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # A fresh group of version 1 owns no processor and no memory: no process may join it.
            if (group / setting).is_file() and tree.name.startswith("cpuset"):
                (group / setting).write_text((tree / setting).read_text())


def remove(name: str, root: Path = ROOT) -> None:
    """End every process of the group and remove it. Raises OSError when the kernel does not let go of it in time."""
    deadline = time.monotonic() + _SECONDS
    for tree in hierarchies(root):
        group = tree / name
        while group.is_dir():
            folders = [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]
            for folder in folders:
                _end(folder)
            try:
                for folder in folders:
                    folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def members(name: str, root: Path = ROOT) -> set[int]:
    """Return the processes in the group and below it."""
    found: set[int] = set()
    for tree in hierarchies(root):
        for folder, _, _ in os.walk(tree / name):
            with contextlib.suppress(OSError):
                found.update(map(int, (Path(folder) / "cgroup.procs").read_text().split()))
    return found


def _end(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in map(int, (folder / "cgroup.procs").read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
