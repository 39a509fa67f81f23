"""A standing Ray cluster, driven through its Jobs REST API: one submission per attempt, named like it.

Built by `stores.identity` from a profile's address and token. The entrypoint is one of a fixed set: no text of a user ever reaches the
shell that Ray starts it with. Ray answers 500 for a submission that exists, so the record is always read back.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp

from gradatim.api.reasons import Reason
from gradatim.api.run import CONFIG_ENV, packed
from gradatim.api.runstatus import Failure
from gradatim.operator.breaker import Guard
from gradatim.operator.errors import TryLater, WillNeverWork
from gradatim.operator.runtimes.base import Launch, Observed, Phase
from gradatim.operator.wire import Call, Endpoint, member

ENTRYPOINTS = {workload: f"python -m gradatim.workloads {workload}" for workload in ("validate", "index")}
# One argument of a Linux process holds 128 KiB, and Ray passes the environment on as one JSON text. A larger one is not refused: the job
# stays pending and keeps others from starting.
MAX_CONFIG_BYTES = 112 * 1024
PLAIN_CONFIG = 64 * 1024  # characters; readable in the dashboard up to here
# Read by Ray's supervisor from the job's own environment: seconds between SIGTERM and SIGKILL (3 without it).
STOP_WAIT_ENV, STOP_WAIT_SECONDS = "RAY_JOB_STOP_WAIT_TIME_S", 10
# The first submission waits for the head's agent, 8 s on two cores.
SUBMIT_SECONDS = 45.0
STOP_DELAY = 3.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?")
_PHASES = {
    "PENDING": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "STOPPED": Phase.STOPPED,
}
_NODE_FAULTS = {
    "JOB_SUPERVISOR_ACTOR_DIED",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE",
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE",
}
_KILLED = {-9, 137}
_MESSAGE_CHARS = 256


class RayCluster:
    """Jobs of one Ray cluster. Holds no state: everything is read from the cluster each time."""

    def __init__(
        self, session: aiohttp.ClientSession, address: str, token: str | None = None, guard: Guard | None = None
    ) -> None:
        """Take the shared session, the dashboard's address, the cluster's token and the guard that all calls on this address share."""
        self._ray = Endpoint(session, address, "runtime", "the Ray dashboard", token, guard or Guard())

    async def submit(self, launch: Launch) -> None:
        """Submit the attempt; see `Runtime.submit`."""
        body = submission(launch)
        answer = await self._ray.ask(Call("POST", "/api/jobs/", body=body, seconds=SUBMIT_SECONDS))
        if answer.status == 200:
            if member(self._ray.json(answer), "submission_id") != launch.name:
                raise self._ray.fault("did not confirm the submission")
            return
        found = await self._find(launch.name)
        if found is None:
            raise self._ray.fault(f"refused the submission with status {answer.status}")
        if not _is_ours(found, launch):
            raise WillNeverWork(
                Reason.NAME_CONFLICT,
                f"the Ray cluster holds a submission {launch.name} which is not of this Run; delete it there",
            )

    async def observe(self, name: str) -> Observed:
        """Return how the submission stands; a head that was restarted has forgotten it, which is `ABSENT`."""
        found = await self._find(name)
        return Observed(Phase.ABSENT) if found is None else observed(found)

    async def stop(self, name: str) -> None:
        """Send SIGTERM to the submission's processes, and SIGKILL 10 s later; a pending one is stopped when it starts."""
        answer = await self._ray.ask(Call("POST", _path(name, "/stop")))
        if answer.status != 200 and not _is_absent(answer.status, answer.text, name):
            raise self._ray.fault(f"refused to stop a submission with status {answer.status}")

    async def delete(self, name: str) -> None:
        """Delete the submission's record once it has ended; see `Runtime.delete`."""
        seen = await self.observe(name)
        if seen.phase is Phase.ABSENT:
            return
        if not seen.phase.terminal:
            await self.stop(name)
            raise TryLater(f"submission {name} is being stopped", STOP_DELAY, Reason.TERMINATING)
        answer = await self._ray.ask(Call("DELETE", _path(name)))
        if answer.status != 200 and not _is_absent(answer.status, answer.text, name):
            raise self._ray.fault(f"refused to delete a submission with status {answer.status}")

    async def release(self, name: str, ended: str | None) -> float:
        """Return 0: a standing cluster keeps its nodes whatever runs there."""
        del name, ended
        return 0.0

    async def logs(self, name: str, tail_bytes: int) -> str:
        """Return the end of the driver's log; empty where the submission is gone. Ray sends the whole log, of which 64 MiB are read."""
        # A character takes at most six bytes as a JSON escape.
        call = Call("GET", _path(name, "/logs"), limit=6 * tail_bytes + 16, tail=True)
        answer = await self._ray.ask(call)
        if _is_absent(answer.status, answer.text, name):
            return ""
        text = log_text(self._ray.expect(answer, 200).body)
        return text.encode()[-tail_bytes:].decode("utf-8", "ignore")

    async def version(self) -> str:
        """Return Ray's version."""
        found = member(await self._ray.ask_json(Call("GET", "/api/version")), "ray_version")
        if not isinstance(found, str) or not found:
            raise self._ray.fault("did not tell its version; the address may belong to another server")
        return found[:63]

    async def _find(self, name: str) -> dict[str, object] | None:
        answer = await self._ray.ask(Call("GET", _path(name)))
        if _is_absent(answer.status, answer.text, name):
            return None
        document = self._ray.json(self._ray.expect(answer, 200))
        if not isinstance(document, dict) or document.get("submission_id") != name:
            raise self._ray.fault("answered about something else than the submission asked for")
        return document


