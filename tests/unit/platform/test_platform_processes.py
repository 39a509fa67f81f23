"""Which processes are ended: those that can be proved to be ours, also without their leader, and nobody else's."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gradatim.platform import processes
from gradatim.platform.processes import MARK_COMPONENT, MARK_STATE, Launch, Started

GONE = "exit"
STAYS = "exec sleep 60"


class Sessions:
    """Sessions of small processes, all of which end with the test."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._pids: list[int] = []
        self._leaders: list[subprocess.Popen[bytes]] = []

    def script(self, env: str, folder: str, then: str) -> str:
        """Return what a leader runs: a member that is not its child, with `env` for all its environment, and `then`."""
        given = f"env -i {env.format(state=self.state)}"
        return f"( cd {folder.format(state=self.state)}; {given} sleep 60 & echo $! > {self.state}/member ); {then}"

    def ours(self, env: str, folder: str, then: str) -> tuple[Started, psutil.Process]:
        """Start a component and return it with the member of its session."""
        argv = ("/bin/sh", "-c", self.script(env, folder, then))
        path = {"PATH": os.environ["PATH"]}
        started = processes.start(Launch("c", argv, path, "v", self.state / "logs" / "c.log"), self.state)
        self._pids.append(started.pid)
        if then == GONE:
            until(lambda: psutil.Process(started.pid).status() == psutil.STATUS_ZOMBIE)
        return started, self._member()

    def foreign(self, env: str, folder: str) -> tuple[psutil.Process, psutil.Process]:
        """Start a session of somebody else's and return its leader and the member."""
        argv = ["/bin/sh", "-c", self.script(env, folder, STAYS)]
        leader = subprocess.Popen(argv, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._leaders.append(leader)
        return psutil.Process(leader.pid), self._member()

    def _member(self) -> psutil.Process:
        file = self.state / "member"
        until(lambda: file.is_file() and file.read_text().endswith("\n"))
        member = psutil.Process(int(file.read_text()))
        self._pids.append(member.pid)
        until(lambda: member.name() == "sleep")
        return member

    def end(self) -> None:
        for leader in self._leaders:
            leader.kill()
            leader.wait()
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 1.5
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    found = Sessions(tmp_path / "state")
    found.state.mkdir()
    yield found
    found.end()


LEADERLESS: dict[str, tuple[str, str, bool]] = {
    "one with our mark": (f"{MARK_STATE}={{state}}", "/", True),
    "one that overwrote its environment and works in our folder": ("", "{state}", True),
    "one that overwrote its environment and works elsewhere": ("", "/", False),
    "one with the mark of another platform": (f"{MARK_STATE}=/other", "{state}", False),
    "one with an environment that says nothing of us": ("LANG=C", "{state}", False),
}


@pytest.mark.parametrize(("env", "folder", "ended"), LEADERLESS.values(), ids=LEADERLESS.keys())
def test_of_a_session_without_its_leader_only_what_shows_that_it_is_ours_is_ended(
    sessions: Sessions, env: str, folder: str, *, ended: bool
) -> None:
    started, member = sessions.ours(env, folder, GONE)
    assert processes.find(started, sessions.state) is None, "collected, so that its number is free"
    processes.stop(started, sessions.state, "c", 0.0)
    assert runs(member) is not ended


LED: dict[str, str] = {
    "a leader that runs": STAYS,
    "a leader that ended and still has its number": GONE,
}


@pytest.mark.parametrize("then", LED.values(), ids=LED.keys())
def test_all_of_a_session_is_ended_while_its_leader_has_its_number(sessions: Sessions, then: str) -> None:
    started, member = sessions.ours("LANG=C", "/", then)
    processes.stop(started, sessions.state, "c", 0.0)
    assert not runs(member)


def test_without_a_record_the_session_of_a_marked_leader_is_ended_whole(sessions: Sessions) -> None:
    _, member = sessions.ours("LANG=C", "/", STAYS)
    processes.stop(None, sessions.state, "c", 0.0)
    assert not runs(member)


ELSEWHERE: dict[str, dict[str, object]] = {
    "another boot or pid namespace": {"space": "elsewhere"},
    "an earlier release, before this boot": {"space": "", "created": 1.0},
}


@pytest.mark.parametrize("record", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_number_that_was_given_elsewhere_says_nothing_here(sessions: Sessions, record: dict[str, object]) -> None:
    started, member = sessions.ours("", "{state}", GONE)
    there = dataclasses.replace(started, **record)  # type: ignore[arg-type]
    processes.stop(there, sessions.state, "c", 0.0)
    assert runs(member)
    assert processes.find(there, sessions.state) is None


REUSED: dict[str, float] = {"by a process that began later": 100.0, "by one that began at the same time": 0.0}


@pytest.mark.parametrize("later", REUSED.values(), ids=REUSED.keys())
def test_a_number_that_somebody_else_has_now_ends_nobody(sessions: Sessions, later: float) -> None:
    leader, member = sessions.foreign("", "{state}")
    processes.stop(Started(leader.pid, leader.create_time() - later, processes._space()), sessions.state, "c", 0.0)
    assert (runs(leader), runs(member)) == (True, True)


def test_a_marked_process_in_a_session_of_somebody_else_is_ended_alone(sessions: Sessions) -> None:
    leader, member = sessions.foreign(f"{MARK_STATE}={{state}} {MARK_COMPONENT}=c", "/")
    processes.stop(None, sessions.state, "c", 0.0)
    assert (runs(leader), runs(member)) == (True, False)


def test_a_process_of_another_user_is_not_ours_whatever_it_shows(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, member = sessions.ours(f"{MARK_STATE}={{state}}", "/", GONE)
    processes.find(started, sessions.state)
    monkeypatch.setattr(os, "getuid", lambda: member.uids().real + 1)
    processes.stop(started, sessions.state, "c", 0.0)
    assert runs(member)


def test_what_the_system_does_not_let_us_end_does_not_keep_the_rest_from_ending(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, member = sessions.ours("LANG=C", "/", STAYS)
    plain = psutil.Process.send_signal

    def refused(process: psutil.Process, number: int) -> None:
        if process.pid == started.pid:
            raise psutil.AccessDenied(process.pid)
        plain(process, number)

    monkeypatch.setattr(psutil.Process, "terminate", lambda process: refused(process, signal.SIGTERM))
    monkeypatch.setattr(psutil.Process, "kill", lambda process: refused(process, signal.SIGKILL))
    processes.stop(started, sessions.state, "c", 0.0)
    assert (runs(psutil.Process(started.pid)), runs(member)) == (True, False)


def test_a_process_is_found_by_its_number_time_and_mark(sessions: Sessions) -> None:
    started, _ = sessions.ours("LANG=C", "/", STAYS)
    assert started.space == processes._space()
    assert processes.find(started, sessions.state) is not None
    assert processes.find(dataclasses.replace(started, space=""), sessions.state) is not None, "an earlier release's"
    assert processes.find(dataclasses.replace(started, created=started.created - 5), sessions.state) is None
    assert processes.find(started, sessions.state / "other") is None
