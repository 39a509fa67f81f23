"""An index over a Dataset whose files are beyond what the profile allows a document: every row of every split is found."""

from __future__ import annotations

import pytest
from tests.integration.workload_index.support import TOPICS, Bench, passage
from tests.support.workload_runs import DatasetRun

from gradatim.api.computeprofile import Limits
from gradatim.api.run import ResolvedDataset, RunResult
from gradatim.rag.retrieve.retriever import Retriever
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.workloads.tables import artifact

ROWS = 40


def dataset_of(bench: Bench) -> ResolvedDataset:
    """Validate a table into two splits, in the store that the index uses."""
    fractions = [{"name": "train", "fraction": 0.5}, {"name": "test", "fraction": 0.5}]
    made = DatasetRun(bench.root, {"schemaKind": "documents", "splits": {"fractions": fractions}})
    made = made.but(store_config=bench.config().store)
    rows = [{"text": passage(TOPICS[number % 8], number), "id": str(number)} for number in range(ROWS)]
    result = made.with_files({"rows.jsonl": rows}).execute()
    assert result.dataset is not None, result.message
    assert len(result.dataset.splits) == 2
    return ResolvedDataset(name="table", digest=result.dataset.digest, uri=result.dataset.uri)


def test_every_row_of_every_split_is_found_whatever_their_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "ROW_GROUP", 8)
    found = dataset_of(bench)
    sources = [{"name": "papers", "source": {"datasetRef": {"name": "table"}}}]

    def built(previous: RunResult | None = None) -> RunResult:
        config = bench.config(sources=sources, previous=previous)
        limits = Limits(allowed_source_roots=[str(bench.root)], max_document_bytes=100)
        return bench.built(config=config.model_copy(update={"datasets": [found], "limits": limits}).sealed())

    result = built()
    assert result.index is not None
    assert (result.index.documents, result.rejections) == (ROWS, [])
    with Retriever.open(
        bench.address, result.index.collection, ModelShelf(bench.root / "models").models()
    ) as retriever:
        hits = [retriever.query(f"opal{number}", 1, mode="keyword")[0] for number in range(ROWS)]
    assert [(hit.citation.file, hit.citation.row) for hit in hits] == [
        ("data/rows.jsonl", number + 1) for number in range(ROWS)
    ]

    sources.append({"name": "docs", "source": {"path": f"file://{bench.corpus}"}})
    for file in bench.corpus.iterdir():
        file.write_text("Short.\n")
    more = built(previous=result)
    assert more.index is not None
    assert (more.index.documents, more.index.embedded) == (ROWS + 8, 1)
