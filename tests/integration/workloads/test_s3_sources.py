"""S3 against MinIO: the source, and the artifact store of a whole attempt."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from tests.integration.workloads.conftest import Site, send, serve
from tests.support.platform import S3Server
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.run import StoreConfig
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import NotFound
from gradatim.workloads.sources import guard
from gradatim.workloads.sources.gateway import Gateway


def _client(server: S3Server) -> fs.S3FileSystem:
    options = {"endpoint_override": server.endpoint.removeprefix("http://"), "scheme": "http", "region": "us-east-1"}
    return fs.S3FileSystem(
        access_key=server.access_key, secret_key=server.secret_key, allow_bucket_creation=True, **options
    )


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"b{uuid.uuid4().hex[:12]}"
    client = _client(s3_server)
    client.create_dir(name)
    for path, content in (
        ("docs/a.md", b"# One"),
        ("docs/b/c.md", b"# Two"),
        ("docs/.hidden.md", b"x"),
        ("other.md", b"y"),
    ):
        with client.open_output_stream(f"{name}/{path}") as stream:
            stream.write(content)
    return name


@pytest.fixture
def secrets(s3_server: S3Server, secret: Callable[..., Path]) -> Path:
    host = s3_server.endpoint.removeprefix("http://")
    keys = {"access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key}
    secret("s3-read", host, **keys)
    secret("store-write", **keys)
    return secret("wrong", host, access_key_id="nobody", secret_access_key="no-such-secret")


def _run(run: DatasetRun, server: S3Server, uri: str, **members: Any) -> DatasetRun:
    s3 = {"uri": uri, "endpoint": server.endpoint, "secretRef": {"name": "s3-read"}, **members}
    return run.with_spec(source={"s3": s3})


def test_a_prefix_is_read_and_the_artifact_is_written_on_s3(
    run: DatasetRun, s3_server: S3Server, bucket: str, secrets: Path
) -> None:
    store = StoreConfig(root=f"s3://{bucket}/team/", endpoint=s3_server.endpoint, secret_name="store-write")
    here = _run(run, s3_server, f"s3://{bucket}/docs/").but(secrets=secrets, store_config=store)
    result = here.execute()
    assert result.outcome == "Succeeded", result.message
    assert [(row["file"], row["text"]) for row in here.rows(result)] == [("a.md", "# One"), ("b/c.md", "# Two")]
    assert result.dataset is not None
    assert result.dataset.uri.startswith(f"s3://{bucket}/team/dataset/tickets/uid-1/versions/")
    again = here.but(number=2).execute()
    assert (again.outcome, again.dataset) == ("Succeeded", result.dataset)
    unchanged = here.but(run="d-r2", previous=result.dataset.digest).execute()
    assert (unchanged.outcome, unchanged.dataset) == ("Unchanged", result.dataset)


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["first row", "second row"]}), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", b'{"text": "first row"}\n{"text": "second row"}\n'),
        ("rows.json", b'[{"text": "first row"}, {"text": "second row"}]'),
        ("rows.csv", b"text\nfirst row\nsecond row\n"),
        ("rows.parquet", _parquet()),
    ],
    ids=["lines of JSON", "an array", "csv", "parquet"],
)
def test_tables_are_read_from_a_bucket(
    run: DatasetRun, s3_server: S3Server, bucket: str, secrets: Path, name: str, content: bytes
) -> None:
    with _client(s3_server).open_output_stream(f"{bucket}/tables/{name}") as stream:
        stream.write(content)
    here = _run(run, s3_server, f"s3://{bucket}/tables/").but(secrets=secrets)
    result = here.execute()
    assert result.outcome == "Succeeded", result.message
    assert [row["text"] for row in here.rows(result)] == ["first row", "second row"]


def test_one_object_is_a_source_too(run: DatasetRun, s3_server: S3Server, bucket: str, secrets: Path) -> None:
    here = _run(run, s3_server, f"s3://{bucket}/docs/b/c.md").but(secrets=secrets)
    assert [row["file"] for row in here.rows(here.execute())] == ["c.md"]


@pytest.mark.parametrize(
    ("path", "members", "expected"),
    [
        ("docs/", {"secretRef": {"name": "wrong"}}, (Failure.USER, Reason.CREDENTIALS_REFUSED)),
        ("docs/", {"secretRef": None}, (Failure.USER, Reason.CREDENTIALS_REFUSED)),
        ("docs/", {"secretRef": {"name": "store-write"}}, (Failure.USER, Reason.SECRET_REFUSED)),
        ("nothing/", {}, (Failure.DATA, Reason.SOURCE_EMPTY)),
    ],
    ids=["wrong keys", "no keys", "a secret of the platform", "an empty prefix"],
)
def test_what_cannot_be_read_has_its_reason(
    run: DatasetRun, s3_server: S3Server, bucket: str, secrets: Path,
    path: str, members: dict[str, Any], expected: tuple[Failure, Reason],
) -> None:  # fmt: skip
    result = _run(run, s3_server, f"s3://{bucket}/{path}", **members).but(secrets=secrets).execute()
    assert (result.failure, result.reason) == (expected[0], expected[1].value), result.message


def test_a_bucket_that_is_not_there_is_the_users(run: DatasetRun, s3_server: S3Server, secrets: Path) -> None:
    result = _run(run, s3_server, "s3://no-such-bucket-here/x").but(secrets=secrets).execute()
    assert result.failure in {Failure.USER, Failure.DATA}, result.message


def test_a_private_endpoint_is_refused(run: DatasetRun, s3_server: S3Server, bucket: str, secrets: Path) -> None:
    result = _run(run.but(limits={}), s3_server, f"s3://{bucket}/docs/").but(secrets=secrets).execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine's own servers pass for public ones, as far as the check of addresses goes."""
    monkeypatch.setattr(guard, "is_public", lambda _: True)


