"""A runtime for tests: every attempt ends as a script in a folder says, without starting a process.

Enabled by the operator's setting `GRADATIM_TEST_RUNTIME=instant:<folder>` and by nothing that a user can write. Submissions are files created
with O_EXCL, so that they outlive the operator and two starts of one attempt are seen; `log.jsonl` records every call for assertions. What it
writes to the artifact store goes through the same paths, stamps and schemas as a workload's; `instant_output` builds it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from gradatim.api.base import ApiModel
from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig, control_path
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.newer import run_config
from gradatim.operator.runtimes.base import Launch, Observed, Phase
from gradatim.operator.runtimes.instant_output import Script, progress_document, result_document

SCRIPTS, SUBMISSIONS, LOG, FAULTS = "scripts", "submissions", "log.jsonl", "faults.json"
Load = Callable[[str, str, int], Awaitable[None]]


class Faults(ApiModel):
    """`faults.json`: what is wrong with the runtime right now. The file may appear, change and go at any time."""

    unreachable: bool = Field(default=False, description="Every call fails.")
    lose_answer: bool = Field(default=False, description="A submission is recorded and its answer lost.")
    forget: bool = Field(default=False, description="Submissions are unknown, as after the restart of a head.")


@dataclass(frozen=True, slots=True)
class Submission:
    """What is kept of one attempt, with the script it got at its start."""

    config: RunConfig
    started: float
    script: Script


class InstantRuntime:
    """See the module. `load(endpoint, collection, count)` makes a real collection for scripts that ask for one."""

    def __init__(self, folder: Path, load: Load | None = None, clock: Callable[[], float] = time.time) -> None:
        """Take the folder that test and operator share."""
        self._folder = folder
        self._load = load
        self._clock = clock
        (folder / SUBMISSIONS).mkdir(parents=True, exist_ok=True)
        (folder / SCRIPTS).mkdir(exist_ok=True)

    async def submit(self, launch: Launch) -> None:
        """Record the attempt and do at once what its script says."""
        self._reach("submit", launch.name)
        config = run_config(json.loads(launch.config_json))
        script = self._script(launch.name, config)
        record: dict[str, object] = {
            "uid": launch.uid,
            "config_digest": launch.config_digest,
            "config": launch.config_json,
        }
        record |= {"started": self._clock(), "script": script.model_dump(mode="json")}
        created = self._create(launch.name, json.dumps(record))
        self._log("submit", launch.name, created=created)
        if not created:
            known = self._record(launch.name) or {}
            if (known.get("uid"), known.get("config_digest")) != (launch.uid, launch.config_digest):
                raise WillNeverWork(Reason.NAME_CONFLICT, f"submission {launch.name} is not of this Run")
        await self._settle(launch.name)
        if self._faults().lose_answer:
            raise DependencyError("runtime", "the runtime did not answer in time")

    async def observe(self, name: str) -> Observed:
        """Return the phase that the script gives by now."""
        self._reach("observe", name)
        phase = await self._settle(name)
        found = self._submission(name)
        if found is None or phase is Phase.ABSENT:
            return Observed(Phase.ABSENT)
        ended = self._clock() if found.script.after_seconds is None else found.started + found.script.after_seconds
        return Observed(
            phase,
            found.script.runtime_message,
            started_at=_rfc3339(found.started),
            finished_at=_rfc3339(ended) if phase.terminal else None,
            failure=found.script.runtime_failure if phase is Phase.FAILED else None,
        )

    async def stop(self, name: str) -> None:
        """End the attempt without a result, unless it has ended."""
        self._reach("stop", name)
        self._log("stop", name)
        if self._submission(name) is not None and not (await self._settle(name)).terminal:
            self._path(name, ".stopped").touch()

    async def delete(self, name: str) -> None:
        """Forget the attempt; see `Runtime.delete`."""
        self._reach("delete", name)
        if not (await self._settle(name)).terminal:
            await self.stop(name)
            raise TryLater(f"submission {name} is being stopped", 0.1, Reason.TERMINATING)
        self._log("delete", name)
        for suffix in (".json", ".stopped", ".written"):
            self._path(name, suffix).unlink(missing_ok=True)

    async def release(self, name: str, ended: str | None) -> float:
        """Return 0: nothing is held."""
        del name, ended
        return 0.0

    async def logs(self, name: str, tail_bytes: int) -> str:
        """Return one line: there is no process."""
        self._reach("logs", name)
        return f"attempt {name} of the instant runtime\n"[-tail_bytes:]

    async def version(self) -> str:
        """Return a name that no real runtime has."""
        self._reach("version", "")
        return "instant"

    async def _settle(self, name: str) -> Phase:
        """Bring the attempt's files up to date with its script and return its phase."""
        found = self._submission(name)
        if found is None or self._faults().forget:
            return Phase.ABSENT
        if self._path(name, ".stopped").exists():
            return Phase.STOPPED
        attempt, root = found.config, self._root(found.config)
        due = found.script.after_seconds is not None and self._clock() >= found.started + found.script.after_seconds
        asked = found.script.honours_stop and (root / control_path(attempt.run)).is_file()
        if not due and not asked:
            if found.script.heartbeats:
                _write(
                    root / attempt.attempt_path / "progress.json",
                    progress_document(found.script, attempt, self._clock()),
                )
            return found.script.running_phase
        if not self._path(name, ".written").exists():
            await self._finish(found, stopped=asked and not due)
            self._path(name, ".written").touch()
        return Phase.SUCCEEDED if asked and not due else found.script.phase

    async def _finish(self, found: Submission, *, stopped: bool) -> None:
        """Do what a workload does at its end: the collection first, then the result."""
        config, script = found.config, found.script
        result = result_document(script, config, self._clock(), stopped=stopped)
        if script.collection_objects is not None and result.index is not None and config.vector_store is not None:
            if self._load is None:
                raise WillNeverWork(Reason.INVALID_SPEC, "this instant runtime was built without a vector store")
            await self._load(config.vector_store.endpoint, result.index.collection, script.collection_objects)
        if script.writes_result:
            data = (
                script.raw_result.encode()
                if script.raw_result is not None
                else result.model_dump_json(by_alias=True).encode()
            )
            await asyncio.to_thread(_write, self._root(config) / config.attempt_path / "result.json", data)

    def _script(self, name: str, config: RunConfig) -> Script:
        """Return the most specific script there is: attempt, Run, `<namespace>.<object>`, kind, `default`."""
        scope = config.object
        for key in (name, config.run, f"{scope.namespace}.{scope.name}", scope.kind, "default"):
            path = self._folder / SCRIPTS / f"{key}.json"
            if path.is_file():
                return Script.model_validate_json(path.read_bytes())
        return Script()

    def _root(self, config: RunConfig) -> Path:
        if not config.store.root.startswith("file:///"):
            raise WillNeverWork(Reason.INVALID_SPEC, "the instant runtime writes to file:// stores only")
        return Path(config.store.root.removeprefix("file://"))

    def _path(self, name: str, suffix: str) -> Path:
        return self._folder / SUBMISSIONS / f"{name}{suffix}"

    def _create(self, name: str, text: str) -> bool:
        """Create the submission's file whole: a link to a finished file either appears or tells that there is one."""
        temporary = self._folder / f".{uuid.uuid4().hex}"
        temporary.write_text(text)
        try:
            os.link(temporary, self._path(name, ".json"))
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def _record(self, name: str) -> dict[str, object] | None:
        try:
            found: dict[str, object] = json.loads(self._path(name, ".json").read_text())
        except FileNotFoundError:
            return None
        return found

    def _submission(self, name: str) -> Submission | None:
        record = self._record(name)
        if record is None:
            return None
        config = run_config(json.loads(str(record["config"])))
        return Submission(config, float(str(record["started"])), Script.model_validate(record["script"]))

    def _faults(self) -> Faults:
        try:
            return Faults.model_validate_json((self._folder / FAULTS).read_bytes())
        except FileNotFoundError:
            return Faults()

    def _reach(self, operation: str, name: str) -> None:
        if self._faults().unreachable:
            self._log(f"{operation}-unreachable", name)
            raise DependencyError("runtime", "the runtime cannot be reached")

    def _log(self, operation: str, name: str, **more: object) -> None:
        entry = {"op": operation, "name": name, "pid": os.getpid(), "at": self._clock()} | more
        handle = os.open(self._folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, (json.dumps(entry) + "\n").encode())
        finally:
            os.close(handle)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part~")
    temporary.write_bytes(data)
    temporary.replace(path)


def _rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
