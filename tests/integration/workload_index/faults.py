"""Ways to break a run from outside: a child process to kill, and a proxy that cuts a connection after some bytes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gradatim.api.run import RunConfig


def start_run(config: RunConfig, folder: Path) -> subprocess.Popen[bytes]:
    """Start an attempt as a process of its own."""
    file = folder / f"{config.run}-a{config.attempt}.json"
    file.write_text(config.model_dump_json(by_alias=True, exclude_none=True), encoding="utf-8")
    with file.with_suffix(".log").open("wb") as log:
        argv = [sys.executable, "-m", "gradatim.workloads", "index", "--config", str(file)]
        return subprocess.Popen(argv, stdout=log, stderr=log, env=os.environ)


class CuttingProxy:
    """Forwards TCP to a server until `budget` bytes went to it; then everything is cut and refused."""

    def __init__(self, target: str, budget: int) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._budget = budget
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def cut(self) -> bool:
        """Whether the connection has been cut."""
        return self._budget <= 0

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.close()

    def _accept(self) -> None:
        while not self.cut:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                client.close()
                break
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()
        self.close()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            while not self.cut:
                ready, _, _ = select.select([client, server], [], [], 0.2)
                for end in ready:
                    data = end.recv(65_536)
                    if not data:
                        return
                    if end is client:
                        with self._lock:
                            self._budget -= len(data)
                        if self.cut:
                            self.close()
                            return
                    (server if end is client else client).sendall(data)


@contextlib.contextmanager
def cutting_proxy(target: str, budget: int) -> Iterator[CuttingProxy]:
    """A proxy for a block."""
    proxy = CuttingProxy(target, budget)
    try:
        yield proxy
    finally:
        proxy.close()
