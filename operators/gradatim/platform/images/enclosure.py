"""Run a program inside a root file system, in mount and process namespaces of its own.

Called by the builder, to compile with the image's own Python, and by tests, to run an image as its user on a read-only root. Needs
root. Every mount disappears with the program, however it ends, so there is nothing to clean up after a crash.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradatim.platform.images.catalog import HOME

# Positional arguments only: no path is ever read as shell text.
_ENTER = """
set -eu
root=$1 user=$2 home=$3 binds=$4; shift 4
mount --bind "$root" "$root"
while [ "$binds" -gt 0 ]; do mount --bind "$1" "$root$2"; shift 2; binds=$((binds - 1)); done
if [ "$user" != 0 ]; then
  mount -t proc proc "$root/proc"
  mount -t tmpfs -o mode=1777 tmpfs "$root$home"
  for name in null zero urandom random; do : >>"$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
  mkdir -p "$root/dev/shm"; mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount -o remount,bind,ro "$root"
fi
exec chroot --userspec="$user:$user" "$root" "$@"
"""


_OUTSIDE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Enclosure:
    """A root file system and how to enter it. A `user` other than 0 gets a read-only root with an empty /tmp, as in a pod."""

    root: Path
    user: int = 0
    binds: Mapping[Path, str] = field(default_factory=dict)

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and return what it said. It has no network."""
        inside = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in environment.items())]
        bound = [str(part) for pair in self.binds.items() for part in pair]
        command = [
            "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private", "--",
            "/bin/sh", "-c", _ENTER, "enter", str(self.root), str(self.user), HOME, str(len(self.binds)), *bound,
            *inside, *argv,
        ]  # fmt: skip
        return subprocess.run(
            command, env=_OUTSIDE, capture_output=True, text=True, check=False, timeout=seconds,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
