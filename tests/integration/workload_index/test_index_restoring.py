"""A version whose collection was lost is loaded from its artifact: whatever the sources, the spec and the models are by now."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workload_index.support import Bench, passage
from tests.integration.workload_index.test_index_builds import artifact_of, retriever_of

from gradatim.api.run import RunResult
from gradatim.rag.store.address import VectorStoreAddress
from gradatim.rag.store.presence import presence
from gradatim.workloads.index.artifact import CHUNKS_FILE, MANIFEST
from gradatim.workloads.index.loading import collection_name

TENANTS = {
    "schema": {"metadata": [{"name": "team"}, {"name": "published", "type": "date"}]},
    "tenancy": {"enabled": True, "field": "team"},
}
PIN = {"versions": {"pin": {"digest": "sha256:" + "0" * 64}}}


def questions(bench: Bench) -> dict[str, Any]:
    """Write a question and return the evaluation that asks it."""
    path = bench.root / "questions.jsonl"
    gold = {"document": "harbour-0.md", "quote": "without the password opal1"}
    path.write_text(json.dumps({"id": "q1", "question": "What opens the harbour number 1?", "gold": [gold]}) + "\n")
    return {"questions": {"path": f"file://{path}"}}


def asks(bench: Bench, result: RunResult, tenant: str | None = None) -> str:
    """Return the passage that a query finds first."""
    with retriever_of(bench, result) as retriever:
        return retriever.query("Which password opens the harbour number 1?", 1, tenant=tenant)[0].text


def objects(address: VectorStoreAddress, collection: str) -> int:
    """Return how many objects the collection holds."""
    found = presence(address, collection)
    assert found is not None
    return found.objects


def test_the_old_version_comes_back_without_sources_questions_or_model(bench: Bench) -> None:
    first = bench.built(evaluation=questions(bench), retrieval={"alpha": 0.3})
    assert first.index is not None
    bench.drop_all()
    shutil.rmtree(bench.corpus)
    gone = {"model": {"uri": "package://there_is_no_such_model"}}
    again = bench.loaded(previous=first, restore=first, embedding=gone, evaluation=questions(bench))
    assert again.index is not None
    changed = {"reused_vectors": first.index.chunks, "embedded": 0}
    assert again.index == first.index.model_copy(update=changed)
    assert set(again.timings) == {"load"}
    assert objects(bench.address, first.index.collection) == first.index.chunks
    with retriever_of(bench, again) as retriever:
        assert retriever.manifest.retrieval.alpha == 0.3
    assert "opal1" in asks(bench, again)


def test_a_version_keeps_its_own_schema_and_tenants_and_may_be_loaded_twice(bench: Bench) -> None:
    front = "---\nteam: {}\npublished: 2026-03-01\n---\n# Harbour\n\n{}"
    teams = bench.root / "teams"
    teams.mkdir()
    for number, team in enumerate(("red", "blue")):
        (teams / f"{team}.md").write_text(front.format(team, passage("harbour", number)))
    sources = [{"name": "docs", "source": {"path": f"file://{teams}"}}]
    first = bench.built(sources=sources, **TENANTS)
    assert first.index is not None
    again = bench.loaded(restore=first)
    assert objects(bench.address, first.index.collection) == first.index.chunks
    bench.drop_all()
    again = bench.loaded(restore=first)  # the spec has neither fields nor tenants by now
    assert again.index is not None
    assert (again.index.digest, again.index.collection) == (first.index.digest, first.index.collection)
    assert "opal0" in asks(bench, again, tenant="red")


def corrupt(bench: Bench, result: RunResult, how: str) -> None:
    """Damage the artifact."""
    artifact = artifact_of(bench, result)
    folder = Path(bench.store.full(artifact.path))
    if how == "gone":
        shutil.rmtree(folder)
    elif how == "no chunks":
        (folder / CHUNKS_FILE).unlink()
    elif how == "half a file":
        raw = (folder / CHUNKS_FILE).read_bytes()
        (folder / CHUNKS_FILE).write_bytes(raw[: len(raw) // 2])
    elif how == "another's chunks":
        (bench.corpus / "meadow-5.md").unlink()
        other = bench.built()
        shutil.copy(Path(bench.store.full(artifact_of(bench, other).file(CHUNKS_FILE))), folder / CHUNKS_FILE)
    else:
        (folder / MANIFEST).write_text("{}")


@pytest.mark.parametrize("how", ["gone", "no chunks", "half a file", "another's chunks", "no manifest"])
def test_an_artifact_that_cannot_be_used_is_said_under_a_pin_and_built_again_without(bench: Bench, how: str) -> None:
    first = bench.built()
    assert first.index is not None
    bench.drop_all()
    corrupt(bench, first, how)
    bench.drop_all()
    failed = bench.run(previous=first, restore=first, **PIN)
    assert (failed.outcome, failed.failure, failed.reason) == ("Failed", "Data", "ArtifactCorrupt")
    assert "remove versions.pin" in failed.message
    assert bench.collections() == []
    built = bench.built(previous=first, restore=first)
    assert built.index is not None
    config = bench.config(restore=first)
    assert config.index_inputs is not None
    assert bench.collections() == [collection_name(config.index_inputs, built.index.digest)]
    assert (built.index.digest == first.index.digest) is (how != "another's chunks")
    assert "opal1" in asks(bench, built)


def test_a_weaviate_that_does_not_answer_is_waited_for(bench: Bench, dead_port: int) -> None:
    first = bench.built()
    dead = dataclasses.replace(bench.server, endpoint=f"http://127.0.0.1:{dead_port}")
    failed = bench.run(restore=first, server=dead, **PIN)
    assert (failed.outcome, failed.failure, failed.reason) == ("Failed", "Dependency", "VectorStoreUnreachable")
    assert artifact_of(bench, first).manifest()
