"""Workers as Ray actors: as many as the cluster has room for, replaced when they are lost.

Opened by `executor.open_executor` for more than one worker; the only module of the workloads that imports Ray. A lost actor, or node, costs the
pieces that were with it; a piece that takes worker after worker with it ends the attempt. No secret goes to an actor: what needs one is done by
the driver.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.dispatch import Board, Piece, Seat
from gradatim.workloads.errors import WorkloadError, shorten
from gradatim.workloads.executor import Make, Place, Watch
from gradatim.workloads.processors import share, usable

log = logging.getLogger("gradatim.workloads")

MOST_LOSSES = 3  # of one piece, and of workers in turn that are lost before they work
WAIT_SECONDS = 1.0
READ_BYTES = 8 << 20
READS_AHEAD = 3
_remote: Any = ray.remote  # its types do not know methods of actors, nor a node as a place
_LOST = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)


@contextlib.contextmanager
def connected(make: Make, workers: int, watch: Watch) -> Iterator[RayExecutor]:
    """Open an executor on the cluster of this job. Raises WorkloadError Dependency/RuntimeUnreachable where none answers."""
    mine = not ray.is_initialized()
    if mine:
        try:
            _join()
        except ConnectionError as error:
            text = f"compute.workers is {workers}, and no Ray cluster answers here ({error}); set it to 1 to use one process"
            raise WorkloadError(Failure.DEPENDENCY, Reason.RUNTIME_UNREACHABLE, shorten(text)) from error
    executor = RayExecutor(make, workers, watch)
    try:
        yield executor
    finally:
        executor.close()
        if mine:
            ray.shutdown()


def _join() -> None:
    """Join the cluster, keeping the handler of SIGTERM: Ray's own would end the attempt without a result."""
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@dataclass(frozen=True, slots=True)
class FilesOfNode:
    """The files of one node, read from any other through Ray: no store, no hub and no secret is needed there."""

    node: str

    def read(self, file: Path) -> Iterator[bytes]:
        """Yield a file's content in pieces, a few of which are on their way at a time."""
        place = NodeAffinitySchedulingStrategy(self.node, soft=False)
        read = _remote(num_cpus=0, scheduling_strategy=place)(_read_piece)
        start, ahead = 0, list[Any]()
        while True:
            while len(ahead) < READS_AHEAD:
                ahead.append(read.remote(str(file), start))
                start += READ_BYTES
            piece: bytes = ray.get(ahead.pop(0))
            if not piece:
                return
            yield piece


def _read_piece(file: str, start: int) -> bytes:
    with Path(file).open("rb") as stream:
        stream.seek(start)
        return stream.read(READ_BYTES)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where an actor has started."""

    node: str
    pid: int


class GradatimWorker:
    """Holds one worker in a process of its own. Shown under this name by Ray."""

    def __init__(self) -> None:
        self._worker: object = None

    def start(self, make: Make, driver: str) -> Arrival:
        """Build the worker; `driver` is the node of the workload's own process."""
        node = ray.get_runtime_context().get_node_id()
        nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
        places = next((n["Resources"].get("CPU", 1.0) for n in nodes() if n["NodeID"] == node), 1.0)
        elsewhere = node != driver
        self._worker = make(
            Place(
                threads=share(usable(), places),
                driver=FilesOfNode(driver) if elsewhere else None,
                node=node if elsewhere else None,
            )
        )
        return Arrival(node, os.getpid())

    def call(self, method: str, item: Any) -> Any:
        """Call a method of the worker."""
        return getattr(self._worker, method)(item)


