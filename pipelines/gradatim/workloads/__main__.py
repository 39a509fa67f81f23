"""`python -m gradatim.workloads <validate|index>`: runs one attempt and ends it with a result, whatever happens.

Started by a pod, a Ray job or `local.run_local`; the config comes from the environment or a file. Exit 0 for Succeeded, Unchanged and
Stopped, 1 for Failed, 2 when no result could be written because there is no usable config or store, `STORE_FULL_STATUS` when the store was
full. An attempt that finds its own result, because a cluster started it again, leaves everything as it is and exits 0. Nothing else may write
`result.json`.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from gradatim.api.reasons import Reason
from gradatim.api.run import CONFIG_ENV, STORE_FULL_STATUS, RunConfig, RunResult, is_sealed, unpacked
from gradatim.api.runstatus import Failure
from gradatim.workloads.context import STORE_FAULTS, RunContext
from gradatim.workloads.errors import (
    SecretError,
    StopRequested,
    StoreError,
    WorkloadError,
    classify,
    disk_full,
    shorten,
    stop_behind,
)
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore

log = logging.getLogger("gradatim.workloads")

WORKLOADS = ("validate", "index")
LOG_COPY_ENV = "GRADATIM_LOG_COPY"
# Request lines carry query strings; Great Expectations tells of each function that it does not document.
CHATTY = ("httpx", "httpcore", "urllib3", "botocore", "great_expectations")
MAX_CONFIG_BYTES = 1_048_576
RESULT_ATTEMPTS = 5
OVERRUN_GRACE_SECONDS = 20.0


class ConfigError(Exception):
    """There is no usable config; the message says what is wrong with it."""


def main(argv: list[str] | None = None) -> int:
    """Run one attempt; returns the exit status."""
    start_logging()
    parser = argparse.ArgumentParser(prog="python -m gradatim.workloads", description="Run one attempt of a workload.")
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--config", type=Path, help=f"file with the run config; default: the variable {CONFIG_ENV}")
    parser.add_argument("--attempt", type=int, help="number of the attempt; default: what the config says")
    parser.add_argument("--digest", help="digest that the config must have, from whoever ordered this attempt")
    options = parser.parse_args(argv)
    try:
        config = ordered(load_config(options.workload, options.config), options.attempt, options.digest)
        secrets = SecretFolder(Path(config.secrets_path) if config.secrets_path else None)
        store = ArtifactStore.open(config.store, secrets)
    except (ConfigError, SecretError, *STORE_FAULTS) as error:
        sys.stderr.write(f"gradatim.workloads: {shorten(str(error))}\n")
        return 2
    ctx = RunContext(config, store, secrets)
    if ctx.ended_before():
        log.info("this attempt has its result already; nothing to do")
        return 0
    writer = ResultWriter(ctx)
    result = attempt(ctx, writer)
    if result is None:
        return writer.status
    return 1 if result.outcome == "Failed" else 0


def start_logging() -> None:
    """Log to standard error, which Ray keeps in a file of its own, and in a pod to the pod's log too."""
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if logging.getLogger().hasHandlers():
        return  # whoever runs this inside another program has set it up
    streams: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    copy = os.environ.get(LOG_COPY_ENV)
    if copy:
        try:
            streams.append(logging.FileHandler(copy, encoding="utf-8"))
        except OSError as error:
            sys.stderr.write(f"gradatim.workloads: no copy of the log in {copy}: {error.strerror}\n")
    logging.basicConfig(level=logging.INFO, handlers=streams, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def load_config(workload: str, file: Path | None) -> RunConfig:
    """Read and check the config of an attempt. Raises ConfigError; the digest is checked later, when a result can be written."""
    try:
        text = file.read_text(encoding="utf-8") if file else unpacked(os.environ[CONFIG_ENV])
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"no run config: set {CONFIG_ENV} or --config ({type(error).__name__}: {error})") from error
    if len(text) > MAX_CONFIG_BYTES:
        raise ConfigError(f"the run config is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        config = RunConfig.model_validate_json(text, strict=True)
    except ValidationError as error:
        # Values stay out of the message: this goes to a log.
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:5]
        )
        raise ConfigError(f"the run config is not valid: {problems}") from error
    if config.workload != workload:
        raise ConfigError(f"the run config is for {config.workload}, not {workload}")
    return config


