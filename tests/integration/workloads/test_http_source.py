"""The http source against a real server: redirects, limits, credentials, private addresses."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workloads.conftest import Site, serve
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources import http
from gradatim.workloads.sources.http import HttpAccess, HttpLimits, download


def _run(run: DatasetRun, *urls: str, **members: Any) -> DatasetRun:
    return run.with_spec(source={"http": {"urls": list(urls), **members}})


def test_pages_become_documents_named_by_host_and_path(run: DatasetRun, site: Site) -> None:
    urls = [
        site.page(
            "/guide/intro", b"<html><body><p>Hello from html</p></body></html>", Content_Type="text/html; charset=utf-8"
        ),
        site.page("/notes.md", b"# Notes\n\nText."),
    ]
    result = _run(run, *urls).execute()
    assert result.outcome == "Succeeded", result.message
    host = site.host.replace(":", "_")
    assert [(row["file"], row["text"].splitlines()[0]) for row in run.rows(result)] == [
        (f"{host}/guide/intro.html", "Hello from html"),
        (f"{host}/notes.md", "# Notes"),
    ]


@pytest.mark.parametrize(
    ("path", "content"), [("/rows.jsonl", b'{"text": "one"}\n{"text": "two"}\n'), ("/rows.csv", b"text\none\ntwo\n")]
)
def test_rows_are_read_by_line(run: DatasetRun, site: Site, path: str, content: bytes) -> None:
    result = _run(run, site.page(path, content)).execute()
    assert result.outcome == "Succeeded", result.message
    assert [row["text"] for row in run.rows(result)] == ["one", "two"]


def test_a_second_attempt_reads_what_the_first_one_downloaded(run: DatasetRun, site: Site) -> None:
    url = site.page("/a.md", b"first content")
    failing = {"expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 9}}]}
    first = _run(run, url).with_spec(validation=failing)
    assert first.execute().reason == Reason.DATA_INVALID
    site.page("/a.md", b"second content")
    assert first.but(number=2).execute().reason == Reason.DATA_INVALID
    assert [path for path, _ in site.seen] == ["/a.md"]


def test_redirects_stay_on_the_host(run: DatasetRun, site: Site) -> None:
    site.page("/old", b"", 302, Location="/new.md")
    site.page("/new.md", b"moved here")
    assert _run(run, f"{site.url}/old").execute().outcome == "Succeeded"
    with serve() as other:
        other.page("/secret.md", b"internal")
        site.page("/away", b"", 302, Location=f"{other.url}/secret.md")
        result = _run(run.but(run="d-r2"), f"{site.url}/away").execute()
        assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)
        assert other.seen == []


def test_redirects_have_an_end(run: DatasetRun, site: Site) -> None:
    site.page("/loop", b"", 302, Location="/loop")
    result = _run(run, f"{site.url}/loop").execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_UNREACHABLE.value)
    assert len(site.seen) == http.MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        (401, Failure.USER, Reason.CREDENTIALS_REFUSED),
        (403, Failure.USER, Reason.CREDENTIALS_REFUSED),
        (404, Failure.USER, Reason.SOURCE_UNREACHABLE),
        (503, Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE),
        (429, Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE),
    ],
)
def test_statuses_have_their_class(run: DatasetRun, site: Site, status: int, failure: Failure, reason: Reason) -> None:
    result = _run(run, site.page("/a.md", b"no", status)).execute()
    assert (result.failure, result.reason) == (failure, reason.value)
    assert str(status) in result.message
    assert len(site.seen) == (http.TRIES if failure is Failure.DEPENDENCY else 1)


def test_a_server_that_recovers_is_tried_again(run: DatasetRun, site: Site) -> None:
    url = site.page("/a.md", b"", 503)
    fail = site.routes["/a.md"]

    def once(handler: BaseHTTPRequestHandler) -> None:
        site.page("/a.md", b"back again")
        fail(handler)

    site.routes["/a.md"] = once
    assert _run(run, url).execute().outcome == "Succeeded"


def test_a_dead_server_is_a_dependency(run: DatasetRun, dead_port: int) -> None:
    result = _run(run, f"http://127.0.0.1:{dead_port}/a.md").execute()
    assert (result.failure, result.reason) == (Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE.value)


def test_bodies_beyond_the_limit_are_refused_declared_or_not(run: DatasetRun, site: Site) -> None:
    declared = site.page("/declared.md", b"x" * 2001)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"x" * 1000)

    site.routes["/endless.md"] = endless
    for number, url in enumerate((declared, f"{site.url}/endless.md")):
        result = _run(run.but(run=f"d-r{number}"), url, maxBytes=2000).execute()
        assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)
        assert "larger than 2000 bytes" in result.message


def test_a_server_that_drips_is_given_up(site: Site, tmp_path: Path) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.02)

    site.routes["/slow.md"] = drip
    access = HttpAccess(tmp_path, HttpLimits(1_000_000, total_seconds=0.3), allow_private=True)
    with pytest.raises(WorkloadError, match=r"took longer than 0\.3 s"):
        download("docs", f"{site.url}/slow.md", access)


def test_private_addresses_are_refused_before_any_connection(run: DatasetRun, site: Site) -> None:
    result = _run(run.but(limits={}), site.page("/a.md", b"internal")).execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)
    assert site.seen == []


def test_the_connection_goes_to_the_address_that_was_checked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that changes its answer between check and connection must gain nothing."""
    port = int(site.host.partition(":")[2])
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "docs.example":
            return real(host, *args, **kwargs)
        asked.append(name)
        address = "127.0.0.1" if len(asked) == 1 else "203.0.113.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    site.page("/a.md", b"checked")
    found = download(
        "docs", f"http://docs.example:{port}/a.md", HttpAccess(tmp_path, HttpLimits(1000), allow_private=True)
    )
    assert found.file.read_bytes() == b"checked"
    assert asked == ["docs.example"]
    assert site.seen[0][1]["Host"] == f"docs.example:{port}"


def test_credentials_go_to_the_host_they_name_and_nowhere_else(
    run: DatasetRun, site: Site, secret: Callable[..., Path]
) -> None:
    mounted = secret("docs-read", site.host, token="t0ken")
    secret("elsewhere", "docs.example.com", token="t0ken")
    url = site.page("/a.md", b"private text")
    good = _run(run, url, secretRef={"name": "docs-read"}).but(secrets=mounted).execute()
    assert good.outcome == "Succeeded", good.message
    assert site.seen[-1][1]["Authorization"] == "Bearer t0ken"
    bad = _run(run, url, secretRef={"name": "elsewhere"}).but(secrets=mounted, run="d-r2").execute()
    assert (bad.failure, bad.reason) == (Failure.USER, Reason.SECRET_REFUSED.value)
    assert "t0ken" not in bad.message
    assert len(site.seen) == 1


def test_the_certificate_is_checked_against_the_name(run: DatasetRun, secure_site: Site) -> None:
    result = _run(run, secure_site.page("/a.md", b"x")).execute()
    assert (result.failure, result.reason) == (Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE.value)
    assert "CERTIFICATE_VERIFY_FAILED" in result.message
