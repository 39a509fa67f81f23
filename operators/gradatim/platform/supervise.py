"""Bring one component to health: keep it, restart it, or say why it does not come up.

Called by `up` for each component, from several threads. There is no supervisor that stays: what dies stays dead until the next `up`,
and `status` says so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gradatim.platform import processes
from gradatim.platform.errors import StartError
from gradatim.platform.health import Health
from gradatim.platform.ports import is_free
from gradatim.platform.processes import Launch
from gradatim.platform.state import Record

Progress = Callable[[str, str], None]
GRACE_SECONDS = 10.0
_START_SECONDS = 180.0
# A component found alive may still be starting: `up` can have been killed right after it started it.
_SETTLE_SECONDS = 20.0
_PORT_SECONDS = 5.0
_POLL = 0.1


class _EndedError(StartError):
    """The process ended by itself before it was healthy."""


class Records(Protocol):
    """Where started components are written down, from several threads."""

    def recorded(self, component: str) -> Record | None:
        """Return what was last started of a component."""

    def record(self, component: str, record: Record | None) -> None:
        """Write down or forget one component."""


@dataclass(frozen=True)
class Supervisor:
    """What bringing up a component needs: where to record it, how to ask and say so, when to give up.

    `ports` are those on this machine that a component is about to take; none when it has a network of its own.
    """

    file: Records
    state_dir: Path
    probe: Callable[[str], Health]
    progress: Progress
    cancelled: threading.Event
    ports: Callable[[str], Iterable[int]] = lambda _component: ()

    def ensure(self, launch: Launch) -> bool:
        """Make the component run as `launch` says. Return whether it had to be started."""
        component = launch.component
        if self._keep(launch):
            processes.keep_data(launch)
            self.progress(component, "running already")
            return False
        begun = time.monotonic()
        for attempt in range(1, launch.attempts + 1):
            self.clear(component)
            self._check_ports(component)
            self.progress(
                component,
                "starting" if attempt == 1 else f"ended while starting, attempt {attempt} of {launch.attempts}",
            )
            try:
                self._start(launch)
                break
            except _EndedError:
                if attempt == launch.attempts:
                    raise
        processes.keep_data(launch)
        self.progress(component, f"ready after {time.monotonic() - begun:.1f} s")
        return True

    def _start(self, launch: Launch) -> None:
        started = processes.start(launch, self.state_dir)
        record = Record(started.pid, started.created, launch.argv, launch.version, str(launch.log), started.space)
        self.file.record(launch.component, record)
        self._await(launch, started)

    def clear(self, component: str) -> None:
        """End whatever runs of a component and forget it."""
        record = self.file.recorded(component)
        processes.stop(record.started if record else None, self.state_dir, component, GRACE_SECONDS)
        if record:
            self.file.record(component, None)

    def _keep(self, launch: Launch) -> bool:
        record = self.file.recorded(launch.component)
        if record is None or (record.argv, record.version) != (launch.argv, launch.version):
            return False
        deadline = time.monotonic() + _SETTLE_SECONDS
        while processes.find(record.started, self.state_dir) is not None and not self.cancelled.is_set():
            if self.probe(launch.component).ok:
                return True
            if time.monotonic() > deadline:
                self.progress(launch.component, "runs but does not answer: restarting it")
                return False
            time.sleep(_POLL)
        return False

    def _check_ports(self, component: str) -> None:
        # The kernel closes the sockets of a killed process a moment after the process is gone.
        deadline = time.monotonic() + _PORT_SECONDS
        while taken := [str(port) for port in self.ports(component) if not is_free(port)]:
            if time.monotonic() < deadline:
                time.sleep(_POLL)
                continue
            raise StartError(
                f"{component} needs port {', '.join(taken)}, which another program uses now: end that program, "
                "or start over on other ports with `gradatim down --purge`"
            )

    def _await(self, launch: Launch, started: processes.Started) -> None:
        deadline = time.monotonic() + _START_SECONDS
        answer = Health(ok=False)
        while time.monotonic() < deadline:
            if self.cancelled.is_set():
                raise StartError(f"{launch.component} was not waited for: another component failed")
            if processes.find(started, self.state_dir) is None:
                raise _EndedError(
                    f"{launch.component} ended while starting; the end of {launch.log}: {_last_lines(launch)}"
                )
            answer = self.probe(launch.component)
            if answer.ok:
                return
            time.sleep(_POLL)
        raise StartError(
            f"{launch.component} is not healthy after {_START_SECONDS:.0f} s ({answer.detail}); on a busy machine try again, "
            f"what runs goes on running; the end of {launch.log}: {_last_lines(launch)}"
        )


def _last_lines(launch: Launch, count: int = 5) -> str:
    with launch.log.open(encoding="utf-8", errors="replace") as log:
        return " | ".join(line.strip()[:500] for line in deque(log, maxlen=count)) or "empty"
