"""What is sent to a Ray cluster, and what its documents mean."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from gradatim.api.reasons import Reason
from gradatim.api.run import unpacked
from gradatim.api.runstatus import Failure
from gradatim.operator.errors import WillNeverWork
from gradatim.operator.runtimes.base import Launch, Observed, Phase
from gradatim.operator.runtimes.raycluster import log_text, observed, submission


def launch(name: str = "manuals-abc-a1", **members: Any) -> Launch:
    """Return an attempt whose config has these members."""
    config = json.dumps({"workload": "index", "run": "manuals-abc"} | members)
    return Launch(name, "team", config, "sha256:0", "u-1", 1)


def test_a_submission_holds_the_config_and_what_binds_it() -> None:
    assert submission(launch()) == {
        "entrypoint": "python -m gradatim.workloads index",
        "submission_id": "manuals-abc-a1",
        "runtime_env": {
            "env_vars": {
                "GRADATIM_RUN_CONFIG": '{"workload": "index", "run": "manuals-abc"}',
                "RAY_JOB_STOP_WAIT_TIME_S": "10",
            }
        },
        "metadata": {"uid": "u-1", "config_digest": "sha256:0", "namespace": "team", "run": "manuals-abc"},
    }


NOISE = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(6000))


def test_a_config_too_large_for_a_variable_travels_compressed() -> None:
    body = submission(launch(suite="expect_column_to_exist" * 10_000))
    environment = body["runtime_env"]["env_vars"]  # type: ignore[index]
    assert json.loads(unpacked(environment["GRADATIM_RUN_CONFIG"]))["suite"] == "expect_column_to_exist" * 10_000


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(launch(workload="index; rm -rf /"), id="a workload that is a command"),
        pytest.param(launch(workload=["index"]), id="a workload that is no text"),
        pytest.param(launch(name="../../nodes"), id="a name that is a path"),
        pytest.param(launch(name="UPPER"), id="a name that is no DNS label"),
        pytest.param(launch(suite=NOISE), id="a config that no process can be started with, even compressed"),
    ],
)
def test_what_ray_could_not_carry_is_refused_before_it_is_sent(attempt: Launch) -> None:
    with pytest.raises(WillNeverWork) as caught:
        submission(attempt)
    assert caught.value.reason == Reason.INVALID_SPEC


EXIT = "Job entrypoint command failed with exit code 137, last available logs (truncated to 20,000 chars):\npassword=hunter2"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param({"status": "PENDING"}, Observed(Phase.PENDING), id="waiting"),
        pytest.param(
            {"status": "RUNNING", "start_time": 1_800_000_000_123, "message": "Job is currently running."},
            Observed(Phase.RUNNING, "Job is currently running.", "2027-01-15T08:00:00Z"),
            id="running",
        ),
        pytest.param(
            {"status": "SUCCEEDED", "start_time": 1_800_000_000_000, "end_time": 1_800_000_001_000},
            Observed(Phase.SUCCEEDED, "", "2027-01-15T08:00:00Z", "2027-01-15T08:00:01Z"),
            id="done",
        ),
        pytest.param(
            {"status": "FAILED", "message": EXIT, "driver_exit_code": 137},
            Observed(Phase.FAILED, "Job entrypoint command failed with exit code 137", failure=Failure.OUT_OF_MEMORY),
            id="killed, without the log that may hold secrets",
        ),
        pytest.param(
            {"status": "FAILED", "message": "gone", "error_type": "JOB_SUPERVISOR_ACTOR_DIED"},
            Observed(Phase.FAILED, "gone", failure=Failure.NODE_LOST),
            id="lost with its node",
        ),
        pytest.param({"status": "FAILED", "driver_exit_code": 1}, Observed(Phase.FAILED), id="failed by itself"),
        pytest.param({"status": "STOPPED"}, Observed(Phase.STOPPED), id="stopped"),
        pytest.param({"status": "HIBERNATING"}, Observed(Phase.UNKNOWN), id="a status of a newer Ray"),
        pytest.param(
            {"status": None, "message": 7, "start_time": "x", "end_time": -1},
            Observed(Phase.UNKNOWN, "7"),
            id="nonsense",
        ),
    ],
)
def test_a_job_document_is_read_as_a_phase(job: dict[str, object], expected: Observed) -> None:
    assert observed(job) == expected


@pytest.mark.parametrize("cut", range(60))
def test_the_end_of_a_log_is_read_wherever_its_beginning_is_cut(cut: int) -> None:
    text = 'line "one" \\ \u00e9\U0001f600\n' * 3 + "the end\n"
    body = json.dumps({"logs": text}).encode()
    assert log_text(body) == text
    assert text.endswith(log_text(body[cut:])[-9:])