def ordered(config: RunConfig, number: int | None, digest: str | None) -> RunConfig:
    """Return the config for the attempt that was ordered: the frozen file is the same for all of a Run. Raises ConfigError for other inputs."""
    if digest is not None and digest != config.digest:
        raise ConfigError(
            "the run config is not the one that this attempt was ordered with; delete the Run's ConfigMap"
        )
    return config if number is None else config.model_copy(update={"attempt": number})


def attempt(ctx: RunContext, writer: ResultWriter | None = None) -> RunResult | None:
    """Run the attempt and write its result; None when the result could not be written."""
    writer = writer or ResultWriter(ctx)
    ctx.on_overrun = writer.abort_if_stuck
    with _signals(ctx) as ignore_signals:
        try:
            result = _guarded(ctx)
        except BaseException as error:  # the signal came while another end was being handled
            if (order := stop_behind(error)) is None:
                raise
            result = ctx.result("Stopped", message=f"stopped: {order}")
        ignore_signals()  # a late one must not tear the result
        return result if writer.write(result) else None


def _guarded(ctx: RunContext) -> RunResult:
    """Turn any end of the workload into a result."""
    try:
        with ctx:
            return _run(ctx)
    except BaseException as error:  # the last line of defence: every end needs a result
        if (order := stop_behind(error)) is not None:
            return ctx.result("Stopped", message=f"stopped: {order}")
        found = classify(error)
        if found.explained:
            log.error("%s: %s", found.reason.value, found.message)
            log.debug("raised here", exc_info=True)
        else:
            log.exception("the attempt failed")
        extra = {}
        if isinstance(error, WorkloadError):
            extra = {"validation": error.validation, "rejections": error.rejections}
        return ctx.failed(found.failure, found.reason, found.message, **extra)


def _run(ctx: RunContext) -> RunResult:
    config = ctx.config
    if not is_sealed(config):
        text = "the run config does not match its digest: it was changed on the way; delete the Run's ConfigMap"
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, text)
    ctx.check_stop()
    done = ctx.finished_elsewhere()
    if done is not None:
        log.info("an earlier attempt finished this run; nothing to do")
        return done
    document = config.model_dump_json(by_alias=True, exclude_none=True)
    ctx.store.write(f"{config.run_path}/config.json", document.encode())
    workload = import_module(f"gradatim.workloads.{config.workload}")
    run: Callable[[RunContext], RunResult] = workload.run
    return run(ctx)


class ResultWriter:
    """Writes `result.json` once, by whoever comes first: the end of the attempt, or the watchdog of its deadline.

    `status` is how a process without a result ends.
    """

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self._once = threading.Lock()
        self.status = 1

    def write(self, result: RunResult) -> bool:
        """Write the result, trying again while the store fails; False if it never took it."""
        if not self._once.acquire(blocking=False) or self._ctx.look_for_takeover():
            return False
        path = f"{self._ctx.config.attempt_path}/result.json"
        data = result.model_dump_json(by_alias=True, exclude_none=True).encode()
        for number in range(RESULT_ATTEMPTS):
            try:
                self._ctx.store.write(path, data)
            except STORE_FAULTS as error:
                log.error("cannot write the result: %s", shorten(str(error)))
                if isinstance(error, StoreError) or number == RESULT_ATTEMPTS - 1:
                    self._give_up(error)
                    return False
                time.sleep(2**number)
            else:
                log.info("%s %s", result.outcome, result.message)
                return True
        return False

    def _give_up(self, error: Exception) -> None:
        if disk_full(error):
            self.status = STORE_FULL_STATUS
            log.error("the disk of the artifact store %s is full: free space there", self._ctx.store.root)

    def abort_if_stuck(self) -> None:
        """End the process when work that never checks its deadline has passed it by the grace period."""
        if time.monotonic() < self._ctx.deadline + OVERRUN_GRACE_SECONDS:
            return
        error = self._ctx.overrun()
        self.write(self._ctx.failed(error.failure, error.reason, error.message))
        os._exit(self.status)


@contextmanager
def _signals(ctx: RunContext) -> Iterator[Callable[[], None]]:
    """Make SIGTERM and SIGINT stop the attempt inside the block; yields what makes them ignored. Works in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        already = bool(ctx.stop_reason)
        ctx.request_stop(f"signal {signal.Signals(number).name}")
        if not already:
            # Ray grants three seconds: waiting for the next check could take longer.
            raise StopRequested(ctx.stop_reason)

    numbers = (signal.SIGTERM, signal.SIGINT)
    former = {number: signal.signal(number, stop) for number in numbers}

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    try:
        yield ignore
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