def submission(launch: Launch) -> dict[str, object]:
    """Return the body of the submission. Raises `WillNeverWork` for an unknown workload or a config that Ray cannot carry. Pure."""
    document = json.loads(launch.config_json)
    workload = member(document, "workload")
    if not isinstance(workload, str) or workload not in ENTRYPOINTS:
        raise WillNeverWork(Reason.INVALID_SPEC, "this release has no such workload")
    environment = {CONFIG_ENV: packed(launch.config_json, PLAIN_CONFIG), STOP_WAIT_ENV: str(STOP_WAIT_SECONDS)}
    size = len(json.dumps(environment).encode())
    if size > MAX_CONFIG_BYTES:
        raise WillNeverWork(
            Reason.INVALID_SPEC,
            f"the resolved config takes {size} bytes even compressed, of the {MAX_CONFIG_BYTES} that Ray can carry; use a smaller expectation suite",
        )
    return {
        "entrypoint": ENTRYPOINTS[workload],
        "submission_id": _checked(launch.name),
        "runtime_env": {"env_vars": environment},
        "metadata": _metadata(launch) | {"namespace": launch.namespace, "run": str(member(document, "run") or "")},
    }


def observed(job: dict[str, object]) -> Observed:
    """Return what a job document of the Jobs API says. Pure; only the first line of its message, never the log below it."""
    phase = _PHASES.get(str(job.get("status")), Phase.UNKNOWN)
    return Observed(
        phase=phase,
        message=_first_line(job.get("message")),
        started_at=_timestamp(job.get("start_time")),
        finished_at=_timestamp(job.get("end_time")),
        failure=_failure(job) if phase is Phase.FAILED else None,
    )


def log_text(body: bytes) -> str:
    """Return the text of `{"logs": "…"}` of which the beginning may be missing; what is no such document is returned as it is."""
    text = body.decode("utf-8", "ignore")
    try:
        found = member(json.loads(text), "logs")
        return found if isinstance(found, str) else ""
    except ValueError:
        pass
    text = text.rstrip().removesuffix("}").rstrip().removesuffix('"')
    # Cut inside an escape, the rest is no JSON: it becomes so again after at most one escape.
    for start in range(12):
        try:
            return str(json.loads(f'"{text[start:]}"'))
        except ValueError:
            continue
    return text


def _metadata(launch: Launch) -> dict[str, str]:
    return {"uid": launch.uid, "config_digest": launch.config_digest}


def _is_ours(job: dict[str, object], launch: Launch) -> bool:
    metadata = job.get("metadata")
    return isinstance(metadata, dict) and all(metadata.get(key) == value for key, value in _metadata(launch).items())


def _failure(job: dict[str, object]) -> Failure | None:
    if job.get("error_type") in _NODE_FAULTS:
        return Failure.NODE_LOST
    return Failure.OUT_OF_MEMORY if job.get("driver_exit_code") in _KILLED else None


def _first_line(message: object) -> str:
    line = str(message or "").strip().split("\n", 1)[0].split(", last available logs", 1)[0]
    return "".join(c for c in line if c.isprintable())[:_MESSAGE_CHARS]


def _timestamp(milliseconds: object) -> str | None:
    if not isinstance(milliseconds, int) or not 0 < milliseconds < 2**43:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise WillNeverWork(Reason.INVALID_SPEC, "the attempt's name is not a DNS label")
    return name


def _path(name: str, suffix: str = "") -> str:
    return f"/api/jobs/{quote(_checked(name), safe='')}{suffix}"


def _is_absent(status: int, text: str, name: str) -> bool:
    """Tell Ray's own 404 from that of a proxy before it: only the former proves anything."""
    return status == 404 and text.startswith(f"Job {name} does not exist")