class RayExecutor:
    """Actors, each with a worker of its own."""

    def __init__(self, make: Make, workers: int, watch: Watch) -> None:
        self._make = ray.put(make)  # once for all: it may hold evaluation sets
        self._watch = watch
        self._driver = ray.get_runtime_context().get_node_id()
        self._seats = [Seat(number) for number in range(workers)]
        self._actors: dict[Seat, Any] = {}
        self._starting: dict[Any, Seat] = {}
        self._running: dict[Any, tuple[Seat, Piece]] = {}
        self._in_vain = 0
        self._said = ""
        for seat in self._seats:
            self._hire(seat)

    def map(self, method: str, inputs: Iterable[Any]) -> Iterator[Any]:
        """Hand inputs to the actors, a bounded number ahead. Raises what a worker raised, as itself."""
        board = Board(self._seats)
        source, more = iter(inputs), True
        try:
            while True:
                while more and board.room:
                    try:
                        board.take(next(source))
                    except StopIteration:
                        more = False
                if board.empty:
                    return
                for seat, piece in board.hand_out():
                    call = self._actors[seat].call.options(name=f"{GradatimWorker.__name__}.{method}")
                    self._running[call.remote(method, piece.item)] = seat, piece
                self._wait(board)
                yield from board.results()
        finally:
            board.abandon()
            self._running.clear()

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors.values():
            with contextlib.suppress(RayError):
                ray.kill(actor)

    def _hire(self, seat: Seat) -> None:
        actor = _remote(num_cpus=1)(GradatimWorker).remote()
        self._actors[seat] = actor
        self._starting[actor.start.remote(self._make, self._driver)] = seat

    def _wait(self, board: Board) -> None:
        """Wait for whatever comes first, and for a moment at most: an order to stop is obeyed meanwhile."""
        self._say()
        done, _ = ray.wait([*self._running, *self._starting], num_returns=1, timeout=WAIT_SECONDS)
        self._watch.check_stop()
        for ref in done:
            if ref in self._starting:
                self._arrived(board, ref)
            else:
                self._settle(board, ref)

    def _arrived(self, board: Board, ref: Any) -> None:
        seat = self._starting.pop(ref)
        try:
            arrival: Arrival = ray.get(ref)
        except _LOST as error:
            self._in_vain += 1
            self._replace(board, seat, error, hopeless=self._in_vain >= MOST_LOSSES * len(self._seats))
        except RayTaskError as error:
            raise _cause(error) from error
        else:
            seat.ready = True
            log.info("worker %d started on node %s as process %d", seat.number, arrival.node, arrival.pid)

    def _settle(self, board: Board, ref: Any) -> None:
        seat, piece = self._running.pop(ref)
        try:
            result = ray.get(ref)
        except _LOST as error:
            blamed = board.lose(seat)
            hopeless = blamed is not None and blamed.losses >= MOST_LOSSES
            self._replace(board, seat, error, hopeless=hopeless, item=blamed.item if blamed else None)
        except RayTaskError as error:
            raise _cause(error) from error
        else:
            self._in_vain = 0
            board.finish(seat, piece, result)

    def _replace(self, board: Board, seat: Seat, error: Exception, *, hopeless: bool, item: Any = None) -> None:
        """Give a lost worker's seat to a new one, unless that has been in vain too often."""
        why = shorten(str(error), 400)
        log.warning("worker %d is lost, %s: %s", seat.number, type(error).__name__, why)
        if hopeless:
            raise _given_up(error, item)
        board.lose(seat)
        self._running = {ref: (at, piece) for ref, (at, piece) in self._running.items() if at is not seat}
        with contextlib.suppress(RayError):
            ray.kill(self._actors[seat])
        self._hire(seat)

    def _say(self) -> None:
        """Show how many workers there are while some are missing, and once they are all there."""
        ready, wanted = sum(seat.ready for seat in self._seats), len(self._seats)
        missing = "; the others wait for a free CPU of the Ray cluster" if ready < wanted else ""
        text = f"{ready} of {wanted} workers at work{missing}"
        if text != self._said and (self._said or missing):
            self._watch.note(text)
            self._said = text


def _given_up(error: Exception, item: Any) -> WorkloadError:
    where = getattr(item, "location", None)
    what = (
        f"while working on {where}"
        if where
        else "over the same piece of work"
        if item is not None
        else "as they started"
    )
    if isinstance(error, OutOfMemoryError) or "low on memory" in str(error):
        text = f"{MOST_LOSSES} workers in turn ran out of memory {what}; give the workers more memory"
        return WorkloadError(Failure.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, text)
    text = f"{MOST_LOSSES} workers in turn were lost {what}: {type(error).__name__}: {error}"
    return WorkloadError(Failure.NODE_LOST, Reason.NODE_LOST, shorten(text))


def _cause(error: RayTaskError) -> BaseException:
    """Ray adds the remote trace to what a worker raised; a person wants the message."""
    log.error("a worker failed: %s", error)
    cause: object = error.cause
    return cause if isinstance(cause, BaseException) else error
