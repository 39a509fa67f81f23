"""Start, recognise and end processes. The only module that touches them.

A process counts as ours by a mark in its environment that names the state folder, by its id together with its start time, or as a member
of a session that one of these leads: ids are re-used, state files get lost, and some programs overwrite the memory that holds their
mark. Nothing is ever ended by name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from gradatim.platform.files import private_dir, write_atomic

MARK_STATE = "GRADATIM_PLATFORM_STATE"
MARK_COMPONENT = "GRADATIM_PLATFORM_COMPONENT"
_LOG_LIMIT = 32 * 2**20
# psutil derives start times from the boot time, which moves a little when the clock is set.
_CLOCK_TOLERANCE = 1.0

# A parent must collect the children that end while it still runs; kept by id, dropped when collected.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Launch:
    """Everything needed to start one component.

    `scratch` is a folder that is emptied before each start. `data` is one that is kept from the first time the component was healthy:
    a raft log whose very first write was cut off never elects a leader again, and holds nothing. `attempts` is for a program that
    gives up by itself on a busy machine.
    """

    component: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    version: str
    log: Path
    scratch: Path | None = None
    data: Path | None = None
    attempts: int = 1


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
    if launch.data and not _kept(launch.data).exists():
        shutil.rmtree(launch.data, ignore_errors=True)
    env = {**launch.env, MARK_STATE: str(state_dir), MARK_COMPONENT: str(launch.component)}
    with launch.log.open("ab") as log:
        child = subprocess.Popen(
            launch.argv, env=env, cwd=state_dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )  # fmt: skip
    _children[child.pid] = child
    try:
        return Started(child.pid, psutil.Process(child.pid).create_time())
    except psutil.NoSuchProcess:
        return Started(child.pid, 0.0)


def keep_data(launch: Launch) -> None:
    """Remember that the component was healthy with its data."""
    if launch.data and not _kept(launch.data).exists():
        write_atomic(_kept(launch.data), b"")


def _kept(data: Path) -> Path:
    return data.with_name(f"{data.name}.kept")


def find(started: Started, state_dir: Path) -> psutil.Process | None:
    """Return the process if it still runs: same id, same start time, our mark, not a zombie."""
    if (child := _children.get(started.pid)) is not None and child.poll() is not None:
        _children.pop(started.pid, None)
    try:
        process = psutil.Process(started.pid)
        if abs(process.create_time() - started.created) > _CLOCK_TOLERANCE or process.status() == psutil.STATUS_ZOMBIE:
            return None
        # Empty for an instant after the start, while the kernel is still laying out the new program.
        env = process.environ()
        return process if not env or env.get(MARK_STATE) == str(state_dir) else None
    except (psutil.NoSuchProcess, OSError):
        return None
    except psutil.AccessDenied:
        return process


def marked(state_dir: Path, component: str | None = None) -> list[psutil.Process]:
    """Return every running process of a state folder, or of one component of it."""
    return _family(_marked(state_dir, component), set())


def _marked(state_dir: Path, component: str | None) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            mine = env.get(MARK_STATE) == str(state_dir) and component in {None, env.get(MARK_COMPONENT)}
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _family(roots: Iterable[psutil.Process], sessions: set[int]) -> list[psutil.Process]:
    """Return the processes, their descendants, and everything in their sessions; never the caller."""
    result = {process.pid: process for process in with_children(roots)}
    led = sessions | {sid for pid in result if (sid := _session(pid)) is not None}
    for process in psutil.process_iter():
        if process.pid not in result and _session(process.pid) in led:
            result[process.pid] = process
    result.pop(os.getpid(), None)
    return [process for process in result.values() if _is_alive(process)]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _own_session(started: Started | None, state_dir: Path) -> set[int]:
    """Return the session that a recorded process led, also after its end: a kernel re-uses no id that still names a session."""
    if started is None or started.created < psutil.boot_time() - _CLOCK_TOLERANCE:
        return set()
    if find(started, state_dir) is None and psutil.pid_exists(started.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(started.pid).status() != psutil.STATUS_ZOMBIE:
                return set()
    return {started.pid}


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


def stop(started: Started | None, state_dir: Path, component: str, grace: float) -> None:
    """End one component: ask its main process, wait up to `grace` seconds, then end whatever of it is left."""
    session = _own_session(started, state_dir)
    main = find(started, state_dir) if started else None
    everything = _family([*_marked(state_dir, component), *([main] if main else [])], session)
    if main is not None:
        _signal([main], kill=False)
        _wait([main], grace)
    # Asked first, so that a job's driver may still write its last checkpoint.
    rest = [process for process in everything if _is_alive(process)]
    _signal(rest, kill=False)
    _wait(rest, min(grace, 2.0))
    while rest := _family([*filter(_is_alive, everything), *_marked(state_dir, component)], session):
        _signal(rest, kill=True)
        _wait(rest, 5.0)
    _collect()


def _signal(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            (process.kill if kill else process.terminate)()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait(processes: list[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        _collect()
        time.sleep(0.05)


def _collect() -> None:
    for pid in [pid for pid, child in list(_children.items()) if child.poll() is not None]:
        _children.pop(pid, None)
