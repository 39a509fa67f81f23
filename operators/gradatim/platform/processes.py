"""Start, recognise and end processes. The only module that touches them.

A process counts as ours by a mark in its environment that names the state folder, by its id together with its start time, as a descendant
of one of these, or as a member of a session that one of these leads: ids are re-used, state files get lost, and some programs overwrite the
memory that holds their mark. Once the leader of a session is gone its number may be another's, so there each member has to show that it is
ours. Nothing is ever ended by name.
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
    """A process, told from every other that has or had its id. `space` names where the id means it: the boot and the pid namespace."""

    pid: int
    created: float
    space: str = ""


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
        return Started(child.pid, psutil.Process(child.pid).create_time(), _space())
    except psutil.NoSuchProcess:
        return Started(child.pid, 0.0, _space())


def _space() -> str:
    """Return what tells this boot and this pid namespace from others; empty where the system does not say."""
    known = []
    with contextlib.suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(known)


def _of_here(started: Started) -> bool:
    """Return whether the id was given in this boot and pid namespace. A record of an earlier release leaves only its time to go by."""
    if started.space:
        return started.space == _space()
    return started.created >= psutil.boot_time() - _CLOCK_TOLERANCE


def keep_data(launch: Launch) -> None:
    """Remember that the component was healthy with its data."""
    if launch.data and not _kept(launch.data).exists():
        write_atomic(_kept(launch.data), b"")


def _kept(data: Path) -> Path:
    return data.with_name(f"{data.name}.kept")


def find(started: Started, state_dir: Path) -> psutil.Process | None:
    """Return the process if it still runs: same id in the same place, same start time, our mark, not a zombie."""
    if not _of_here(started):
        return None
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
    return _family(_marked(state_dir, component), _NO_SESSIONS, state_dir)


def _marked(state_dir: Path, component: str | None) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            mine = env.get(MARK_STATE) == str(state_dir) and component in {None, env.get(MARK_COMPONENT)}
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _family(roots: Iterable[psutil.Process], recorded: _Sessions, state_dir: Path) -> list[psutil.Process]:
    """Return the processes, their descendants, and those in their sessions that are ours; never the caller."""
    result = {process.pid: process for process in with_children(roots)}
    theirs = _sessions_of(result)
    held = recorded.held | (theirs & result.keys())
    orphaned = {sid for sid in (recorded.orphaned | theirs) - held if not psutil.pid_exists(sid)}
    for process in psutil.process_iter():
        if process.pid in result:
            continue
        sid = _session(process.pid)
        if sid in held or (sid in orphaned and _shows_its_platform(process, state_dir)):
            result[process.pid] = process
    result.pop(os.getpid(), None)
    return [process for process in result.values() if _is_alive(process)]


def _shows_its_platform(process: psutil.Process, state_dir: Path) -> bool:
    """Return whether a process of this user carries our mark, or has overwritten it and works in the state folder, where we started it."""
    try:
        if process.uids().real != os.getuid():
            return False
        if env := process.environ():
            return env.get(MARK_STATE) == str(state_dir)
        return Path(process.cwd()).is_relative_to(state_dir)
    except (psutil.Error, OSError):
        return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _sessions_of(pids: Iterable[int]) -> set[int]:
    return {sid for pid in pids if (sid := _session(pid)) is not None}


@dataclass(frozen=True)
class _Sessions:
    """Sessions that a recorded process led.

    Of one that is `held` everything is ours: its leader, or somebody known to be in it, keeps the kernel from giving its number away. The
    number of one that is `orphaned` may have been given to others, and be without a leader again.
    """

    held: frozenset[int] = frozenset()
    orphaned: frozenset[int] = frozenset()

    def while_taken_by(self, known: Iterable[psutil.Process]) -> _Sessions:
        """Return them as they are now, given who of them still runs."""
        taken = _sessions_of(process.pid for process in known)
        return _Sessions(self.held & taken, self.orphaned | (self.held - taken))


_NO_SESSIONS = _Sessions()


def _led_by(started: Started | None, state_dir: Path) -> _Sessions:
    """Return the session of a recorded process. To be asked before `find`, which collects a leader that has ended."""
    if started is None or not _of_here(started):
        return _NO_SESSIONS
    number = frozenset({started.pid})
    try:
        leader = psutil.Process(started.pid)
        same = abs(leader.create_time() - started.created) <= _CLOCK_TOLERANCE
        ended = leader.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return _Sessions(orphaned=number)
    except psutil.Error:
        return _NO_SESSIONS
    return _Sessions(held=number) if same and (ended or find(started, state_dir) is not None) else _NO_SESSIONS


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
    sessions = _led_by(started, state_dir)
    main = find(started, state_dir) if started else None
    everything = _family([*_marked(state_dir, component), *([main] if main else [])], sessions, state_dir)
    refused = _end([main] if main else [], grace, kill=False)
    # Asked first, so that a job's driver may still write its last checkpoint.
    refused |= _end([p for p in everything if p not in refused and _is_alive(p)], min(grace, 2.0), kill=False)
    while True:
        known = [process for process in everything if _is_alive(process)]
        left = _family([*known, *_marked(state_dir, component)], sessions.while_taken_by(known), state_dir)
        if not (rest := [process for process in left if process not in refused]):
            break
        refused |= _end(rest, 5.0, kill=True)
    _collect()


def _end(processes: list[psutil.Process], seconds: float, *, kill: bool) -> set[psutil.Process]:
    """Ask or force processes to end and wait for them; return those that the system does not let us end."""
    refused: set[psutil.Process] = set()
    for process in processes:
        try:
            (process.kill if kill else process.terminate)()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            refused.add(process)
    _wait([process for process in processes if process not in refused], seconds)
    return refused


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _wait(processes: list[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        _collect()
        time.sleep(0.05)


def _collect() -> None:
    for pid in [pid for pid, child in list(_children.items()) if child.poll() is not None]:
        _children.pop(pid, None)
