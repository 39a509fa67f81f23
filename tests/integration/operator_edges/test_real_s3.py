"""The artifact store against a real S3 server: what is absent, what is unknown, and what deletion leaves alone."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pyarrow import fs
from tests.support.platform import S3Server

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.errors import DependencyError
from gradatim.operator.stores.artifacts import ArtifactStore
from gradatim.operator.stores.documents import ResultRejected
from gradatim.operator.stores.identity import ACCESS_KEY, SECRET_KEY, Opener, Secret

OBJECT = "ragindex/manuals/u-1"
RESULT = f"{OBJECT}/run/a1/result.json"


@pytest.fixture
def writer(s3_server: S3Server) -> Any:
    """Return a file system with which a workload would write."""
    return fs.S3FileSystem(
        endpoint_override=s3_server.endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        allow_bucket_creation=True,
    )


@pytest.fixture
def bucket(writer: Any) -> str:
    """Return a bucket that nothing else uses."""
    name = f"b{uuid.uuid4().hex[:12]}"
    writer.create_dir(name)
    return name


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    """Return an opener that is closed again."""
    opened = Opener()
    yield opened
    await opened.close()


def opened(opener: Opener, server: S3Server, bucket: str, secret_key: str | None = None) -> ArtifactStore:
    """Return the store of the namespace `team`."""
    identity = StoreIdentity(
        profile="p",
        profile_uid="u",
        artifact_root=f"s3://{bucket}/{{namespace}}/",
        artifact_endpoint=server.endpoint,
    )
    keys = {ACCESS_KEY: server.access_key, SECRET_KEY: secret_key or server.secret_key}
    return opener.artifacts(identity, "team", Secret(secret_key or "", keys))


def put(writer: Any, path: str, data: bytes = b"{}") -> None:
    """Write an object."""
    with writer.open_output_stream(path) as stream:
        stream.write(data)


async def test_documents_are_read_listed_and_deleted(
    opener: Opener, s3_server: S3Server, writer: Any, bucket: str
) -> None:
    store = opened(opener, s3_server, bucket)
    assert await store.read(RESULT) is None
    assert await store.list(OBJECT) == []
    await store.delete(OBJECT, within=OBJECT)
    put(writer, f"{bucket}/team/{RESULT}", b"12345")
    put(writer, f"{bucket}/team/ragindex/manuals/u-12/keep")
    put(writer, f"{bucket}/other/{RESULT}")
    assert await store.read(RESULT, limit=5) == b"12345"
    with pytest.raises(ResultRejected):
        await store.read(RESULT, limit=4)
    assert await store.list(OBJECT) == [RESULT]
    for _ in range(2):
        await store.delete(OBJECT, within=OBJECT)
    assert await store.read(RESULT) is None
    assert await store.list("ragindex") == ["ragindex/manuals/u-12/keep"]
    assert writer.get_file_info(f"{bucket}/other/{RESULT}").type == fs.FileType.File


async def test_a_probe_writes_and_reads(opener: Opener, s3_server: S3Server, bucket: str) -> None:
    store = opened(opener, s3_server, bucket)
    await store.probe()
    await store.probe()
    assert await store.list("_control") == ["_control/probe/operator"]


async def test_a_missing_bucket_is_unknown_and_not_empty(opener: Opener, s3_server: S3Server) -> None:
    store = opened(opener, s3_server, f"b{uuid.uuid4().hex[:12]}")
    for call in (store.read(RESULT), store.list(OBJECT), store.delete(OBJECT, within=OBJECT), store.probe()):
        with pytest.raises(DependencyError) as caught:
            await call
        assert caught.value.reason == Reason.STORE_UNREACHABLE


async def test_wrong_keys_are_told_apart(opener: Opener, s3_server: S3Server, bucket: str) -> None:
    store = opened(opener, s3_server, bucket, secret_key="wrong")
    for call in (store.read(RESULT), store.list(OBJECT), store.probe()):
        with pytest.raises(DependencyError) as caught:
            await call
        assert caught.value.reason == Reason.CREDENTIALS_REFUSED
        assert "wrong" not in caught.value.message


async def test_a_server_that_is_down_is_unknown(opener: Opener, s3_server: S3Server) -> None:
    down = S3Server("http://127.0.0.1:9", s3_server.access_key, s3_server.secret_key)
    with pytest.raises(DependencyError) as caught:
        await opened(opener, down, "bucket").read(RESULT)
    assert caught.value.reason == Reason.STORE_UNREACHABLE
