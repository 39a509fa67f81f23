"""A build, from files to a collection that answers: once, unchanged, changed a little, filtered, and in place."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.workload_index.support import MODEL, Bench, passage, reasons

from gradatim.api.reasons import Reason
from gradatim.api.run import RunResult
from gradatim.rag.retrieve.filters import FilterError
from gradatim.rag.retrieve.retriever import Query, Retriever
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.workloads.index.artifact import CHUNKS_FILE, DOCUMENTS_FILE, REJECTED_FILE, Artifact
from gradatim.workloads.index.reading import ParquetRows

SCHEMA = {"metadata": [{"name": "department"}, {"name": "published", "type": "date"}]}


def retriever_of(bench: Bench, result: RunResult) -> Retriever:
    assert result.index is not None
    return Retriever.open(bench.address, result.index.collection, ModelShelf(bench.root / "models").models())


def artifact_of(bench: Bench, result: RunResult) -> Artifact:
    assert result.index is not None
    return Artifact(bench.store, bench.store.path_of(result.index.uri))


def test_a_build_loads_every_chunk_and_an_unchanged_one_does_nothing(bench: Bench) -> None:
    first = bench.built()
    assert first.index is not None
    assert (first.index.documents, first.index.rejected, first.index.reused_vectors) == (8, 0, 0)
    assert first.index.chunks == first.index.embedded > 8
    assert bench.collections() == [first.index.collection]
    artifact = artifact_of(bench, first)
    assert artifact.manifest().digest == first.index.digest
    assert ParquetRows(bench.store, artifact.file(CHUNKS_FILE)).rows == first.index.chunks
    assert ParquetRows(bench.store, artifact.file(DOCUMENTS_FILE)).rows == 8
    assert ParquetRows(bench.store, artifact.file(REJECTED_FILE)).rows == 0
    assert not bench.store.list(f"{bench.config(run='handbook-1').object_path}/checkpoints")

    second = bench.run(previous=first)
    assert second.outcome == "Unchanged"
    assert second.index is not None
    assert (second.index.digest, second.index.collection) == (first.index.digest, first.index.collection)
    assert set(second.timings) == {"resolve"}


def test_every_chunk_is_a_piece_of_its_document(bench: Bench) -> None:
    artifact = artifact_of(bench, bench.built())
    documents = ParquetRows(bench.store, artifact.file(DOCUMENTS_FILE))
    texts = dict(zip(documents.column("id").to_pylist(), documents.column("text").to_pylist(), strict=True))
    wrong = [
        row["id"]
        for table in ParquetRows(bench.store, artifact.file(CHUNKS_FILE)).groups(
            ["id", "document", "start", "end", "text"]
        )
        for row in table.to_pylist()
        if texts[row["document"]][row["start"] : row["end"]] != row["text"]
    ]
    assert wrong == []


def test_one_changed_document_embeds_only_its_own_new_chunks(bench: Bench) -> None:
    first = bench.built()
    file = bench.corpus / "harbour-0.md"
    file.write_text(file.read_text() + "\n## New\n\nThe harbour now has a lighthouse of green copper.\n")
    second = bench.built(previous=first)
    assert first.index is not None
    assert second.index is not None
    assert second.index.digest != first.index.digest
    assert 1 <= second.index.embedded <= 2
    assert second.index.reused_vectors == second.index.chunks - second.index.embedded
    assert bench.collections() == sorted([first.index.collection, second.index.collection])
    with retriever_of(bench, second) as retriever:
        hit = retriever.query("lighthouse of copper", 1)[0]
    assert (hit.citation.file, "green copper" in hit.text) == ("harbour-0.md", True)
    assert hit.version == second.index.digest

    fresh = bench.built(force=True)
    assert fresh.index is not None
    assert fresh.index.digest == second.index.digest


def test_a_removed_document_leaves_and_a_moved_source_changes_nothing(bench: Bench) -> None:
    first = bench.built()
    moved = bench.root / "elsewhere"
    bench.corpus.rename(moved)
    same = bench.run(previous=first, sources=[{"name": "docs", "source": {"path": f"file://{moved}"}}])
    assert same.outcome == "Unchanged"
    (moved / "harbour-0.md").unlink()
    less = bench.built(previous=first, sources=[{"name": "docs", "source": {"path": f"file://{moved}"}}])
    assert less.index is not None
    assert (less.index.documents, less.index.embedded) == (7, 0)


def test_a_lost_or_damaged_collection_is_loaded_again(bench: Bench) -> None:
    first = bench.built()
    bench.drop_all()
    again = bench.built(previous=first)
    assert first.index is not None
    assert again.index is not None
    assert (again.index.digest, again.index.embedded) == (first.index.digest, 0)
    assert bench.collections() == [first.index.collection]


def test_the_previous_artifact_is_a_cache_and_its_loss_costs_only_time(bench: Bench) -> None:
    first = bench.built()
    assert first.index is not None
    bench.store.delete(bench.store.path_of(first.index.uri))
    again = bench.built(previous=first)
    assert again.index is not None
    assert (again.index.digest, again.index.embedded) == (first.index.digest, first.index.embedded)


def test_queries_filter_cite_and_explain(bench: Bench) -> None:
    (bench.corpus / "new.md").write_text(
        f"---\npublished: 2026-03-01\n---\n# Railway\n\n{passage('railway', 77)}", encoding="utf-8"
    )
    other = bench.root / "other"
    other.mkdir()
    (other / "late.txt").write_text(passage("railway", 78), encoding="utf-8")
    sources = [
        {"name": "docs", "source": {"path": f"file://{bench.corpus}"}, "metadata": {"department": "hr"}},
        {"name": "other", "source": {"path": f"file://{other}"}, "metadata": {"department": "it"}},
    ]
    result = bench.built(sources=sources, schema=SCHEMA)
    with retriever_of(bench, result) as retriever:
        question = "Which password opens the railway number 78?"
        assert retriever.query(question, 1)[0].citation.file == "late.txt"
        assert {hit.metadata["department"] for hit in retriever.query(question, 5, filters={"department": "hr"})} == {
            "hr"
        }
        dated = retriever.query(question, 5, filters={"published": {"gte": "2026-01-01"}})
        assert {hit.citation.file for hit in dated} == {"new.md"}
        assert retriever.query(question, 5, filters={"published": {"gt": "2026-03-01"}}) == []
        with pytest.raises(FilterError, match="filterable are department, document, page, published"):
            retriever.query(question, filters={"team": "hr"})
        answer = retriever.answer(Query(question, 3, explain=True))
        assert set(answer.timings) == {"encode", "store", "own", "total"}
        assert set(answer.hits[0].scores) >= {"hybrid", "keyword", "vector"}
        by_mode = {mode: retriever.query("opal78", 1, mode=mode)[0] for mode in ("keyword", "vector", "hybrid")}
        assert by_mode["keyword"].citation.file == by_mode["hybrid"].citation.file == "late.txt"
        assert all(hit.score >= 0 for hit in by_mode.values())
        edged = retriever.query(question, 4, ordering="edges")
        plain = retriever.query(question, 4, ordering="score")
        assert [hit.chunk_id for hit in edged] == [plain[i].chunk_id for i in (0, 2, 3, 1)]
        diverse = retriever.query(question, 4, diversity={"mmr_lambda": 0.5})
        assert diverse[0].chunk_id == plain[0].chunk_id
        assert len({hit.chunk_id for hit in diverse}) == 4
        recent = retriever.query(question, 3, recency={"half_life_days": 30, "field": "published"})
        assert len(recent) == 3


def test_parents_stand_in_for_their_chunks(bench: Bench) -> None:
    result = bench.built(chunking={"maxTokens": 32, "overlapTokens": 0, "parent": {"enabled": True, "maxTokens": 200}})
    with retriever_of(bench, result) as retriever:
        hits = retriever.query("password opal12", 3)
    file = bench.corpus / hits[0].citation.file
    text = file.read_text()
    assert [
        text[hit.context.start : hit.context.end] == hit.text for hit in hits if hit.citation.file == file.name
    ] == [True]
    assert "opal12" in hits[0].text
    assert hits[0].context.start <= hits[0].citation.start
    assert hits[0].context.end >= hits[0].citation.end
    assert hits[0].context != hits[0].citation
    windows = [(hit.document_id, hit.context.start) for hit in hits]
    assert len(set(windows)) == len(windows)


def test_an_update_in_place_keeps_the_collection_and_changes_only_the_difference(bench: Bench) -> None:
    first = bench.built()
    (bench.corpus / "orchard-1.md").unlink()
    (bench.corpus / "added.md").write_text(passage("volcano", 5))
    refresh = {"refresh": {"strategy": "inPlace"}, "versions": {"keep": 1}}
    second = bench.built(previous=first, **refresh)
    assert first.index is not None
    assert second.index is not None
    assert second.index.digest != first.index.digest
    assert second.index.collection == first.index.collection
    assert bench.collections() == [first.index.collection]
    with retriever_of(bench, second) as retriever:
        assert retriever.manifest.digest == second.index.digest
        assert retriever.query("volcano visitors", 1)[0].citation.file == "added.md"
        assert all(hit.citation.file != "orchard-1.md" for hit in retriever.query("orchard number 10", 8))
    third = bench.run(previous=second, **refresh)
    assert third.outcome == "Unchanged"

    refused = bench.run(
        previous=second, **refresh, embedding={"model": {"uri": MODEL}, "prefix": {"document": "passage: "}}
    )
    assert (refused.outcome, refused.reason) == ("Failed", Reason.STRATEGY_REFUSED.value)
    assert "embedding changed since collection" in refused.message
    assert "blueGreen" in refused.message


def test_tenants_never_see_each_other(bench: Bench) -> None:
    acme, rival = bench.root / "acme", bench.root / "rival"
    for folder, number in ((acme, 1), (rival, 2)):
        folder.mkdir()
        (folder / "plan.md").write_text(
            f"---\ncustomer: acme\n---\nThe secret plan number {number} is about sailing.\n"
        )
    sources = [
        {"name": "acme", "source": {"path": f"file://{acme}"}, "metadata": {"customer": "acme"}},
        {"name": "rival", "source": {"path": f"file://{rival}"}, "metadata": {"customer": "rival"}},
    ]
    tenancy = {"enabled": True, "field": "customer"}
    result = bench.built(sources=sources, schema={"metadata": [{"name": "customer"}]}, tenancy=tenancy)
    with retriever_of(bench, result) as retriever:
        found = {
            tenant: [hit.citation.source for hit in retriever.query("secret plan", 5, tenant=tenant)]
            for tenant in ("acme", "rival")
        }
        assert found == {"acme": ["acme"], "rival": ["rival"]}
        with pytest.raises(Exception, match="name a tenant"):
            retriever.query("secret plan")
        with pytest.raises(Exception, match="tenant not found"):
            retriever.query("secret plan", tenant="stranger")
    again = bench.run(previous=result, sources=sources, schema={"metadata": [{"name": "customer"}]}, tenancy=tenancy)
    assert again.outcome == "Unchanged"


def test_documents_that_cannot_be_used_are_counted_and_the_rest_goes_on(bench: Bench) -> None:
    (bench.corpus / "broken.pdf").write_bytes(b"%PDF-1.7\nnot really a pdf")
    (bench.corpus / "empty.txt").write_text("")
    (bench.corpus / "photo.png").write_bytes(b"\x89PNG")
    (bench.corpus / "dated.md").write_text("---\npublished: soon\n---\nText with a date that is none.\n")
    result = bench.built(schema=SCHEMA)
    assert result.index is not None
    assert reasons(result) == {"Broken": 1, "Empty": 1, "Unsupported": 1, "WrongType": 1}
    assert (result.index.documents, result.index.rejected) == (8, 4)
    rows = [
        row
        for table in ParquetRows(bench.store, artifact_of(bench, result).file(REJECTED_FILE)).groups()
        for row in table.to_pylist()
    ]
    wrong = next(row for row in rows if row["reason"] == "WrongType")
    assert (wrong["source"], wrong["path"]) == ("docs", "dated.md")
    assert "metadata field published must be of type date, but is 'soon'" in wrong["message"]
    same = bench.run(previous=result, schema=SCHEMA)
    assert same.outcome == "Unchanged"
    (bench.corpus / "more.md").write_text("Another text.\n")
    later = bench.built(previous=result, schema=SCHEMA)
    assert reasons(later) == reasons(result)


def test_quarantine_takes_out_bad_documents_until_there_are_too_many(bench: Bench) -> None:
    (bench.corpus / "short.md").write_text("Tiny.\n")
    expectation = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "chars", "min_value": 50}}
    blocked = bench.run(validation={"expectations": [expectation]})
    assert (blocked.failure, blocked.reason) == ("Data", Reason.DATA_INVALID.value)
    assert "docs:short.md" in blocked.message
    assert blocked.validation is not None
    assert blocked.validation.failed == 1

    quarantine = {"expectations": [expectation], "onFailure": "quarantine", "maxRejectedFraction": 0.2}
    result = bench.built(validation=quarantine)
    assert result.index is not None
    assert (result.index.documents, result.index.rejected) == (8, 1)
    assert list(reasons(result)) == ["expect_column_values_to_be_between(chars)"]

    for number in range(5):
        (bench.corpus / f"short{number}.md").write_text("Tiny.\n")
    refused = bench.run(previous=result, validation=quarantine)
    assert (refused.failure, refused.reason) == ("Data", Reason.TOO_MANY_REJECTED.value)
    assert "6 of 14 documents were rejected (42.9%), more than maxRejectedFraction 20.0%" in refused.message


@pytest.mark.parametrize(
    ("prepare", "reason", "message"),
    [
        pytest.param(lambda corpus: None, "SourceEmpty", "source docs: path file://", id="an empty folder"),
        pytest.param(
            lambda corpus: (corpus / "broken.pdf").write_bytes(b"%PDF-1.7\n"),
            "SourceEmpty",
            "no document gave any text",
            id="only a broken file",
        ),
    ],
)
def test_nothing_to_index_is_an_error(bench: Bench, prepare: object, reason: str, message: str) -> None:
    for file in bench.corpus.iterdir():
        file.unlink()
    prepare(bench.corpus)  # type: ignore[operator]
    result = bench.run()
    assert (result.outcome, result.failure, result.reason) == ("Failed", "Data", reason)
    assert message in result.message
    assert bench.collections() == []


def test_a_model_outside_the_allowed_roots_or_without_weights_is_refused(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    refused = bench.run(embedding={"model": {"uri": f"file://{outside}"}})
    assert (refused.failure, refused.reason) == ("User", Reason.SOURCE_NOT_ALLOWED.value)
    inside = Path(bench.root, "weights")
    inside.mkdir()
    empty = bench.run(embedding={"model": {"uri": f"file://{inside}"}})
    assert (empty.failure, empty.reason) == ("User", Reason.MODEL_NOT_FOUND.value)
    assert "modules.json" in empty.message
