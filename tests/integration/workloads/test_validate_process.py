"""`python -m gradatim.workloads validate` as a process: every end leaves a result, whatever ended it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.integration.workloads.conftest import Site
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.run import CONFIG_ENV, ProgressDocument, control_path
from gradatim.api.runstatus import Failure, Progress
from gradatim.workloads.local import LocalRunError, run_local

COMMAND = [sys.executable, "-m", "gradatim.workloads", "validate"]
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}}


def _start(text: str, limit: int | None = None) -> subprocess.Popen[str]:
    # The limit is set by a shell in between: code that runs between fork and exec is unsafe beside threads.
    bounded = ["sh", "-c", f'ulimit -f {limit // 512}; exec "$@"', "sh", *COMMAND] if limit else COMMAND
    environment = {**os.environ, CONFIG_ENV: text}
    return subprocess.Popen(bounded, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def _json(run: DatasetRun) -> str:
    return run.config.model_dump_json(by_alias=True, exclude_none=True)


def _drip(site: Site) -> str:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.01)

    site.routes["/slow.md"] = answer
    return f"{site.url}/slow.md"


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_good_run_ends_with_status_zero_and_leaves_config_progress_result_and_listing(run: DatasetRun) -> None:
    run = run.with_files({"a.md": "# One", "b.md": "# Two"}).with_spec(validation={"expectations": [NOT_NULL]})
    status, output = _finish(_start(_json(run)))
    assert status == 0, output
    result = run.written()
    assert (result.outcome, result.stamp.config_digest) == ("Succeeded", run.config.digest)
    assert set(result.timings) >= {"resolve", "read", "validate", "write"}
    progress = ProgressDocument.model_validate_json(run.store.read(f"{run.config.attempt_path}/progress.json"))
    assert (progress.stamp, progress.progress.percent) == (result.stamp, 100)
    names = [path.removeprefix(run.config.run_path + "/") for path in run.store.list(run.config.run_path)]
    assert names == ["a1/progress.json", "a1/result.json", "config.json", "resolved.json"]


def test_a_failed_run_ends_with_status_one_and_says_why(run: DatasetRun) -> None:
    run = run.with_files({"a.jsonl": '{"text": null}\n{"text": "x"}\n'}).with_spec(
        validation={"expectations": [NOT_NULL]}
    )
    status, output = _finish(_start(_json(run)))
    result = run.written()
    assert (status, result.failure, result.reason) == (1, Failure.DATA, Reason.DATA_INVALID.value), output
    assert result.validation is not None
    assert result.validation.results[0].examples == ["data:a.jsonl:1"]
    assert run.store.list(f"{run.config.object_path}/versions") == []


def test_sigterm_ends_a_waiting_attempt_as_stopped_within_rays_three_seconds(run: DatasetRun, site: Site) -> None:
    run = run.with_spec(source={"http": {"urls": [_drip(site)]}})
    process = _start(_json(run))
    _wait_until(lambda: bool(site.seen))
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status, output = _finish(process)
    assert time.monotonic() - sent < 3
    assert (status, run.written().outcome) == (0, "Stopped"), output


def test_a_stop_request_ends_a_waiting_attempt(run: DatasetRun, site: Site) -> None:
    run = run.with_spec(source={"http": {"urls": [_drip(site)]}})
    process = _start(_json(run))
    _wait_until(lambda: bool(site.seen))
    request = {"run": run.config.run, "requested": "2026-01-01T00:00:00Z", "reason": "suspended"}
    run.store.write(control_path(run.config.run), json.dumps(request).encode())
    status, output = _finish(process)
    assert (status, run.written().message) == (0, "stopped: suspended"), output


def test_the_heartbeat_goes_on_while_the_work_waits(run: DatasetRun, site: Site) -> None:
    run = run.with_spec(source={"http": {"urls": [_drip(site)]}})
    process = _start(_json(run))
    seen: set[str] = set()

    def beaten() -> bool:
        path = f"{run.config.attempt_path}/progress.json"
        if run.store.exists(path):
            seen.add(ProgressDocument.model_validate_json(run.store.read(path)).heartbeat)
        return len(seen) >= 4

    _wait_until(beaten)
    process.terminate()
    _finish(process)


def test_a_deadline_ends_a_waiting_attempt(run: DatasetRun, site: Site) -> None:
    run = run.with_spec(source={"http": {"urls": [_drip(site)]}}).but(deadline=2)
    status, output = _finish(_start(_json(run)))
    result = run.written()
    assert (status, result.failure, result.reason) == (1, Failure.DEADLINE, Reason.DEADLINE_EXCEEDED.value), output


def test_a_full_disk_is_a_dependency_that_says_so_and_publishes_nothing(run: DatasetRun) -> None:
    run = run.with_files({"a.txt": os.urandom(300_000).hex()})
    status, output = _finish(_start(_json(run), limit=100_000))
    result = run.written()
    assert (status, result.failure) == (1, Failure.DEPENDENCY), output
    assert result.message.startswith("disk full")
    assert not [path for path in run.store.list(run.config.object_path) if path.endswith("manifest.json")]


def test_a_changed_config_fails_without_touching_the_source(run: DatasetRun) -> None:
    document = json.loads(_json(run.with_files({"a.md": "# One"})))
    document["limits"]["allowedSourceRoots"] = ["/"]
    status, output = _finish(_start(json.dumps(document)))
    assert (status, run.written().reason) == (1, Reason.INVALID_SPEC.value), output
    assert run.store.list(run.config.run_path) == [
        f"{run.config.attempt_path}/progress.json", f"{run.config.attempt_path}/result.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"workload": "index"}, "is for index, not validate"),
        ({"unknown": 1}, "unknown: Extra inputs are not permitted"),
        ({"attempt": "1"}, "attempt: Input should be a valid integer"),
        ({"store": {"root": "/tmp/"}}, "store.root"),
    ],
    ids=["another workload", "an unknown member", "a number as text", "a root that is none"],
)
def test_a_config_that_cannot_be_used_ends_with_status_two(
    run: DatasetRun, change: dict[str, object], says: str
) -> None:
    status, output = _finish(_start(json.dumps(json.loads(_json(run)) | change)))
    assert status == 2
    assert says in output
    assert "Traceback" not in output


def test_no_config_at_all_ends_with_status_two() -> None:
    status, output = _finish(_start(""))
    assert (status, "Traceback" in output) == (2, False)


def test_secrets_stay_out_of_log_and_store(run: DatasetRun, site: Site, secret: Callable[..., Path]) -> None:
    mounted = secret("docs-read", site.host, token="unmistakable-t0ken")
    url = site.page("/a.md", b"no", 403)
    run = run.with_spec(source={"http": {"urls": [url + "?key=in-the-query"], "secretRef": {"name": "docs-read"}}})
    status, output = _finish(_start(_json(run.but(secrets=mounted))))
    assert status == 1
    assert site.seen[0][1]["Authorization"] == "Bearer unmistakable-t0ken"
    written = b"".join(run.store.read(path) for path in run.store.list("dataset"))
    assert "unmistakable-t0ken" not in output
    assert b"unmistakable-t0ken" not in written


def test_a_local_run_is_the_same_attempt_with_its_progress_shown(run: DatasetRun) -> None:
    shown: list[Progress] = []
    result = run_local(run.with_files({"a.md": "# One"}).config, shown.append)
    assert result == run.written()
    assert result.outcome == "Succeeded"
    assert [progress.percent for progress in shown] == sorted(progress.percent for progress in shown)
    assert shown[-1].percent == 100


def test_a_local_run_without_a_result_shows_the_end_of_its_log(run: DatasetRun, tmp_path: Path) -> None:
    blocked = tmp_path / "store"
    blocked.write_text("a file where the store's folder should be")
    with pytest.raises(LocalRunError, match="cannot write the result"):
        run_local(run.with_files({"a.md": "# One"}).config)


def test_two_attempts_of_one_run_in_a_row_do_the_work_once(run: DatasetRun) -> None:
    run = run.with_files({"a.md": "# One"})
    assert _finish(_start(_json(run)))[0] == 0
    (run.data / "a.md").unlink()
    assert _finish(_start(_json(run.but(number=2))))[0] == 0
    assert run.but(number=2).written().dataset == run.written().dataset


@pytest.mark.parametrize("good", [True, False], ids=["after a success", "after a failure"])
def test_an_attempt_that_is_started_again_leaves_its_result_and_everything_else(run: DatasetRun, good: bool) -> None:
    run = run.with_files({"a.jsonl" if good else "a.csv": '{"text": "One"}' if good else "body\nx\n"})
    run = run.with_spec(schemaKind="text")
    assert _finish(_start(_json(run)))[0] == (0 if good else 1)
    before = {path: Path(run.store.full(path)).stat().st_mtime_ns for path in run.store.list("dataset")}
    status, output = _finish(_start(_json(run)))
    assert (status, "has its result already" in output) == (0, True), output
    assert {path: Path(run.store.full(path)).stat().st_mtime_ns for path in run.store.list("dataset")} == before


def test_a_result_of_another_config_does_not_end_an_attempt(run: DatasetRun) -> None:
    run = run.with_files({"a.md": "# One"})
    assert _finish(_start(_json(run)))[0] == 0
    other = run.with_files({"a.md": "# Two"}).with_spec(dedup={"exact": False})
    status, output = _finish(_start(_json(other)))
    assert "has its result already" not in output
    assert other.written().stamp.config_digest == other.config.digest, (status, output)


def test_an_attempt_in_a_thread_leaves_signals_alone(run: DatasetRun) -> None:
    before = signal.getsignal(signal.SIGTERM)
    outcomes: list[str] = []
    thread = threading.Thread(target=lambda: outcomes.append(run.with_files({"a.md": "# One"}).execute().outcome))
    thread.start()
    thread.join()
    assert (outcomes, signal.getsignal(signal.SIGTERM)) == (["Succeeded"], before)
    assert run.but(run="d-r2").execute().outcome == "Succeeded"
    assert signal.getsignal(signal.SIGTERM) == before
