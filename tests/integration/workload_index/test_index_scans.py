"""An index over scans: recognised, judged by their confidence, found with their page, and carried over."""

from __future__ import annotations

import pytest
from tests.integration.workload_index.support import Bench, reasons
from tests.integration.workload_index.test_index_builds import artifact_of, retriever_of
from tests.support.scans import Sheet, encoded, page, scanned_pdf, spoilt

from gradatim.rag.ocr import OcrUnavailable, engine
from gradatim.workloads.index.artifact import CHUNKS_FILE, DOCUMENTS_FILE
from gradatim.workloads.index.reading import ParquetRows

SPEC = {
    "parsing": {"ocr": True},
    "chunking": {"strategy": "sentence", "maxTokens": 24, "overlapTokens": 0},
    "schema": {"metadata": [{"name": "ocr_confidence", "type": "number"}]},
    "validation": {
        "onFailure": "quarantine",
        "maxRejectedFraction": 0.5,
        "expectations": [
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": "ocr_confidence_min", "min_value": 0.85},
            }
        ],
    },
}


@pytest.mark.timeout(600)
def test_an_index_answers_from_scans_and_puts_poor_ones_into_quarantine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in sorted(bench.corpus.iterdir())[2:]:
        file.unlink()
    card = Sheet(size=(5, 2.5))  # a page costs by its area
    lamp = page(["The lamp of the lighthouse is lit by the keeper one hour before sunset."], card)
    fee = page(["A vessel with a green hull pays a fee of 472 crowns."], card)
    (bench.corpus / "log.pdf").write_bytes(scanned_pdf([lamp, fee]))
    (bench.corpus / "notice.png").write_bytes(
        encoded(page(["Dogs are not admitted to the customs house."], card), "PNG")
    )
    (bench.corpus / "poor.pdf").write_bytes(scanned_pdf([spoilt(fee)]))
    bench.spec = SPEC

    first = bench.built()
    assert first.index is not None
    assert (first.index.documents, first.index.rejected) == (4, 1)
    assert sum(reasons(first).values()) == 1
    with retriever_of(bench, first) as retriever:
        hit = retriever.query("What does a ship with a green hull have to pay?", 1)[0]
        dog = retriever.query("May I bring my dog?", 1)[0]
    assert (hit.citation.file, hit.citation.page, "472" in hit.text) == ("log.pdf", 2, True), hit
    assert (dog.citation.file, dog.citation.page) == ("notice.png", 1)
    artifact = artifact_of(bench, first)
    documents = ParquetRows(bench.store, artifact.file(DOCUMENTS_FILE))
    columns = ["path", "recognised", "rejected", "text", "id"]
    rows = {row["path"]: row for table in documents.groups(columns) for row in table.to_pylist()}
    assert [found["page"] for found in rows["log.pdf"]["recognised"]] == [1, 2]
    assert [path for path, row in rows.items() if row["rejected"]] == ["poor.pdf"]
    texts = {row["id"]: row["text"] for row in rows.values()}
    chunks = ParquetRows(bench.store, artifact.file(CHUNKS_FILE))
    assert all(
        texts[row["document"]][row["start"] : row["end"]] == row["text"]
        for table in chunks.groups(["document", "start", "end", "text"])
        for row in table.to_pylist()
    )

    def refuse(_: object) -> None:
        raise OcrUnavailable("nothing is new, so nothing is to be recognised")

    monkeypatch.setattr(engine, "_Models", refuse)
    (bench.corpus / "new.md").write_text("The new harbour master is called Ada.")
    second = bench.built(previous=first)
    assert second.index is not None
    assert (second.index.documents, second.index.rejected) == (5, 1)
    with retriever_of(bench, second) as retriever:
        assert retriever.query("fee of a vessel with a green hull", 1)[0].citation.page == 2
