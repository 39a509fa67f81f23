"""What runs: the state file, and the lock that lets one `up` or `down` at a time work on it.

Written after every start and stop, each time as a whole file under one rename. It is a record, not the truth: processes are also
marked in their environment, so that `down` finds them when this file is lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from gradatim.platform.components import Component
from gradatim.platform.dirs import Layout
from gradatim.platform.errors import StateError
from gradatim.platform.files import private_dir, write_atomic
from gradatim.platform.processes import Started

_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """One started component.

    Against re-used process ids `created` is the process's start time in seconds since the epoch, and `space` names the boot and the pid
    namespace; empty in records of earlier releases.
    """

    pid: int
    created: float
    argv: tuple[str, ...]
    version: str
    log: str
    space: str = ""

    @property
    def started(self) -> Started:
        """The process that was started."""
        return Started(self.pid, self.created, self.space)


@dataclass(frozen=True)
class PlatformState:
    """A platform as recorded: what was started, where it answers, and what it was told."""

    state_dir: Path
    components: dict[Component, Record] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    source_roots: tuple[str, ...] = ()
    ray_cpus: int | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for kubectl and the client."""
        return Layout(self.state_dir).kubeconfig

    @property
    def operator_kubeconfig(self) -> Path:
        """The kubeconfig of the operator's limited identity."""
        return Layout(self.state_dir).operator_kubeconfig

    @property
    def secrets_dir(self) -> Path:
        """Where workloads find their secrets: `<secret name>/<key>`."""
        return Layout(self.state_dir).secrets

    @property
    def ray_token(self) -> Path:
        """The file with Ray's bearer token."""
        return Layout(self.state_dir).private / "ray-token"

    @property
    def api_server(self) -> str:
        return f"https://127.0.0.1:{self.ports['apiserver']}"

    @property
    def weaviate(self) -> str:
        return f"http://127.0.0.1:{self.ports['weaviate-http']}"

    @property
    def weaviate_grpc(self) -> str:
        return f"http://127.0.0.1:{self.ports['weaviate-grpc']}"

    @property
    def ray_dashboard(self) -> str:
        return f"http://127.0.0.1:{self.ports['ray-dashboard']}"

    @property
    def operator_health(self) -> str:
        return f"http://127.0.0.1:{self.ports['operator-health']}"

    @property
    def operator_metrics(self) -> str:
        return f"http://127.0.0.1:{self.ports['operator-metrics']}"


class StateFile:
    """The state file of one platform, safe to update from the threads that start components."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._state = read(layout)

    @property
    def current(self) -> PlatformState:
        return self._state

    def update(self, **changes: object) -> None:
        """Replace fields and write."""
        with self._lock:
            self._write(dataclasses.replace(self._state, **changes))  # type: ignore[arg-type]

    def recorded(self, component: str) -> Record | None:
        """Return what was last started of a component."""
        return self._state.components.get(Component(component))

    def record(self, component: str, record: Record | None) -> None:
        """Set or remove one component and write."""
        with self._lock:
            components = {name: kept for name, kept in self._state.components.items() if name != component}
            if record is not None:
                components[Component(component)] = record
            self._write(dataclasses.replace(self._state, components=components))

    def _write(self, state: PlatformState) -> None:
        content = {
            "format": _FORMAT,
            "components": {name: dataclasses.asdict(record) for name, record in state.components.items()},
            "sourceRoots": state.source_roots,
            "rayCpus": state.ray_cpus,
        }
        write_atomic(self._layout.state, json.dumps(content, indent=1).encode())
        self._state = state


def read(layout: Layout) -> PlatformState:
    """Return what is recorded. A missing or damaged file reads as nothing: the marks of the processes still find them."""
    try:
        return parse(layout.state.read_text(), layout.root)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return PlatformState(layout.root)


def parse(text: str, root: Path) -> PlatformState:
    """Return the state in a file's text. Raises ValueError, KeyError or TypeError when it is not one."""
    content = json.loads(text)
    if content["format"] != _FORMAT:
        raise ValueError(f"unknown format {content['format']}")
    records = {
        Component(name): Record(
            int(r["pid"]),
            float(r["created"]),
            tuple(map(str, r["argv"])),
            str(r["version"]),
            str(r["log"]),
            str(r.get("space", "")),
        )
        for name, r in content["components"].items()
    }
    cpus = content["rayCpus"]
    roots = tuple(map(str, content["sourceRoots"]))
    return PlatformState(root, records, {}, roots, None if cpus is None else int(cpus))


@contextlib.contextmanager
def locked(layout: Layout, seconds: float) -> Iterator[None]:
    """Hold the state folder. Raises StateError when another `up` or `down` does not let go in time."""
    private_dir(layout.root)
    lock = FileLock(layout.lock)
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise StateError(
            f"another `gradatim up` or `gradatim down` works on {layout.root}: wait for it, or end it, and try again"
        ) from error
    try:
        yield
    finally:
        lock.release()
