"""Choose the platform's ports once, and keep them.

Called by `up`. Ports come as one block below the range the kernel hands out for outgoing connections, so that a stopped platform
finds its ports free again; a reservation per block keeps two platforms of one user apart even while one of them is down.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gradatim.platform.components import PORT_NAMES
from gradatim.platform.dirs import Layout, user_runtime_dir
from gradatim.platform.errors import StateError
from gradatim.platform.files import private_dir, write_atomic

_FIRST, _LAST, _BLOCK = 20_000, 30_000, 32


def is_free(port: int) -> bool:
    """Whether nothing on this machine listens on the port, on loopback or on all interfaces."""
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - bound for an instant, to ask
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def choose_block(starts: Iterable[int], reserve: Callable[[int], bool], free: Callable[[int], bool]) -> int:
    """Return the first start whose block can be reserved and is free. Raises StateError when there is none."""
    for start in starts:
        if reserve(start) and all(free(start + offset) for offset in range(len(PORT_NAMES))):
            return start
    raise StateError(
        f"no {len(PORT_NAMES)} free ports in a row between {_FIRST} and {_LAST}: stop something, then try again"
    )


def load(layout: Layout) -> dict[str, int]:
    """Return the remembered ports, or nothing for a new state folder. Raises StateError when the file is damaged."""
    try:
        ports = json.loads(layout.ports.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StateError(f"{layout.ports} is damaged ({error}): run `gradatim down --purge` and start again") from error
    if not isinstance(ports, dict) or set(ports) != set(PORT_NAMES):
        raise StateError(f"{layout.ports} was written by another version: run `gradatim down --purge` and start again")
    return {str(name): int(port) for name, port in ports.items()}


def load_or_choose(layout: Layout) -> dict[str, int]:
    """Return the platform's ports by name, choosing and remembering them at the first call."""
    if ports := load(layout):
        return ports
    start = choose_block(_shuffled(), lambda block: _reserve(block, layout), is_free)
    ports = dict(zip(PORT_NAMES, range(start, start + len(PORT_NAMES)), strict=True))
    write_atomic(layout.ports, json.dumps(ports, indent=1).encode())
    return ports


def release(layout: Layout) -> None:
    """Give back every block reserved for a state folder."""
    for file in _reservations().glob("*"):
        if _owner(file) == str(layout.root):
            file.unlink(missing_ok=True)


def _shuffled() -> Sequence[int]:
    starts = list(range(_FIRST, _LAST - _BLOCK, _BLOCK))
    random.shuffle(starts)
    return starts


def _reservations() -> Path:
    return private_dir(user_runtime_dir() / "ports")


def _owner(file: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return file.read_text()
    return ""


def _reserve(start: int, layout: Layout) -> bool:
    file = _reservations() / str(start)
    # A reservation whose state folder is gone belongs to nobody: that folder was deleted by hand.
    if (owner := _owner(file)) and not Path(owner).is_dir():
        file.unlink(missing_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as out:
        out.write(str(layout.root))
    return True
