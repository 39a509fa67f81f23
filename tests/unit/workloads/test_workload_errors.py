"""Which failure class an exception belongs to: only what time may cure is tried again."""

from __future__ import annotations

import errno
import logging
import pickle
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure, ValidationSummary
from gradatim.workloads.__main__ import attempt, start_logging
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import SecretError, StopRequested, WorkloadError, classify, shorten, stop_behind


class RayTaskError(Exception):
    """Stands where Ray's wrapper stands: by module name and its member `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("task failed")
        self.cause = cause


RayTaskError.__module__ = "ray.exceptions"


@pytest.mark.parametrize(
    ("error", "failure", "reason"),
    [
        (WorkloadError(Failure.DATA, Reason.SOURCE_EMPTY, "nothing"), Failure.DATA, Reason.SOURCE_EMPTY),
        (MemoryError(), Failure.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY),
        (pa.ArrowMemoryError("malloc"), Failure.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), Failure.DEPENDENCY, Reason.STORE_UNREACHABLE),
        (OSError(errno.ECONNRESET, "reset"), Failure.DEPENDENCY, Reason.STORE_UNREACHABLE),
        (OSError("When getting: AWS Error NETWORK_CONNECTION"), Failure.DEPENDENCY, Reason.STORE_UNREACHABLE),
        (OSError("AWS Error ACCESS_DENIED during PutObject"), Failure.USER, Reason.CREDENTIALS_REFUSED),
        (httpx.ConnectError("refused"), Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE),
        (SecretError("no"), Failure.USER, Reason.SECRET_REFUSED),
        (RayTaskError(MemoryError()), Failure.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY),
        (FileNotFoundError(errno.ENOENT, "x"), Failure.USER, Reason.USER_ERROR),
        (KeyError("bug"), Failure.USER, Reason.USER_ERROR),
    ],
    ids=[
        "an error of ours keeps its class", "memory", "Arrow's memory", "a full disk", "a reset connection", "a store that is away",
        "a store that refuses", "a server that is away", "a secret", "an error inside a Ray task", "a missing file", "a bug",
    ],
)  # fmt: skip
def test_classes(error: Exception, failure: Failure, reason: Reason) -> None:
    found = classify(error)
    assert (found.failure, found.reason) == (failure, reason)


def test_a_full_disk_says_so_and_a_bug_names_its_type() -> None:
    assert classify(OSError(errno.ENOSPC, "x")).message.startswith("disk full")
    assert "KeyError" in classify(KeyError("x")).message


def test_messages_are_one_bounded_line_without_credentials() -> None:
    assert shorten("a\n b  https://user:pass@host/x") == "a b https://host/x"
    assert len(shorten("x" * 5000)) == 1024


def test_a_failure_comes_whole_out_of_a_worker() -> None:
    summary = ValidationSummary(success=False, rows=3)
    error = WorkloadError(Failure.DATA, Reason.DATA_INVALID, "row 3 is wrong", validation=summary)
    found = pickle.loads(pickle.dumps(error))
    assert isinstance(found, WorkloadError)
    assert (found.failure, found.reason, found.message, found.validation, str(found)) == (
        Failure.DATA, Reason.DATA_INVALID, "row 3 is wrong", summary, "row 3 is wrong",
    )  # fmt: skip


def test_a_stop_is_found_behind_what_compiled_code_makes_of_it() -> None:
    stop = StopRequested("signal SIGTERM")
    wrapped = SystemError("returned a result with an exception set")
    wrapped.__cause__ = stop
    assert stop_behind(wrapped) is stop
    beside = SystemError("while it was handled")
    beside.__cause__, beside.__context__ = ValueError("unrelated"), stop
    assert stop_behind(beside) is stop
    circle = SystemError("another")
    circle.__cause__ = circle
    assert stop_behind(circle) is None


def test_an_attempt_that_is_stopped_in_compiled_code_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_ctx: RunContext) -> None:
        raise SystemError("returned a result with an exception set") from StopRequested("signal SIGTERM")

    monkeypatch.setattr("gradatim.workloads.validate.run", run)
    result = attempt(DatasetRun(tmp_path, {}).with_files({"a.jsonl": [{"text": "one"}]}).context())
    assert result is not None
    assert (result.outcome, result.message, result.failure) == ("Stopped", "stopped: signal SIGTERM", None)


@pytest.mark.parametrize(
    ("error", "line", "trace"),
    [
        pytest.param(
            WorkloadError(Failure.USER, Reason.SOURCE_NOT_ALLOWED, "no such folder"), "SourceNotAllowed: no such folder", False,
            id="a mistake in the spec",
        ),
        pytest.param(
            WorkloadError(Failure.DATA, Reason.SOURCE_EMPTY, "no file"), "SourceEmpty: no file", False, id="wrong data",
        ),
        pytest.param(SecretError("no key"), "SecretRefused: no key", False, id="a secret"),
        pytest.param(
            WorkloadError(Failure.DEPENDENCY, Reason.STORE_UNREACHABLE, "away"), "the attempt failed", True,
            id="a service that is away",
        ),
        pytest.param(KeyError("bug"), "the attempt failed", True, id="a defect"),
    ],
)  # fmt: skip
def test_only_what_the_message_does_not_explain_leaves_a_traceback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    line: str,
    trace: bool,
) -> None:
    def run(_ctx: RunContext) -> None:
        raise error

    monkeypatch.setattr("gradatim.workloads.validate.run", run)
    with caplog.at_level(logging.INFO, "gradatim.workloads"):
        attempt(DatasetRun(tmp_path, {}).with_files({"a.jsonl": [{"text": "one"}]}).context())
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert (record.getMessage(), record.exc_info is not None) == (line, trace)


def test_the_registrations_of_great_expectations_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):  # of the root, as in a process of its own
        start_logging()
        logging.getLogger("great_expectations._docs_decorators").info("Skipping registering function")
        logging.getLogger("great_expectations.core").warning("deprecated")
    assert caplog.messages == ["deprecated"]
