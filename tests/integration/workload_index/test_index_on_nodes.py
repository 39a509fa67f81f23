"""Index builds whose workers live on two nodes, with weights that only the driver can fetch; and models that nobody can."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyarrow import fs
from tests.integration.workload_index.support import Bench, write_corpus
from tests.integration.workloads.conftest import Site
from tests.support.platform import S3Server
from tests.support.raynodes import Attempt, RayNodes
from tests.support.tinymodel import make_model

from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig, RunResult
from gradatim.operator.runtimes.base import Phase
from gradatim.rag.embed.files import digest

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
TOKEN = "unmistakable-hub-t0ken"
TWO = {"compute": {"workers": 2}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


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
