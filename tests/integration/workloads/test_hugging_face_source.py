"""The huggingFace source: the hub's own client against a local server that answers as the hub does."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.integration.workloads.conftest import Site, send
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = b"---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: data/part-*\n---\n# Card\n"


def _parquet(texts: list[str]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), out)
    return out.getvalue()


FILES = {
    "README.md": CARD,
    "data/part-0.parquet": _parquet(["a", "b"]),
    "data/other.jsonl": b'{"text": "c"}\n',
    "run.py": b"x",
}


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Serve one data set; a token other than `hub-token` is refused for the repository `org/gated`."""
    monkeypatch.setenv("HF_ENDPOINT", site.url)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        if "/org/gated/" in path and handler.headers.get("Authorization") != "Bearer hub-token":
            send(handler, 401, b"{}")
        elif path.startswith("/api/datasets/") and path.endswith(f"/tree/{COMMIT}"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in FILES.items()
            ]
            send(handler, 200, json.dumps(entries).encode(), Content_Type="application/json")
        elif f"/resolve/{COMMIT}/" in path:
            data = FILES[path.partition(f"/resolve/{COMMIT}/")[2]]
            send(handler, 200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=COMMIT)
        else:
            send(handler, 404, b"{}", X_Error_Code="RevisionNotFound")

    site.routes["/"] = answer
    return site


def _run(run: DatasetRun, **members: Any) -> DatasetRun:
    source = {"repo": "org/open", "revision": COMMIT, "config": "main", **members}
    return run.with_spec(schemaKind="text", source={"huggingFace": source})


@pytest.mark.usefixtures("hub")
def test_the_files_of_config_and_split_are_read_and_nothing_else(run: DatasetRun, hub: Site) -> None:
    here = _run(run)
    result = here.execute()
    assert result.outcome == "Succeeded", result.message
    assert [(row["text"], row["file"], row["row"]) for row in here.rows(result)] == [
        ("a", "data/part-0.parquet", 1), ("b", "data/part-0.parquet", 2),
    ]  # fmt: skip
    assert not any("run.py" in path or "other" in path for path, _ in hub.seen)
    assert not any("Authorization" in headers or "authorization" in headers for _, headers in hub.seen)


@pytest.mark.usefixtures("hub")
def test_a_token_opens_a_gated_repository_on_the_host_it_names(
    run: DatasetRun, hub: Site, secret: Callable[..., Path]
) -> None:
    mounted = secret("hub-read", hub.host, token="hub-token")
    closed = _run(run, repo="org/gated").execute()
    assert (closed.failure, closed.reason) == (Failure.USER, Reason.CREDENTIALS_REFUSED.value)
    opened = _run(run.but(run="d-r2", secrets=mounted), repo="org/gated", secretRef={"name": "hub-read"}).execute()
    assert opened.outcome == "Succeeded", opened.message


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("members", "failure", "reason"),
    [
        ({"revision": "f" * 40}, Failure.USER, Reason.SOURCE_UNREACHABLE),
        ({"split": "test"}, Failure.DATA, Reason.SOURCE_EMPTY),
    ],
    ids=["a revision that is not there", "a split that is not there"],
)
def test_what_is_not_on_the_hub_has_its_reason(
    run: DatasetRun, members: dict[str, str], failure: Failure, reason: Reason
) -> None:
    result = _run(run, **members).execute()
    assert (result.failure, result.reason) == (failure, reason.value), result.message


def test_a_dead_hub_is_a_dependency(run: DatasetRun, dead_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{dead_port}")
    result = _run(run).execute()
    assert (result.failure, result.reason) == (Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE.value), result.message
