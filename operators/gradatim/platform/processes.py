"""Start, recognise and end processes. The only module that touches them.

A process counts as ours by its id together with its start time, or by a mark in its environment that names the state folder: ids are
re-used, and state files get lost. Nothing is ever ended by name.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from gradatim.platform.components import Component
from gradatim.platform.files import private_dir

MARK_STATE = "GRADATIM_PLATFORM_STATE"
MARK_COMPONENT = "GRADATIM_PLATFORM_COMPONENT"
_LOG_LIMIT = 32 * 2**20
# psutil derives start times from the boot time, which moves a little when the clock is set.
_CLOCK_TOLERANCE = 1.0

# A parent must collect the children that end while it still runs; kept by id, dropped when collected.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Launch:
    """Everything needed to start one component. `scratch` is a folder that is emptied before each start."""

    component: Component
    argv: tuple[str, ...]
    env: Mapping[str, str]
    version: str
    log: Path
    scratch: Path | None = None


@dataclass(frozen=True)
class Started:
    """A process, told from every other that has or had its id."""

    pid: int
    created: float


def start(launch: Launch, state_dir: Path) -> Started:
    """Start a component in a session of its own, so that it outlives the caller and its terminal."""
    private_dir(launch.log.parent)
    with contextlib.suppress(FileNotFoundError):
        if launch.log.stat().st_size > _LOG_LIMIT:
            launch.log.replace(launch.log.with_suffix(".log.1"))
    if launch.scratch:
        shutil.rmtree(launch.scratch, ignore_errors=True)
        private_dir(launch.scratch)
    env = {**launch.env, MARK_STATE: str(state_dir), MARK_COMPONENT: launch.component.value}
    with launch.log.open("ab") as log:
        child = subprocess.Popen(
            launch.argv, env=env, cwd=state_dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )  # fmt: skip
    _children[child.pid] = child
    try:
        return Started(child.pid, psutil.Process(child.pid).create_time())
    except psutil.NoSuchProcess:
        return Started(child.pid, 0.0)


def find(started: Started) -> psutil.Process | None:
    """Return the process if it still runs: same id, same start time, not a zombie."""
    if (child := _children.get(started.pid)) is not None and child.poll() is not None:
        _children.pop(started.pid, None)
    try:
        process = psutil.Process(started.pid)
        if abs(process.create_time() - started.created) > _CLOCK_TOLERANCE or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def marked(state_dir: Path, component: Component | None = None) -> list[psutil.Process]:
    """Return every running process started for a state folder, or for one component of it, and what those started."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
            zombie = process.status() == psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue
        if env.get(MARK_STATE) == str(state_dir) and not zombie and component in {None, env.get(MARK_COMPONENT)}:
            found.append(process)
    return [process for process in with_children(found) if process.pid != psutil.Process().pid]


def marked_states() -> set[Path]:
    """Return the state folders that have running processes on this machine."""
    states: set[Path] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if folder := process.environ().get(MARK_STATE):
                states.add(Path(folder))
    return states


def with_children(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the processes and all their descendants, each once: some rewrite the memory that holds their mark."""
    result: dict[int, psutil.Process] = {}
    for process in processes:
        result[process.pid] = process
        with contextlib.suppress(psutil.Error):
            result.update({child.pid: child for child in process.children(recursive=True)})
    return list(result.values())


def resident_bytes(process: psutil.Process) -> int:
    """Return the resident memory of a process and its descendants, in bytes; shared pages count once per process."""
    total = 0
    for member in with_children([process]):
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total


def stop(main: psutil.Process | None, state_dir: Path, component: Component, grace: float) -> None:
    """End one component: ask its main process, wait, then end whatever of it is left."""
    everything = marked(state_dir, component)
    if main is not None:
        everything = with_children([main, *everything])
        with contextlib.suppress(psutil.NoSuchProcess):
            main.terminate()
        _wait([main], grace)
    # Asked first, so that a job's driver may still write its last checkpoint.
    rest = _alive([*everything, *marked(state_dir, component)])
    _signal(rest, kill=False)
    _wait(rest, min(grace, 2.0))
    while rest := _alive([*everything, *marked(state_dir, component)]):
        _signal(rest, kill=True)
        _wait(rest, 5.0)
    _collect()


def _signal(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            (process.kill if kill else process.terminate)()


def _alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    alive: dict[int, psutil.Process] = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive[process.pid] = process
    return list(alive.values())


def _wait(processes: list[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _alive(processes) and time.monotonic() < deadline:
        _collect()
        time.sleep(0.05)


def _collect() -> None:
    for pid in [pid for pid, child in list(_children.items()) if child.poll() is not None]:
        _children.pop(pid, None)
