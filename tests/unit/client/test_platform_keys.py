"""The keys of the local platform: behind the documented variable, and for its own addresses only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gradatim.api import RAGIndex
from gradatim.client import search
from gradatim.client.localstate import LocalState
from gradatim.client.search import open_local_search, open_search
from gradatim.client.statedir import same_server
from gradatim.client.vectorstore import KEY_ENV, VectorAccess

OWN, OWN_GRPC = "http://127.0.0.1:20001", "http://127.0.0.1:20002"
FAR, FAR_GRPC = "http://weaviate.example:8080", "http://weaviate.example:50051"

SERVERS: dict[str, tuple[str | None, str | None, bool]] = {
    "the same": (OWN, OWN, True),
    "a path and a slash do not matter": (f"{OWN}/v1/", OWN, True),
    "the port of the scheme": ("https://w:443", "https://W", True),
    "another port": (OWN, OWN_GRPC, False),
    "another scheme": ("https://127.0.0.1:20001", OWN, False),
    "a name of this machine is no proof": ("http://localhost:20001", OWN, False),
    "the platform's address as a user name": ("http://127.0.0.1:20001@evil.example:80", OWN, False),
    "no port at all": ("http://127.0.0.1:many", OWN, False),
    "nothing": (None, None, False),
}


@pytest.mark.parametrize(("one", "other", "same"), SERVERS.values(), ids=SERVERS.keys())
def test_servers_are_told_apart(one: str | None, other: str | None, *, same: bool) -> None:
    assert same_server(one, other) is same


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str | None]]:
    """What a search would connect to, and with which key."""
    found: list[tuple[str, str, str | None]] = []

    def take(access: VectorAccess, key: str | None, _name: str, _place: object) -> None:
        found.append((access.config.endpoint, access.config.grpc_endpoint, key))

    monkeypatch.setattr(search, "_open", take)
    return found


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a platform that is up."""
    folder = tmp_path / "state"
    (folder / "w").mkdir(parents=True)
    (folder / "w" / "api-key").write_text("platform")
    told = {"weaviate": OWN, "weaviate_grpc": OWN_GRPC, "weaviate_api_key_file": "w/api-key"}
    (folder / "client.json").write_text(json.dumps(told))
    monkeypatch.delenv(KEY_ENV, raising=False)
    return folder


def index(endpoint: str, grpc: str) -> RAGIndex:
    active = {"digest": "sha256:" + "a" * 64, "label": "v1", "collection": "G1", "uri": "file:///s/"}
    body: dict[str, Any] = {
        "metadata": {"name": "i"},
        "spec": {
            "sources": [{"name": "a", "source": {"path": "file:///d"}}],
            "embedding": {"model": {"uri": "package://m"}},
        },
        "status": {"active": active, "endpoint": endpoint, "grpcEndpoint": grpc},
    }
    return RAGIndex.model_validate(body)


CASES: dict[str, tuple[tuple[str, str], bool, str | None]] = {
    "the platform's own Weaviate": ((OWN, OWN_GRPC), False, "platform"),
    "another Weaviate gets no key": ((FAR, FAR_GRPC), False, None),
    "one whose gRPC leads elsewhere gets none": ((OWN, FAR_GRPC), False, None),
    "the variable names the key of another one": ((FAR, FAR_GRPC), True, "mine"),
    "a platform that was named comes before the variable": ((OWN, OWN_GRPC), True, "platform"),
}


@pytest.mark.parametrize(("addresses", "named", "key"), CASES.values(), ids=CASES.keys())
def test_a_key_goes_where_it_belongs(
    addresses: tuple[str, str],
    key: str | None,
    state: Path,
    opened: list[tuple[str, str, str | None]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    named: bool,
) -> None:
    if named:
        (state / "mine").write_text("mine")
        monkeypatch.setenv(KEY_ENV, str(state / "mine"))
    known = index(*addresses)
    open_search(known, state=state)
    folder = state / "runs"
    LocalState(folder).write(known, "default", "i")
    open_local_search(folder, "i", namespace=None, state=state)
    assert opened == [(*addresses, key)] * 2


def test_the_variable_comes_before_a_platform_that_nobody_named(
    state: Path, opened: list[tuple[str, str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADATIM_STATE", str(state))
    open_search(index(OWN, OWN_GRPC))
    (state / "mine").write_text("mine")
    monkeypatch.setenv(KEY_ENV, str(state / "mine"))
    open_search(index(OWN, OWN_GRPC))
    assert [key for _, _, key in opened] == ["platform", "mine"]


def test_an_address_given_by_hand_gets_the_platform_s_key_only_if_it_is_the_platform_s(
    state: Path, opened: list[tuple[str, str, str | None]]
) -> None:
    known = index(FAR, FAR_GRPC)
    open_search(known, endpoint=OWN, grpc_endpoint=OWN_GRPC, state=state)
    open_search(index(OWN, OWN_GRPC), endpoint="http://127.0.0.1:8080", state=state)
    assert opened == [(OWN, OWN_GRPC, "platform"), ("http://127.0.0.1:8080", "http://127.0.0.1:50051", None)]
