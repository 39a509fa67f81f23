"""Runs a worker's methods over many inputs, here or in Ray actors, always giving results in the order of the inputs.

`open_executor` chooses: one worker runs in this process and starts nothing; more run as Ray actors of the cluster that the job runs in.
The only module of the workloads that imports Ray, and only for more than one worker.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import Any, Protocol

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError, shorten

_IN_FLIGHT_PER_ACTOR = 2


class Executor(Protocol):
    """Calls a method of the worker for every input."""

    def map(self, method: str, inputs: Iterable[Any]) -> Iterator[Any]:
        """Yield the results in order. At most a few inputs are taken ahead of the results."""
        ...


class LocalExecutor:
    """One worker in this process."""

    def __init__(self, worker: object) -> None:
        self._worker = worker

    def map(self, method: str, inputs: Iterable[Any]) -> Iterator[Any]:
        """Call the worker once per input, when its result is asked for."""
        call = getattr(self._worker, method)
        for item in inputs:
            yield call(item)


class RayExecutor:
    """A fixed number of actors, each with a worker of its own. A lost actor fails the attempt: checkpoints make the next one short."""

    def __init__(self, make: Callable[[], object], workers: int) -> None:
        import ray

        class Actor:
            """Holds one worker in its own process."""

            def __init__(self) -> None:
                self._worker = make()

            def call(self, method: str, item: Any) -> Any:
                return getattr(self._worker, method)(item)

        self._ray = ray
        remote: Any = ray.remote(num_cpus=1)(Actor)
        self._actors: list[Any] = [remote.remote() for _ in range(workers)]

    def map(self, method: str, inputs: Iterable[Any]) -> Iterator[Any]:
        """Hand inputs round the actors, a bounded number ahead."""
        pending: deque[Any] = deque()
        actors = cycle(self._actors)
        for item in inputs:
            pending.append(next(actors).call.remote(method, item))
            if len(pending) >= _IN_FLIGHT_PER_ACTOR * len(self._actors):
                yield self._ray.get(pending.popleft())
        while pending:
            yield self._ray.get(pending.popleft())

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor)


@contextlib.contextmanager
def open_executor(make: Callable[[], object], workers: int) -> Iterator[Executor]:
    """Open the executor for this number of workers; `make` builds a worker and must be picklable.

    Raises WorkloadError Dependency/RuntimeUnreachable for more than one where no Ray cluster answers.
    """
    if workers == 1:
        yield LocalExecutor(make())
        return
    import ray

    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
        except ConnectionError as error:
            text = f"compute.workers is {workers}, and no Ray cluster answers here ({error}); set it to 1 to use one process"
            raise WorkloadError(Failure.DEPENDENCY, Reason.RUNTIME_UNREACHABLE, shorten(text)) from error
    executor = RayExecutor(make, workers)
    try:
        yield executor
    finally:
        executor.close()
        if mine:
            ray.shutdown()
