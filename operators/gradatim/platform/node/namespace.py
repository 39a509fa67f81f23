"""Join the cluster's network namespace from a thread of this process.

Used for probes, for talking to the API server, and by tests that run in a process of their own. A namespace belongs to a thread: threads
and processes that it starts inherit it, others do not notice. Sockets stay in the namespace they were opened in.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def network_namespace(init: int) -> Path:
    """Return the namespace of a process, for `nsenter --net=` and `entered`."""
    return Path(f"/proc/{init}/ns/net")


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"joining a network namespace: {os.strerror(code)}")


@contextlib.contextmanager
def entered(namespace: Path) -> Iterator[None]:
    """Run a block with this thread in a network namespace. Raises OSError when it is gone or this is not root."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)