def test_a_public_endpoint_is_read_where_private_networks_are_not_allowed(
    run: DatasetRun, s3_server: S3Server, bucket: str, secrets: Path, public: None
) -> None:
    """With signed requests, listings, several objects and one larger than any buffer on the way."""
    text = "much text " * 200_000
    with _client(s3_server).open_output_stream(f"{bucket}/docs/much.md") as stream:
        stream.write(text.encode())
    here = _run(run.but(limits={}), s3_server, f"s3://{bucket}/docs/").but(secrets=secrets)
    result = here.execute()
    assert result.outcome == "Succeeded", result.message
    assert [(row["file"], len(row["text"])) for row in here.rows(result)] == [
        ("a.md", 5), ("b/c.md", 5), ("much.md", len(text)),
    ]  # fmt: skip


def _store_that_redirects(site: Site, where: str) -> None:
    """Answer as a store that has one object, whose content it says lies elsewhere."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "HEAD":
            dated = {"Last_Modified": "Sun, 29 Nov 2026 10:00:00 GMT", "ETag": '"1"'}
            send(handler, 200, b"12345678", **dated)
        else:
            send(handler, 302, b"", Location=where)

    site.routes["/"] = answer


def test_an_endpoint_cannot_lead_to_another_host(run: DatasetRun, site: Site, public: None) -> None:
    with serve() as internal:
        internal.page("/secret", b"internal")
        _store_that_redirects(site, f"{internal.url}/secret")
        source = {"s3": {"uri": "s3://bucket/a.md", "endpoint": site.url, "region": "eu-west-1"}}
        result = run.but(limits={}).with_spec(source=source).execute()
        assert internal.seen == []
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value), result.message
    assert f"leads to {internal.url}, and redirects must stay on their host" in result.message
    assert site.seen, "it was the store that was asked"


def test_an_encrypted_endpoint_is_reached_through_its_gateway(
    secure_site: Site, certificate: Path, public: None
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, 200, b"an object", Last_Modified="Sun, 29 Nov 2026 10:00:00 GMT", ETag='"1"')

    secure_site.routes["/"] = answer
    gateway = Gateway("docs", secure_site.url)
    client = fs.S3FileSystem(
        anonymous=True, region="eu-west-1", scheme="https", endpoint_override=secure_site.host,
        tls_ca_file_path=str(certificate), proxy_options=gateway.proxy,
    )  # fmt: skip
    with client.open_input_file("bucket/a.md") as file:
        assert file.read() == b"an object"
    assert gateway.trouble is None


def test_an_endpoint_that_does_not_answer_is_named(run: DatasetRun, dead_port: int, public: None) -> None:
    source = {"s3": {"uri": "s3://bucket/a.md", "endpoint": f"http://127.0.0.1:{dead_port}", "region": "eu-west-1"}}
    result = run.but(limits={}).with_spec(source=source).execute()
    assert (result.failure, result.reason) == (Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE.value), result.message
    assert "cannot be reached (Connection refused)" in result.message


def test_a_name_that_turns_to_a_private_address_is_refused(
    run: DatasetRun, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, real, asked = int(site.host.partition(":")[2]), socket.getaddrinfo, list[str]()

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "store.example":
            return real(host, *args, **kwargs)
        asked.append(host)
        address = "1.1.1.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    source = {"s3": {"uri": "s3://bucket/a.md", "endpoint": f"http://store.example:{port}", "region": "eu-west-1"}}
    result = run.but(limits={}).with_spec(source=source).execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value), result.message
    assert len(asked) > 1
    assert site.seen == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("CONNECT 127.0.0.1:{internal} HTTP/1.1", 403),
        ("CONNECT 127.0.0.1:{own} HTTP/1.1", 403),
        ("GET http://127.0.0.1:{internal}/secret HTTP/1.1", 403),
        ("GET http://127.0.0.1:99999/ HTTP/1.1", 403),
        ("GET /secret HTTP/1.1", 403),
        ("PUT http://127.0.0.1:{own}/a HTTP/1.1", 405),
        ("nonsense", 400),
        ("GET http://127.0.0.1:{own}/a HTTP/1.1", 200),
    ],
)
def test_a_gateway_leads_to_its_host_alone(site: Site, public: None, request_line: str, status: int) -> None:
    with serve() as internal:
        site.page("/a", b"an object")
        internal.page("/secret", b"internal")
        gateway = Gateway("docs", site.url)
        ports = {name: at.host.partition(":")[2] for name, at in (("own", site), ("internal", internal))}
        with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
            client.sendall(
                request_line.format(**ports).encode() + b"\r\nHost: x\r\nProxy-Connection: keep-alive\r\n\r\n"
            )
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert internal.seen == []
    assert answer.startswith(f"HTTP/1.{1 if status != 200 else 0} {status} ".encode()), answer
    assert [(path, "Proxy-Connection" in headers) for path, headers in site.seen] == (
        [("/a", False)] if status == 200 else []
    )


def test_the_store_on_s3_behaves_as_on_disk(run: DatasetRun, s3_server: S3Server, bucket: str, secrets: Path) -> None:
    config = StoreConfig(root=f"s3://{bucket}/team/", endpoint=s3_server.endpoint, secret_name="store-write")
    store = run.but(secrets=secrets, store_config=config).store
    store.write("a/b/two", b"22")
    store.write("a/one", b"1")
    assert store.list("a") == ["a/b/two", "a/one"]
    assert (store.read("a/one"), store.size("a/b/two"), store.exists("a"), store.list("zzz")) == (b"1", 2, False, [])
    with pytest.raises(NotFound):
        store.read("a/three")
    store.delete("a/b")
    store.delete("a/b")
    assert store.list("a") == ["a/one"]


def test_a_store_that_is_away_is_a_dependency(run: DatasetRun, dead_port: int, secrets: Path) -> None:
    from gradatim.workloads.errors import classify

    config = StoreConfig(root="s3://bucket/team/", endpoint=f"http://127.0.0.1:{dead_port}", secret_name="store-write")
    store = run.but(secrets=secrets, store_config=config).store
    with pytest.raises((OSError, pa.ArrowException)) as caught:
        store.write("a", b"1")
    assert (classify(caught.value).failure, classify(caught.value).reason) == (
        Failure.DEPENDENCY,
        Reason.STORE_UNREACHABLE,
    )
