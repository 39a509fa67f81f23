"""Runs a worker's methods over many inputs, here or in Ray actors, always giving results in the order of the inputs.

`open_executor` chooses: one worker runs in this process and starts nothing; more run as Ray actors of the cluster that the job runs in. Called by
the workloads. A method must give the same result whoever calls it, how often ever: the work of a lost actor is done again by another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Executor(Protocol):
    """Calls a method of the worker for every input."""

    def map(self, method: str, inputs: Iterable[Any]) -> Iterator[Any]:
        """Yield the results in order. At most a few inputs are taken ahead of the results."""
        ...


class Watch(Protocol):
    """Who watches over a wait: the `RunContext`."""

    def check_stop(self) -> None:
        """Raise when the Run shall end."""
        ...

    def note(self, message: str) -> None:
        """Show a message with the progress."""
        ...


class DriverFiles(Protocol):
    """The files of the machine on which the workload's own process runs, read from another."""

    def read(self, file: Path) -> Iterator[bytes]:
        """Yield a file's content in pieces."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker lives. `threads` of the processors are its own (None: as the process likes).

    `driver` reads the files of the workload's own process, `node` names the machine; both are None where a worker lives on the same one.
    """

    threads: int | None = None
    driver: DriverFiles | None = None
    node: str | None = None


Make = Callable[[Place], object]


class LocalExecutor:
    """One worker in this process."""

    def __init__(self, worker: object) -> None:
        self._worker = worker

    def map(self, method: str, inputs: Iterable[Any]) -> Iterator[Any]:
        """Call the worker once per input, when its result is asked for."""
        call = getattr(self._worker, method)
        for item in inputs:
            yield call(item)


@contextlib.contextmanager
def open_executor(make: Make, workers: int, watch: Watch) -> Iterator[Executor]:
    """Open the executor for this number of workers; `make` builds a worker for its place and must be picklable.

    Raises WorkloadError Dependency/RuntimeUnreachable for more than one where no Ray cluster answers.
    """
    if workers == 1:
        yield LocalExecutor(make(Place()))
        return
    from gradatim.workloads.actors import connected  # Ray takes a second to import

    with connected(make, workers, watch) as executor:
        yield executor
