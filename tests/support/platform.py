"""Real servers for integration tests, started once per test session.

`tests/integration/conftest.py` exports the fixtures. Workers of pytest-xdist share one platform: each registers as an owner and the
last one removes it. What a killed session left behind is removed by the next one, recognised by owners that no longer run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from filelock import FileLock

from gradatim.platform import ALL, Component, PlatformState, UpOptions, down, processes, up
from gradatim.platform.binaries import Settings, resolve
from gradatim.platform.binaries.addons import MINIO
from gradatim.platform.ports import is_free

API_SERVER = frozenset({Component.APISERVER, Component.CONTROLLER_MANAGER})


@dataclass(frozen=True)
class WeaviateServer:
    """A running Weaviate and its API keys."""

    endpoint: str
    grpc_endpoint: str
    operator_key: str = field(repr=False)
    workload_key: str = field(repr=False)


@dataclass(frozen=True)
class RayHead:
    """A running Ray head: dashboard address, bearer token and the file that holds it."""

    address: str
    token: str = field(repr=False)
    token_file: Path


@dataclass(frozen=True)
class S3Server:
    """A running MinIO."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)


def weaviate_of(state: PlatformState) -> WeaviateServer:
    """Return the addresses and keys of a platform's Weaviate."""
    private = state.state_dir / "private"
    keys = [(private / name).read_text().strip() for name in ("weaviate-operator", "weaviate-workload")]
    return WeaviateServer(state.weaviate, state.weaviate_grpc, *keys)


def ray_of(state: PlatformState) -> RayHead:
    """Return the address and token of a platform's Ray head."""
    return RayHead(state.ray_dashboard, state.ray_token.read_text().strip(), state.ray_token)


@contextlib.contextmanager
def owned(state_dir: Path) -> Iterator[Path]:
    """Remove whatever platform the test leaves in a folder; the next session does it should this one be killed."""
    _say_owner(state_dir, f"{os.getpid()} private")
    try:
        yield state_dir
    finally:
        down(state_dir, purge=True)
        _owners_file(state_dir).unlink(missing_ok=True)


@contextlib.contextmanager
def private_platform(
    state_dir: Path, components: frozenset[Component] = API_SERVER, operator_env: Mapping[str, str] | None = None
) -> Iterator[PlatformState]:
    """Run a platform for one test, and remove it afterwards."""
    with owned(state_dir):
        yield up(UpOptions(state_dir, components, operator_env=operator_env or {}))


@contextlib.contextmanager
def shared_platform(state_dir: Path, components: frozenset[Component], purpose: str) -> Iterator[PlatformState]:
    """Use a platform together with other fixtures and workers; each asks for the components it needs."""
    me = f"{os.getpid()} {purpose}"
    with _registry(state_dir):
        remove_abandoned()
        _say_owner(state_dir, me)
        state = up(UpOptions(state_dir, components))
    try:
        yield state
    finally:
        with _registry(state_dir):
            others = [owner for owner in _owners(state_dir) if owner != me and _runs(owner)]
            _owners_file(state_dir).write_text(json.dumps(others))
            if not others:
                down(state_dir, purge=True)


def remove_abandoned() -> None:
    """End the platforms of test sessions that were killed. Platforms that no test started have no owners file and stay."""
    for state_dir in processes.marked_states():
        # Another session may be removing the same one.
        with contextlib.suppress(FileNotFoundError):
            if _owners_file(state_dir).is_file() and not any(map(_runs, _owners(state_dir))):
                down(state_dir, purge=True)


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this session see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def apiserver(servers_dir: Path) -> Iterator[PlatformState]:
    """A real API server with our definitions and rights, its controllers, and no operator."""
    with shared_platform(servers_dir / "servers", API_SERVER, "apiserver") as state:
        yield state


@pytest.fixture(scope="session")
def weaviate_server(servers_dir: Path) -> Iterator[WeaviateServer]:
    """A real Weaviate with API keys."""
    with shared_platform(servers_dir / "servers", frozenset({Component.WEAVIATE}), "weaviate") as state:
        yield weaviate_of(state)


@pytest.fixture(scope="session")
def ray_head(servers_dir: Path) -> Iterator[RayHead]:
    """A real Ray head with token authentication."""
    with shared_platform(servers_dir / "servers", frozenset({Component.RAY}), "ray") as state:
        yield ray_of(state)


@pytest.fixture(scope="session")
def platform(servers_dir: Path) -> Iterator[PlatformState]:
    """Everything, the operator included: apart from the other fixtures, so that it reconciles only what its tests make."""
    with shared_platform(servers_dir / "platform", ALL, "platform") as state:
        yield state


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server: MinIO, compiled from its module on first use."""
    tools = resolve(MINIO, Settings.from_environment(os.environ), lambda _component, _message: None)
    folder = tmp_path_factory.mktemp("minio")
    address = f"127.0.0.1:{_free_port()}"
    server = S3Server(f"http://{address}", "gradatim-tests", "gradatim-tests-secret")
    env = {"HOME": str(folder), "MINIO_ROOT_USER": server.access_key, "MINIO_ROOT_PASSWORD": server.secret_key}
    env |= {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "PATH": os.environ["PATH"]}
    argv = [*tools.argv("minio"), "server", "--quiet", "--address", address, str(folder / "data")]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, env=env, stdout=log, stderr=log) as process:
        try:
            _wait_for_s3(server, process, folder / "log")
            yield server
        finally:
            process.terminate()
    shutil.rmtree(folder, ignore_errors=True)


def _wait_for_s3(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{server.endpoint}/minio/health/ready").is_success:
                    return
            time.sleep(0.1)
    raise RuntimeError(f"MinIO did not become ready: {log.read_text()[-2000:]}")


def _free_port() -> int:
    return next(port for port in range(18_000 + os.getpid() % 1000, 20_000) if is_free(port))


@contextlib.contextmanager
def _registry(state_dir: Path) -> Iterator[None]:
    state_dir.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(state_dir.with_suffix(".owners.lock")):
        yield


def _owners_file(state_dir: Path) -> Path:
    return state_dir.with_suffix(".owners")


def _owners(state_dir: Path) -> list[str]:
    try:
        return list(json.loads(_owners_file(state_dir).read_text()))
    except (FileNotFoundError, ValueError):
        return []


def _say_owner(state_dir: Path, owner: str) -> None:
    state_dir.parent.mkdir(parents=True, exist_ok=True)
    _owners_file(state_dir).write_text(json.dumps([*_owners(state_dir), owner]))


def _runs(owner: str) -> bool:
    return psutil.pid_exists(int(owner.split(maxsplit=1)[0]))
