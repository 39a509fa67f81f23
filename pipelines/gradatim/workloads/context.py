"""What a workload gets: its config, the store, secrets, progress and the order to stop.

`__main__` opens one `RunContext` per attempt; workloads call `stage`, `advance` and `check_stop` and build their result with `result`. A
thread keeps `progress.json` fresh, because the operator takes a silent attempt for a dead one. It never decides what a Run's outcome is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa

from gradatim.api.reasons import Reason
from gradatim.api.run import ProgressDocument, RunConfig, RunResult, Stamp, StopRequest, control_path
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import NotFound, SecretError, StopRequested, StoreError, WorkloadError, shorten
from gradatim.workloads.progress import STAGES, WORDS, Tracker
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore
from gradatim.workloads.takeover import next_process, taken_over

log = logging.getLogger("gradatim.workloads")

HEARTBEAT_SECONDS = 5.0
PROGRESS_GAP_SECONDS = 1.0
STOP_POLL_SECONDS = 5.0
TAKEOVER_POLL_SECONDS = 5.0
STOP_DOCUMENT_BYTES = 65_536
STORE_FAULTS = (OSError, pa.ArrowException, StoreError)
ResultOutcome = Literal["Succeeded", "Unchanged", "Stopped", "Failed"]


def timestamp() -> str:
    """Return the wall clock as RFC 3339 in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class RunContext:
    """One attempt at a Run. Use as a context manager: the heartbeat runs inside the block."""

    def __init__(self, config: RunConfig, store: ArtifactStore, secrets: SecretFolder | None = None) -> None:
        self.config = config
        self.store = store
        self.secrets = secrets or SecretFolder(Path(config.secrets_path) if config.secrets_path else None)
        self.stamp = Stamp.of(config)
        self.deadline = time.monotonic() + config.deadline_seconds
        self.stop_reason = ""
        self.superseded = ""
        self._process: int | None = None
        self._looked = time.monotonic()
        self.on_overrun: Callable[[], None] | None = None
        self._tracker = Tracker(STAGES.get(config.workload, {}), words=WORDS.get(config.workload, {}))
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._heart: threading.Thread | None = None
        self._polled = -STOP_POLL_SECONDS

    def __enter__(self) -> Self:
        self.look_for_takeover()
        self._write_progress()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the heartbeat after a last progress document; safe to call twice."""
        if self._heart is None:
            return
        self._closing.set()
        self._wake.set()
        self._heart.join(timeout=30)
        self._heart = None
        with self._lock:
            self._tracker.end(time.monotonic())
        self.look_for_takeover()  # the last document must not hide that of another process
        self._write_progress()

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by finished stage."""
        with self._lock:
            return dict(self._tracker.timings)

    def stage(self, name: str, total: int = 0, unit: str = "") -> None:
        """Begin a stage of `total` steps (0: unknown), ending the former one; honours a stop request first.

        With a `unit` of steps, such as rows, their rate is part of the progress.
        """
        self.check_stop()
        with self._lock:
            self._tracker.begin(name, total, time.monotonic(), unit)
        self._wake.set()
        log.info("stage %s, %d steps", name, total)

    def advance(self, n: int = 1, message: str = "") -> None:
        """Count `n` finished steps of the stage."""
        with self._lock:
            self._tracker.advance(n, message)

    def note(self, message: str) -> None:
        """Show a message with the progress, at once."""
        self.advance(0, shorten(message))
        self._wake.set()

    def check_stop(self) -> None:
        """Raise StopRequested when this Run shall stop, WorkloadError when its deadline has passed. Cheap: reads at most every 5 s."""
        if self.stop_reason:
            raise StopRequested(self.stop_reason)
        now = time.monotonic()
        if now >= self.deadline:
            raise self.overrun()
        if now - self._polled < STOP_POLL_SECONDS:
            return
        self._look_for_stop()
        if self.stop_reason:
            raise StopRequested(self.stop_reason)

    def _look_for_stop(self) -> bool:
        """Take note of a stop request; returns whether the store has answered."""
        self._polled = time.monotonic()
        try:
            text = self.store.read(control_path(self.config.run), STOP_DOCUMENT_BYTES)
            request = StopRequest.model_validate_json(text)
        except NotFound:
            return True
        except (*STORE_FAULTS, ValueError) as error:
            log.warning("cannot read the stop request: %s", type(error).__name__)
            return False
        if request.run == self.config.run:
            self.request_stop(request.reason or "stopped by the operator")
        return True

    def look_for_takeover(self) -> bool:
        """Return whether another process has taken over the Run's folder. From then on this one writes neither progress nor a result.

        Work that does not stop by itself is ended like that of a passed deadline. A store that does not answer says nothing.
        """
        self._look()
        return bool(self.superseded)

    def is_latest(self) -> bool:
        """Return whether the store says that nobody has taken over: only then may this process delete what a later one would use.

        A later Run of the object comes after a request to stop this one.
        """
        return self._look() and self._look_for_stop() and not self.stop_reason

    def _look(self) -> bool:
        """Look for a takeover; returns whether the store has answered."""
        self._looked = time.monotonic()
        if self.superseded:
            return True
        try:
            self.superseded = taken_over(self.store, self.config, self._number())
        except STORE_FAULTS as error:
            log.warning("cannot look for a later attempt: %s", type(error).__name__)
            return False
        if self.superseded:
            log.error("%s; this process ends", self.superseded)
            self.request_stop(self.superseded)
            self.deadline = min(self.deadline, time.monotonic())
        return True

    def request_stop(self, reason: str) -> None:
        """Make the next `check_stop` raise; called by signal handlers."""
        self.stop_reason = shorten(reason)

    def overrun(self) -> WorkloadError:
        """Return the error of a passed deadline."""
        text = f"the Run took longer than {self.config.deadline_seconds} s in stage {self._tracker.stage}; raise activeDeadlineSeconds"
        return WorkloadError(Failure.DEADLINE, Reason.DEADLINE_EXCEEDED, text)

    def secret(self, name: str, key: str, host: str | None = None) -> str:
        """Return a secret's value. With `host` the Secret is the user's and must allow that host; without, it is the platform's.

        Raises WorkloadError User/SecretRefused.
        """
        try:
            return self.secrets.read(name, key) if host is None else self.secrets.read_for_host(name, key, host)
        except SecretError as error:
            raise WorkloadError(Failure.USER, Reason.SECRET_REFUSED, str(error)) from error

    def has_secret_key(self, name: str, key: str) -> bool:
        """Tell whether a mounted Secret carries a key; says nothing about where it may be sent."""
        try:
            return self.secrets.has(name, key)
        except SecretError as error:
            raise WorkloadError(Failure.USER, Reason.SECRET_REFUSED, str(error)) from error

    def result(self, outcome: ResultOutcome, *, message: str = "", **members: Any) -> RunResult:
        """Build this attempt's result; `members` are the other fields of RunResult."""
        now = time.monotonic()
        with self._lock:
            if outcome in {"Succeeded", "Unchanged"}:
                self._tracker.finish(now)
            else:
                self._tracker.end(now)
            timings = dict(self._tracker.timings)
        return RunResult(
            stamp=self.stamp,
            outcome=outcome,
            message=shorten(message),
            finished=timestamp(),
            timings=timings,
            **members,
        )

    def failed(self, failure: Failure, reason: Reason, message: str, **members: Any) -> RunResult:
        """Build the result of a failure."""
        return self.result("Failed", message=message, failure=failure, reason=reason.value, **members)

    def finished_elsewhere(self) -> RunResult | None:
        """Return this Run's good result, written by any attempt with the same config, stamped for this one; None if there is none.

        A head that was created again must not do the work twice. The result counts only while what it names is still there.
        """
        for path in self.store.list(self.config.run_path):
            parts = path.removeprefix(self.config.run_path + "/").split("/")
            if len(parts) != 2 or parts[1] != "result.json":
                continue
            try:
                found = RunResult.model_validate_json(self.store.read(path, 1_048_576))
            except (StoreError, ValueError) as error:
                log.warning("ignoring %s: %s", path, type(error).__name__)
                continue
            if found.outcome in {"Succeeded", "Unchanged"} and self._same_run(found.stamp) and self._still_there(found):
                with self._lock:
                    self._tracker.finish(time.monotonic())
                return found.model_copy(update={"stamp": self.stamp, "finished": timestamp()})
        return None

    def ended_before(self) -> bool:
        """Tell whether this very attempt has its result in the store; a good one counts while what it names is there.

        A cluster that submits a finished job again must not make work of it. A store that does not answer decides nothing here. One that was
        stopped goes on: a queue took it off its nodes and has let it go again; its old result would hide its progress.
        """
        path = f"{self.config.attempt_path}/result.json"
        try:
            found = RunResult.model_validate_json(self.store.read(path, 1_048_576))
            if found.stamp == self.stamp and found.outcome == "Stopped":
                self.store.delete(path)
                return False
            return found.stamp == self.stamp and self._still_there(found)
        except NotFound:
            return False
        except (*STORE_FAULTS, ValueError) as error:
            log.warning("cannot read an earlier result: %s", type(error).__name__)
            return False

    def _same_run(self, stamp: Stamp) -> bool:
        return stamp.model_copy(update={"attempt": self.stamp.attempt}) == self.stamp

    def _still_there(self, found: RunResult) -> bool:
        outputs: Sequence[Any] = [output for output in (found.dataset, found.index) if output is not None]
        return all(self.store.list(self.store.path_of(output.uri)) for output in outputs)

    def _number(self) -> int:
        """Return which process of the attempt this is, asking the store until it has answered once. Raises STORE_FAULTS.

        A guess would be too low after an earlier process, whose document would then look like a takeover.
        """
        if self._process is None:
            self._process = next_process(self.store, self.config)
        return self._process

    def _beat(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(HEARTBEAT_SECONDS)
            self._wake.clear()
            if self._closing.is_set():
                return
            if time.monotonic() - self._looked >= TAKEOVER_POLL_SECONDS:
                self.look_for_takeover()
            self._write_progress()
            if time.monotonic() >= self.deadline and self.on_overrun is not None:
                self.on_overrun()
            self._closing.wait(PROGRESS_GAP_SECONDS)

    def _write_progress(self) -> None:
        if self.superseded:
            return  # it is the other process's now
        with self._lock:
            progress = self._tracker.progress(time.monotonic(), timestamp())
        try:
            document = ProgressDocument(
                stamp=self.stamp, heartbeat=timestamp(), progress=progress, process=self._number()
            )
            self.store.write(
                f"{self.config.attempt_path}/progress.json",
                document.model_dump_json(by_alias=True, exclude_none=True).encode(),
            )
        except STORE_FAULTS as error:
            # A store that is away for a moment must not end a long run; the operator reports a lost heartbeat by itself.
            log.warning("cannot write progress: %s: %s", type(error).__name__, shorten(str(error)))
