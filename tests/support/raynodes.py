"""A Ray cluster of two nodes on one machine, and attempts that run on it as the runtime `rayCluster` submits them.

Each node offers one place, so that two workers live on two nodes. The second node has a temporary folder of its own, as another machine has, and
can be killed as a whole. Nothing is simulated: head, token authentication and the Jobs API are those of a platform.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.support.platform import owned

from gradatim.api.run import ProgressDocument, RunConfig, RunResult, attempt_name
from gradatim.operator.errors import DependencyError
from gradatim.operator.runtimes.base import Launch, Phase
from gradatim.operator.runtimes.raycluster import RayCluster
from gradatim.operator.wire import open_session
from gradatim.platform import Component, PlatformState, UpOptions, up
from gradatim.workloads.store import ArtifactStore

WORKER = "GradatimWorker"
BREATH = 20  # seconds between two moments in which a frozen worker goes on
# Ray takes loopback for the address of a single machine: it refuses to join there, or joins by another address, on which no head listens.
JOIN = """
from ray._private import services
from ray.scripts import scripts
services.resolve_ip_for_localhost = lambda host: host
scripts.main()
"""


@dataclass
class RayNodes:
    """The cluster. `folder` holds the second node's temporary folder `tmp` and its log."""

    state: PlatformState
    folder: Path
    second: subprocess.Popen[bytes] | None = None
    frozen: set[psutil.Process] = field(default_factory=set)

    @property
    def token(self) -> str:
        """The cluster's bearer token."""
        return self.state.ray_token.read_text().strip()

    @property
    def tmp(self) -> Path:
        """The temporary folder of everything on the second node."""
        return self.folder / "tmp"

    def get(self, path: str, **query: str) -> Any:
        """Return a document of the dashboard."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(trust_env=False, timeout=30, headers=headers) as client:
            answer = client.get(f"{self.state.ray_dashboard}{path}", params=query)
            answer.raise_for_status()
            return answer.json()

    def listed(self, what: str, **equal: str) -> list[dict[str, Any]]:
        """Return actors, tasks or nodes with these values."""
        query: dict[str, Any] = {"detail": "1", "limit": "5000"}
        if equal:
            query |= {"filter_keys": list(equal), "filter_predicates": ["="] * len(equal)}
            query["filter_values"] = list(equal.values())
        found: list[dict[str, Any]] = self.get(f"/api/v0/{what}", **query)["data"]["result"]["result"]
        return found

    def start_second(self) -> None:
        """Make sure that the second node is there."""
        if self.second is not None and self.second.poll() is None:
            return
        self.tmp.mkdir(parents=True, exist_ok=True)
        argv = [
            sys.executable,
            "-c",
            JOIN,
            "start",
            f"--address=127.0.0.1:{self.state.ports['ray-gcs']}",
        ]
        argv += ["--node-ip-address=127.0.0.1", "--num-cpus=1", "--block", "--object-store-memory=268435456"]
        argv += ["--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GRADATIM_"))}
        env = kept | {
            "TMPDIR": str(self.tmp),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.state.ray_token),
        }
        env |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        before = self._alive()
        with (self.folder / "second.log").open("ab") as log:
            self.second = subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 120
        while self._alive() <= before:
            assert self.second.poll() is None, (self.folder / "second.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the second node did not join"
            time.sleep(0.5)

    def kill_second(self) -> None:
        """Kill every process of the second node at once, as a power cut does."""
        if self.second is None:
            return
        kill_all_of(self.second.pid)
        self.second.wait(30)
        self.second = None

    def freeze(self, pid: int) -> None:
        """Stop a process in its tracks, as a machine that swaps does."""
        process = psutil.Process(pid)
        process.suspend()
        self.frozen.add(process)

    def kill_frozen(self) -> None:
        """Kill what was frozen and still is."""
        for process in self.frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_STOPPED:
                    process.kill()
        self.frozen.clear()

    def second_node(self) -> str:
        """Return Ray's id of the second node."""
        nodes = self.listed("nodes", state="ALIVE")
        return next(str(node["node_id"]) for node in nodes if not node["is_head_node"])

    def _alive(self) -> int:
        return sum(node["state"] == "ALIVE" for node in self.listed("nodes"))


