"""Index builds whose workers live on two nodes: weights that only the driver can fetch or nobody, and workers and nodes that are lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyarrow import fs
from tests.integration.workload_index.support import MODEL, Bench, write_corpus
from tests.integration.workloads.conftest import Site, send, serve
from tests.support.platform import S3Server
from tests.support.raynodes import Attempt, RayNodes, kill
from tests.support.tinymodel import make_model

from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig, RunResult
from gradatim.operator.runtimes.base import Phase
from gradatim.rag.embed.files import digest

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
TOKEN = "unmistakable-hub-t0ken"
SMALL_BLOCKS = {"embedding": {"model": {"uri": MODEL}, "batchTokens": 128}}
TWO = {"compute": {"workers": 2}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub's model, which no other test brings to a node."""
    return make_model(tmp_path_factory.mktemp("gated"), seed=6)


@pytest.fixture
def hub(gated: Path) -> Iterator[Site]:
    """A hub with one gated model, which answers as the real one does."""
    files = {str(file.relative_to(gated)): file.read_bytes() for file in gated.rglob("*") if file.is_file()}
    listed = [{"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in files.items()]
    siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        if handler.headers.get("Authorization") != f"Bearer {TOKEN}":
            send(handler, 401, b"{}", X_Error_Code="GatedRepo")
        elif path == f"/api/models/org/tiny/revision/{COMMIT}":
            send(handler, 200, json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"/api/models/org/tiny/tree/{COMMIT}":
            send(handler, 200, json.dumps(listed).encode(), Content_Type="application/json")
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/"):
            data = files[path.removeprefix(f"/org/tiny/resolve/{COMMIT}/")]
            send(handler, 200, data, ETag=f'"{_oid(data)}"', X_Repo_Commit=COMMIT)
        else:
            send(handler, 404, b"{}", X_Error_Code="RepoNotFound")

    with serve() as site:
        site.routes["/"] = answer
        yield site


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _secret(bench: Bench, name: str, host: str, **keys: str) -> None:
    folder = bench.root / "secrets" / name
    folder.mkdir(parents=True)
    for key, value in {**keys, "hosts": host}.items():
        (folder / key.replace("_", "-")).write_text(value)


def _allowed(config: RunConfig) -> RunConfig:
    """The model's server lies on loopback, which a profile must allow."""
    limits = config.limits.model_copy(update={"allow_private_networks": True})
    return config.model_copy(update={"limits": limits}).sealed()


def _copies(nodes: RayNodes) -> list[Path]:
    return [path for path in nodes.tmp.glob("gradatim-models-*/*") if path.is_dir()]


def _says(nodes: RayNodes, secret: str) -> list[str]:
    """Where a secret stands that no node should know: logs of Ray and of its workers, command lines and environments."""
    found = []
    session = Path(nodes.get("/api/v0/nodes", detail="1") and _session(nodes))
    for log in (nodes.folder / "second.log", *session.glob("logs/**/*")):
        if log.is_file() and secret.encode() in log.read_bytes():
            found.append(str(log))
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [""])[0].startswith("ray::"):
            for name in ("cmdline", "environ"):
                if secret.encode() in Path(f"/proc/{process.pid}/{name}").read_bytes():
                    found.append(f"{name} of {process.info['cmdline']}")
    return found


def _session(nodes: RayNodes) -> str:
    from gradatim.platform.dirs import Layout

    return str((Layout(nodes.state.state_dir).ray_temp() / "session_latest").resolve())


async def test_weights_of_a_store_reach_every_node_and_its_keys_none(
    bench: Bench, ray_nodes: RayNodes, s3_server: S3Server, model: Path
) -> None:
    bucket = f"m{uuid.uuid4().hex[:12]}"
    host = s3_server.endpoint.removeprefix("http://")
    client = fs.S3FileSystem(
        access_key=s3_server.access_key, secret_key=s3_server.secret_key, endpoint_override=host, scheme="http",
        region="us-east-1", allow_bucket_creation=True,
    )  # fmt: skip
    client.create_dir(bucket)
    fs.copy_files(str(model), f"{bucket}/tiny", destination_filesystem=client)
    keys = {"access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key}
    _secret(bench, "models-read", host, **keys)
    write_corpus(bench.corpus, count=40)
    uri = {"uri": f"s3://{bucket}/tiny", "endpoint": s3_server.endpoint, "secretRef": {"name": "models-read"}}
    config = _allowed(bench.config(run="weights", embedding={"model": uri, "batchTokens": 128}, **TWO))
    attempt = await Attempt(ray_nodes, config, bench.store).submit()
    assert await attempt.ended() is Phase.SUCCEEDED, await attempt.log()
    assert len(attempt.worked("embed")) == 2
    assert len(set(attempt.workers("DEAD").values())) == 2
    assert digest(model) in [copy.name for copy in _copies(ray_nodes)]
    assert _says(ray_nodes, s3_server.secret_key) == []
    _same(attempt.written(), await asyncio.to_thread(_beside, bench, model))


def _beside(bench: Bench, model: Path) -> RunResult:
    """The same build by one worker, with the weights in a folder."""
    bench.drop_all()
    inside = bench.root / "weights"
    inside.symlink_to(model)
    config = bench.config(embedding={"model": {"uri": f"file://{inside}"}, "batchTokens": 128})
    limits = config.limits.model_copy(update={"allowed_source_roots": [str(bench.root), str(model.parent)]})
    return bench.built(config=config.model_copy(update={"limits": limits}).sealed())


def _same(left: RunResult | None, right: RunResult) -> None:
    assert left is not None
    assert left.index is not None
    assert right.index is not None
    for name in ("digest", "encoder_digest", "documents", "chunks", "rejected"):
        assert getattr(left.index, name) == getattr(right.index, name), name


def _drive(bench: Bench, nodes: RayNodes, hub: Site, config: RunConfig) -> tuple[int, RunResult]:
    """Run an attempt whose driver knows this hub."""
    file = bench.root / f"{config.run}.json"
    file.write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    env = {**os.environ, "HF_ENDPOINT": hub.url, "RAY_ADDRESS": f"127.0.0.1:{nodes.state.ports['ray-gcs']}"}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(nodes.state.ray_token)}
    env |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    argv = [sys.executable, "-m", "gradatim.workloads", "index", "--config", str(file)]
    with file.with_suffix(".log").open("wb") as log:
        status = subprocess.run(argv, env=env, stdout=log, stderr=log, timeout=200, check=False).returncode
    written = bench.store.read(f"{config.attempt_path}/result.json")
    return status, RunResult.model_validate_json(written)


def test_weights_of_a_hub_are_asked_for_once_and_reach_every_node(
    bench: Bench, ray_nodes: RayNodes, hub: Site, gated: Path
) -> None:
    _secret(bench, "hub-read", hub.host, token=TOKEN)
    write_corpus(bench.corpus, count=40)
    embedding: dict[str, Any] = {"model": {"uri": f"hf://org/tiny@{COMMIT}"}, "batchTokens": 128}
    status, closed = _drive(bench, ray_nodes, hub, bench.config(run="closed", embedding=embedding, **TWO))
    assert (status, closed.reason) == (1, Reason.CREDENTIALS_REFUSED.value), closed.message
    assert closed.message.startswith(f"embedding.model hf://org/tiny@{COMMIT}: cannot be fetched: ")
    assert "check the Secret named by secretRef" in closed.message
    embedding["model"] |= {"secretRef": {"name": "hub-read"}}
    status, result = _drive(bench, ray_nodes, hub, bench.config(run="opened", embedding=embedding, **TWO))
    assert (status, result.outcome) == (0, "Succeeded"), result.message
    asked = [path for path, headers in hub.seen if path.endswith("/model.safetensors") and "Authorization" in headers]
    assert len([path for path in asked if "/resolve/" in path]) <= 2, "one question about the file, and the file"
    there = {copy: copy.stat().st_ino for copy in _copies(ray_nodes)}
    assert digest(gated) in [copy.name for copy in there]
    assert _says(ray_nodes, TOKEN) == []
    assert TOKEN not in (bench.root / "opened.log").read_text()
    _same(result, _beside(bench, gated))
    bench.drop_all()
    status, _ = _drive(bench, ray_nodes, hub, bench.config(run="again", embedding=embedding, force=True, **TWO))
    assert status == 0
    assert {copy: copy.stat().st_ino for copy in _copies(ray_nodes)} == there, (
        "a model that is there is not copied again"
    )


@pytest.mark.parametrize(
    ("uri", "members", "reason", "says"),
    [
        (f"hf://org/none@{COMMIT}", {"secretRef": {"name": "hub-read"}}, Reason.MODEL_NOT_FOUND, "check name, revision"),
        ("s3://key:secret@bucket/x", {}, Reason.INVALID_SPEC, "holds more than bucket and path"),
        ("s3://bucket/x?endpoint_override=http://169.254.169.254", {}, Reason.INVALID_SPEC, "use endpoint, region"),
        ("s3://bucket/x", {"endpoint": "http://169.254.169.254"}, Reason.SOURCE_NOT_ALLOWED, "private address"),
        ("s3://bucket/x", {"secretRef": {"name": "hub-read"}}, Reason.SECRET_REFUSED, "may not be sent to s3.amazonaws.com"),
        ("s3://bucket/x", {"secretRef": {"name": "none"}}, Reason.SECRET_REFUSED, "is not mounted"),
    ],
    ids=[
        "a model that is not there", "keys in the address", "an address in the address", "a private endpoint",
        "a secret for another host", "a secret that is not there",
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_had_has_its_reason_and_field(
    bench: Bench,
    hub: Site,
    monkeypatch: pytest.MonkeyPatch,
    uri: str,
    members: dict[str, Any],
    reason: Reason,
    says: str,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    _secret(bench, "hub-read", hub.host, token=TOKEN)
    result = bench.run(embedding={"model": {"uri": uri, **members}})
    assert (result.failure, result.reason) == ("User", reason.value), result.message
    assert "embedding.model" in result.message or "secret" in result.message
    assert says in result.message
    assert "key:secret" not in result.message
    assert bench.collections() == []


def test_a_dead_hub_is_a_dependency(bench: Bench, monkeypatch: pytest.MonkeyPatch, dead_port: int) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{dead_port}")
    result = bench.run(embedding={"model": {"uri": f"hf://org/tiny@{COMMIT}"}})
    assert (result.failure, result.reason) == ("Dependency", Reason.SOURCE_UNREACHABLE.value), result.message


@pytest.fixture
def undisturbed(bench: Bench) -> RunResult:
    """What one worker makes of a corpus of some thirty blocks; its collection is removed, its version forgotten."""
    write_corpus(bench.corpus, count=160)
    result = bench.built(**SMALL_BLOCKS)
    bench.drop_all()
    bench.store.delete(bench.store.path_of(result.index.uri))  # type: ignore[union-attr]
    return result


@pytest.mark.parametrize("lost", ["a worker", "a node"])
async def test_what_is_lost_while_embedding_costs_its_blocks_and_nothing_else(
    bench: Bench, ray_nodes: RayNodes, undisturbed: RunResult, lost: str
) -> None:
    attempt = await Attempt(ray_nodes, bench.config(run="lossy", **SMALL_BLOCKS, **TWO), bench.store).submit()
    workers = await attempt.caught()
    assert len(set(workers.values())) == 2
    on_second = ray_nodes.second_node()
    first, second = sorted(workers, key=lambda pid: workers[pid] != on_second)
    await attempt.half_way(first, second, lambda: bool(_blocks(attempt)))
    if lost == "a worker":
        kill(first)
    else:
        await asyncio.to_thread(ray_nodes.kill_second)
    assert await attempt.ended() is Phase.SUCCEEDED, await attempt.log()
    assert "is lost" in await attempt.log()
    _same(attempt.written(), undisturbed)
    written = {path: times for path, times in attempt.checkpoints.items() if "/vectors-" in path}
    assert {len(times) for times in written.values()} == {1}, "no block was written twice"
    assert len(written) <= len(attempt.calls("embed")) <= len(written) + 2, "only the lost worker's two were done again"
    _true(attempt)


def _blocks(attempt: Attempt) -> list[str]:
    return [path for path in attempt.store.list(f"{attempt.config.object_path}/checkpoints") if "/vectors-" in path]


def _true(attempt: Attempt) -> None:
    """Progress never fell, and the missing worker was told."""
    seen = attempt.heartbeats
    percents = [document.progress.percent for document in seen]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert any("1 of 2 workers at work" in document.progress.message for document in seen)
    embed = [document.progress for document in seen if document.progress.stage == "embed"]
    assert [p.step for p in embed] == sorted(p.step for p in embed)
    assert all(p.step <= p.total for p in embed)
