"""Looking at a collection without the client: what a real Weaviate answers, and what answers cannot be used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import weaviate
from tests.integration.rag.test_weaviate_collections import address_of, design_of, rows, writer_of
from tests.support.platform import WeaviateServer

from gradatim.rag.store.address import VectorStoreAddress
from gradatim.rag.store.connection import connected
from gradatim.rag.store.errors import CredentialsRefused, VectorStoreError, VectorStoreUnreachable
from gradatim.rag.store.presence import Presence, presence


@pytest.fixture
def client(weaviate_server: WeaviateServer) -> Iterator[weaviate.WeaviateClient]:
    with connected(address_of(weaviate_server)) as found:
        yield found


def test_a_collection_tells_its_description_and_its_exact_count(
    client: weaviate.WeaviateClient, weaviate_server: WeaviateServer
) -> None:
    writer = writer_of(client)
    assert presence(address_of(weaviate_server), writer.name) is None
    writer.create(design_of(writer))
    assert presence(address_of(weaviate_server), writer.name) == Presence('{"made": "by a test"}', 0)
    writer.sync(rows(37))
    assert presence(address_of(weaviate_server), writer.name) == Presence('{"made": "by a test"}', 37)
    writer.drop()
    assert presence(address_of(weaviate_server), writer.name) is None


def test_all_tenants_count_however_many_there_are(
    client: weaviate.WeaviateClient, weaviate_server: WeaviateServer
) -> None:
    writer = writer_of(client, tenants=True)
    writer.create(design_of(writer))
    assert presence(address_of(weaviate_server), writer.name) == Presence('{"made": "by a test"}', 0)
    writer.sync(row for number in range(103) for row in rows(2, f"tenant-{number}"))
    assert presence(address_of(weaviate_server), writer.name) == Presence('{"made": "by a test"}', 206)
    writer.drop()


def test_an_alias_is_not_the_collection_behind_it(
    client: weaviate.WeaviateClient, weaviate_server: WeaviateServer
) -> None:
    writer = writer_of(client)
    writer.create(design_of(writer))
    alias = f"{writer.name}_alias"
    # The operator's key: workloads may not touch aliases.
    with connected(replace(address_of(weaviate_server), api_key=weaviate_server.operator_key)) as operator:
        operator.alias.create(alias_name=alias, target_collection=writer.name)
        assert presence(address_of(weaviate_server), alias) is None
        operator.alias.delete(alias_name=alias)
    writer.drop()


def test_a_refused_key_and_a_server_that_is_not_there_are_told_apart(weaviate_server: WeaviateServer) -> None:
    address = address_of(weaviate_server)
    with pytest.raises(CredentialsRefused, match="the API key was refused"):
        presence(replace(address, api_key="wrong"), "Nothing")
    with pytest.raises(VectorStoreUnreachable, match="ConnectionRefusedError"):
        presence(replace(address, endpoint="http://127.0.0.1:1"), "Nothing")
    with pytest.raises(VectorStoreError, match="cannot be the name"):
        presence(address, "../v1/meta")


@contextmanager
def answering(status: int, body: bytes) -> Iterator[VectorStoreAddress]:
    """Serve one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the server looks for this name

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield VectorStoreAddress(f"http://127.0.0.1:{server.server_port}", "http://127.0.0.1:1")
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (503, b"", VectorStoreUnreachable, "status 503"),
        (404, b"<html>", VectorStoreError, "is it a Weaviate"),
        (200, b"<html>", VectorStoreError, "is it a Weaviate"),
        (302, b"", VectorStoreError, "status 302"),
        (200, b'{"class": "Some", "errors": [{"message": "no"}]}', VectorStoreError, "could not count"),
    ],
    ids=["overloaded", "a proxy's page", "a web site", "a redirect", "a count that failed"],
)
def test_answers_that_cannot_be_used_are_errors(
    status: int, body: bytes, kind: type[VectorStoreError], message: str
) -> None:
    with answering(status, body) as address, pytest.raises(kind, match=message):
        presence(address, "Some")


def test_an_empty_not_found_means_that_there_is_none() -> None:
    with answering(404, b"") as address:
        assert presence(address, "Some") is None
