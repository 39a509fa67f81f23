"""What may be wrong with input, from end to end: a condition's worth of reason and place, and nothing that looks like a version.

Rows, encodings and archives in every format are in the unit tests of the readers and in `hostile`; addresses in the tests of their source.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workloads.conftest import Site
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.run import StoreConfig
from gradatim.api.runstatus import Failure

GOOD = '{"text": "a good row"}\n'
# As S3 answers: status 400, and a code that Arrow's client has no name for.
EXPIRED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message><RequestId>1</RequestId></Error>"""
CASES: list[tuple[str, str, str, bytes | str, str]] = [
    ("no rows at all", "text", "a.jsonl", "\n", "Empty (1): data:a.jsonl: a.jsonl holds no rows"),
    ("another encoding", "text", "a.jsonl", b'{"text": "caf\xe9"}\n', "WrongEncoding (1): data:a.jsonl:1: "),
    ("a number where text belongs", "text", "a.jsonl", '{"text": 3}\n', "WrongType (1): data:a.jsonl:1: column text"),
    ("a broken PDF", "documents", "a.pdf", b"%PDF-1.7\nnothing", "Broken (1): data:a.pdf: "),
    ("a text that is none", "documents", "a.txt", b"\x00\x80\xfe" * 200, "data:a.txt: "),
    ("a missing column", "text", "a.csv", "body\nx\n", "data:a.csv has no column text; it has body; map it with spec.columns"),
]  # fmt: skip


def _nothing_published(run: DatasetRun) -> bool:
    return not any("/versions/" in path or "/work/" in path for path in run.store.list("dataset"))


@pytest.mark.parametrize(("kind", "name", "content", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_files_are_named_and_nothing_is_published(
    run: DatasetRun, kind: str, name: str, content: bytes | str, says: str
) -> None:
    run = run.with_spec(schemaKind=kind).with_files({name: content})
    result = run.execute()
    assert (result.outcome, result.failure) == ("Failed", Failure.DATA)
    assert says in result.message
    assert _nothing_published(run)


def test_a_line_of_a_gigabyte_costs_its_row_and_no_memory(run: DatasetRun) -> None:
    run = run.with_spec(schemaKind="text", validation={"maxRejectedFraction": 0.5})
    run = run.with_files({"a.jsonl": GOOD})
    with (run.data / "a.jsonl").open("r+b") as stream:
        stream.truncate(1 << 30)  # a hole: zeros that take no disk
        stream.seek(0, 2)
        stream.write(b"\n" + GOOD.replace("good", "second").encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run.execute()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    assert result.outcome == "Succeeded", result.message
    assert [row["text"] for row in run.rows(result)] == ["a good row", "a second row"]
    assert [(r.name, r.count) for r in result.rejections] == [("LineTooLong", 1)]
    assert result.rejections[0].examples[0].startswith("data:a.jsonl:2: line 2 is longer than")
    assert grown < 400  # MiB


def test_a_dead_endpoint_is_named_and_tried_again(run: DatasetRun, dead_port: int) -> None:
    for member in (
        {"http": {"urls": [f"http://127.0.0.1:{dead_port}/a.md"]}},
        {"s3": {"uri": "s3://bucket/docs/", "endpoint": f"http://127.0.0.1:{dead_port}"}},
        {"git": {"url": f"https://127.0.0.1:{dead_port}/a.git"}},
    ):
        result = run.with_spec(source=member).execute()
        assert (result.failure, result.reason) == (Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE.value), result.message
        assert result.message.startswith("source data: ")
    assert _nothing_published(run)


@pytest.fixture
def expired(site: Site) -> Site:
    """A store whose clients hold a session token of yesterday."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(400)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(EXPIRED)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(EXPIRED)

    site.routes["/"] = answer
    return site


KEYS = {"access_key_id": "a", "secret_access_key": "unmistakable-s3cret", "session_token": "yesterday"}


def test_expired_keys_of_a_source_are_the_users_to_renew(
    run: DatasetRun, expired: Site, secret: Callable[..., Path]
) -> None:
    source: dict[str, Any] = {"uri": "s3://bucket/docs/", "endpoint": expired.url, "secretRef": {"name": "docs-read"}}
    run = run.with_spec(source={"s3": source}).but(secrets=secret("docs-read", expired.host, **KEYS))
    result = run.execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.CREDENTIALS_REFUSED.value), result.message
    assert "a session token may have expired" in result.message
    assert result.message.endswith("check the Secret named by secretRef")
    assert "unmistakable" not in result.message
    assert _nothing_published(run)


def test_expired_keys_of_the_artifact_store_are_the_platforms_to_renew(
    run: DatasetRun, expired: Site, secret: Callable[..., Path]
) -> None:
    from gradatim.workloads.errors import classify

    store = StoreConfig(root="s3://bucket/team/", endpoint=expired.url, secret_name="store-write")
    run = run.but(secrets=secret("store-write", **KEYS), store_config=store)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - Arrow's errors have no number; the text is looked at below
        run.store.write("a", b"1")
    found = classify(caught.value)
    assert (found.failure, found.reason) == (Failure.USER, Reason.CREDENTIALS_REFUSED)
    assert "workloadSecretName" in found.message