@dataclass
class Attempt:
    """An attempt on the cluster, submitted under its name. What was seen of its progress and checkpoints is kept."""

    nodes: RayNodes
    config: RunConfig
    store: ArtifactStore
    name: str = ""
    heartbeats: list[ProgressDocument] = field(default_factory=list)
    checkpoints: dict[str, set[int]] = field(default_factory=dict)

    async def submit(self) -> Attempt:
        """Submit it as the operator does: again and again until the head takes it."""
        text = self.config.model_dump_json(by_alias=True, exclude_none=True)
        workers = (self.config.dataset or self.config.index).compute.workers  # type: ignore[union-attr]
        self.name = attempt_name(f"{self.config.run}-{os.urandom(4).hex()}", self.config.attempt)
        launch = Launch(
            self.name, self.config.object.namespace, text, self.config.digest, self.config.object.uid, workers
        )
        async with asyncio.timeout(120), open_session() as session:
            while True:
                with contextlib.suppress(DependencyError):
                    await RayCluster(session, self.nodes.state.ray_dashboard, self.nodes.token).submit(launch)
                    return self
                await asyncio.sleep(0.5)

    async def stop(self) -> None:
        """Ask Ray to stop it."""
        async with open_session() as session:
            await RayCluster(session, self.nodes.state.ray_dashboard, self.nodes.token).stop(self.name)

    async def ended(self, seconds: float = 300) -> Phase:
        """Wait until its processes have ended; progress is read all the while."""
        async with asyncio.timeout(seconds), open_session() as session:
            runtime = RayCluster(session, self.nodes.state.ray_dashboard, self.nodes.token)
            while not (phase := (await runtime.observe(self.name)).phase).terminal:
                self.look()
                await asyncio.sleep(0.2)
        self.look()
        return phase

    async def log(self) -> str:
        """Return the driver's log."""
        async with open_session() as session:
            return await RayCluster(session, self.nodes.state.ray_dashboard, self.nodes.token).logs(self.name, 1 << 20)

    def look(self) -> ProgressDocument | None:
        """Return the progress now."""
        path = f"{self.config.attempt_path}/progress.json"
        if not self.store.exists(path):
            return None
        found = ProgressDocument.model_validate_json(self.store.read(path))
        if not self.heartbeats or self.heartbeats[-1].heartbeat != found.heartbeat:
            self.heartbeats.append(found)
        for kept in self.store.list(f"{self.config.object_path}/checkpoints"):
            with contextlib.suppress(FileNotFoundError):
                self.checkpoints.setdefault(kept, set()).add(Path(self.store.full(kept)).stat().st_mtime_ns)
        return found

    async def caught(self, count: int = 2, seconds: float = 240) -> dict[int, str]:
        """Freeze its workers as they appear and return their process ids with their nodes: it cannot end meanwhile."""
        frozen: dict[int, str] = {}
        async with asyncio.timeout(seconds):
            while len(frozen) < count:
                for pid, node in self.workers().items():
                    if pid not in frozen:
                        self.nodes.freeze(pid)
                        frozen[pid] = node
                assert self.written() is None, self.written()
                await asyncio.sleep(0.05)
        return frozen

    async def half_way(self, first: int, second: int, reached: Callable[[], bool], seconds: float = 300) -> None:
        """Let the first of two frozen workers go on until something is reached, and freeze it with work in its hands; then let the second go on.

        On a slow machine the second may have been given work before it was frozen, which the first's results wait for: it breathes now and then.
        """
        async with asyncio.timeout(seconds):
            thaw(first)
            breath = time.monotonic() + BREATH
            while not reached():
                assert self.written() is None, self.written()
                self.look()
                await asyncio.sleep(0.01)
                if time.monotonic() > breath:
                    thaw(second)
                    await asyncio.sleep(1)
                    self.nodes.freeze(second)
                    breath = time.monotonic() + BREATH
            self.nodes.freeze(first)
            thaw(second)
            while not self.worked().get(second):
                assert self.written() is None, self.written()
                self.look()
                await asyncio.sleep(0.2)

    def written(self) -> RunResult | None:
        """Return its result if it has one."""
        path = f"{self.config.attempt_path}/result.json"
        return RunResult.model_validate_json(self.store.read(path)) if self.store.exists(path) else None

    def _listed(self, what: str) -> list[dict[str, Any]]:
        """Return the job's actors or tasks; none before its driver has joined the cluster, when it has no id of Ray's."""
        job: str | None = self.nodes.get(f"/api/jobs/{self.name}")["job_id"]
        return self.nodes.listed(what, job_id=job) if job is not None else []

    def driver(self) -> int:
        """Return the process id of the driver."""
        return int(self.nodes.get(f"/api/jobs/{self.name}")["driver_info"]["pid"])

    def workers(self, state: str = "ALIVE") -> dict[int, str]:
        """Return the process ids of the workers in a state, with their nodes."""
        found = self._listed("actors")
        return {int(a["pid"]): str(a["node_id"]) for a in found if a["class_name"] == WORKER and a["state"] == state}

    def calls(self, method: str = "") -> list[dict[str, Any]]:
        """Return the calls of a worker's method, or of all, ended or not."""
        found = self._listed("tasks")
        return [t for t in found if t["name"].startswith(f"{WORKER}.{method}") and t["name"] != f"{WORKER}.start"]

    def worked(self, method: str = "") -> dict[int, int]:
        """Return how many calls each worker process finished, as far as Ray knows by which."""
        finished = (task["worker_pid"] for task in self.calls(method) if task["state"] == "FINISHED")
        return Counter(pid for pid in finished if pid is not None)


def thaw(pid: int) -> None:
    """Let a frozen process go on."""
    psutil.Process(pid).resume()


def kill(pid: int) -> None:
    """Kill one process and see it gone."""
    process = psutil.Process(pid)
    process.kill()
    with contextlib.suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
        process.wait(20)


def kill_all_of(pid: int) -> None:
    """Kill a process and everything below it at once, as a power cut does."""
    with contextlib.suppress(psutil.NoSuchProcess):
        main = psutil.Process(pid)
        everything = [main, *main.children(recursive=True)]
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()  # none may start another meanwhile
        for process in [*everything, *main.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


async def gone(pids: Collection[int], seconds: float = 60) -> None:
    """Wait until none of the processes runs any longer; a frozen one is let go first, for it answers nobody."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            thaw(pid)
    async with asyncio.timeout(seconds):
        while any(map(_runs, pids)):
            await asyncio.sleep(0.2)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def ray_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """Start the head of the cluster once; see `ray_nodes`."""
    folder = tmp_path_factory.mktemp("ray-pair")
    with owned(folder / "platform") as state_dir:
        found = RayNodes(up(UpOptions(state_dir, frozenset({Component.RAY}), ray_cpus=1)), folder)
        try:
            yield found
        finally:
            found.kill_second()


@pytest.fixture
def ray_nodes(ray_pair: RayNodes) -> Iterator[RayNodes]:
    """A cluster of two nodes, whatever the test before did to the second. What a failed test left frozen is killed: it would hold its place."""
    ray_pair.start_second()
    yield ray_pair
    ray_pair.kill_frozen()
