"""A version is loaded again from its artifact: what its failure says about the artifact, and what it does not."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from gradatim.rag.store import connection
from gradatim.workloads.index import loading, restoring


def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise pa.lib.ArrowMemoryError("malloc of size 64 failed")

    def build(*_: object) -> None:
        pytest.fail("the artifact was given up")

    monkeypatch.setattr(restoring, "_load", fails)
    monkeypatch.setattr(restoring, "_must_not_build", build)
    ctx: Any = SimpleNamespace(config=SimpleNamespace(index_inputs=SimpleNamespace(restore="the version")))
    address: Any = None
    with pytest.raises(MemoryError):
        restoring.restored(ctx, address)


def test_an_operator_that_knows_no_restores_does_not_take_it_for_a_new_version(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = SimpleNamespace(digest="d", chunks=2, documents=1, retrieval=None)
    artifact = SimpleNamespace(manifest=lambda: manifest)
    for name, made in {"Artifact": artifact, "_counted": {}, "_report": None, "recorded_output": "the version"}.items():
        monkeypatch.setattr(restoring, name, lambda *_, made=made: made)
    monkeypatch.setattr(connection, "connected", lambda *_: nullcontext())
    for name in ("load", "open_writer"):
        monkeypatch.setattr(loading, name, lambda *_: None)

    def result(outcome: str, **more: Any) -> tuple[str, Any]:
        return outcome, more["index"]

    version = SimpleNamespace(digest="d", uri="file:///v", collection="C")
    store = SimpleNamespace(path_of=lambda uri: uri)
    config = SimpleNamespace(index_inputs=SimpleNamespace(restore=version))
    ctx: Any = SimpleNamespace(config=config, store=store, stage=lambda *_: None, result=result)
    address: Any = None
    found: object = restoring.restored(ctx, address)
    assert found == ("Unchanged", "the version")
