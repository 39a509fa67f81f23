"""Evaluation questions: read, refused by name, located in the documents, and turned into relevant units."""

from __future__ import annotations

import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gradatim.api.reasons import Reason
from gradatim.api.run import StoreConfig
from gradatim.api.runstatus import Failure
from gradatim.rag.metrics import Span
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.artifact import parquet_writer
from gradatim.workloads.index.questions import (
    GoldReference,
    LocatedQuestion,
    Question,
    check_known_tenants,
    check_tenancy,
    locate_questions,
    locate_quote,
    parse_question,
    read_questions,
)
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.index.tables import CHUNKS, DOCUMENTS
from gradatim.workloads.index.units import Unit, overlap, relevant_units, units_of_documents
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.sources import SourceFile
from gradatim.workloads.store import ArtifactStore


def source_file(*lines: object) -> SourceFile:
    data = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in lines).encode()
    return SourceFile("questions", "q.jsonl", len(data), "v", 1 << 20, lambda: io.BytesIO(data))


def store_of(folder: Path) -> ArtifactStore:
    return ArtifactStore.open(StoreConfig(root=f"file://{folder}/"), SecretFolder(None))


def rows_of(folder: Path, name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> ParquetRows:
    store = store_of(folder)
    with parquet_writer(store, name, schema) as write:
        write(pa.Table.from_pylist(rows, schema=schema))
    return ParquetRows(store, name)


def document(identity: str, path: str, text: str, **more: Any) -> dict[str, Any]:
    base = {"id": identity, "file": b"k" * 32, "source": "docs", "path": path, "text": text, "metadata": "{}"}
    return {
        **base,
        "pages": [],
        "parser": "text/1",
        "replacement_ratio": 0.0,
        "carried": False,
        "rejected": False,
        **more,
    }


DOCUMENTS_ROWS = [
    document("d1", "guide/install.md", "First  line.\nRun the\n  installer now."),
    document("d2", "other/install.md", "Something else entirely."),
    document("d3", "bad.md", "quarantined", rejected=True),
    document("d4", "t.csv", "row one text", row=1),
    document("d5", "t.csv", "row two text", row=2),
]


def question(*gold: GoldReference) -> Question:
    return Question("q1", "how?", gold, "questions:q.jsonl:1")


def test_questions_are_read_in_order_of_their_ids() -> None:
    gold = [{"document": "a.md", "quote": "x"}]
    found = read_questions(
        [
            source_file(
                {"id": "b", "question": " why? ", "gold": gold},
                {"id": 1, "question": "how?", "gold": gold, "tenant": "t"},
            )
        ]
    )
    assert [(item.id, item.text, item.tenant) for item in found] == [("1", "how?", "t"), ("b", "why?", None)]
    assert found[1].gold == (GoldReference("a.md", quote="x"),)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param([], "holds no questions", id="an empty file"),
        pytest.param(["{"], "questions:q.jsonl:1: is not JSON", id="a broken line"),
        pytest.param([{"question": "q", "gold": [{}]}], "questions:q.jsonl:1: 'id' must be", id="no id"),
        pytest.param([{"id": "a", "gold": [{}]}], "question a: 'question' must be text", id="no question"),
        pytest.param([{"id": "a", "question": "q"}], "question a: 'gold' must be a list", id="no gold"),
        pytest.param([{"id": "a", "question": "q", "gold": [{"quote": "x"}]}], "needs 'document'", id="no document"),
        pytest.param(
            [{"id": "a", "question": "q", "gold": [{"document": "d", "start": 5, "end": 5}]}],
            "needs 'quote', or 'start' and 'end'",
            id="an empty span",
        ),
        pytest.param(
            [{"id": "a", "question": "q", "gold": [{"document": "d", "quote": "x"}]}] * 2,
            "q.jsonl:2: question id 'a' occurs twice",
            id="a repeated id",
        ),
        pytest.param(
            [{"id": "a", "question": "q" * 32_769, "gold": [{"document": "d", "quote": "x"}]}],
            "q.jsonl:1: question a: the question has 32769 characters, more than 32768",
            id="a question that no search takes",
        ),
    ],
)
def test_a_bad_question_is_a_data_error_that_names_it(lines: list[object], message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_questions([source_file(*lines)])
    assert (caught.value.failure, caught.value.reason) == (Failure.DATA, Reason.EVALUATION_FAILED)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("field", "tenant", "message"),
    [
        pytest.param(None, None, None, id="no tenants, none named"),
        pytest.param(None, "acme", "names tenant 'acme', but this index has no tenants", id="one where there are none"),
        pytest.param("customer", "acme", None, id="a tenant of the index"),
        pytest.param("customer", None, "names no tenant, but this index keeps tenants apart by customer", id="none"),
        pytest.param("customer", "", "names no tenant", id="an empty one"),
        pytest.param("customer", "acme\n", "no document of the index belongs to tenant 'acme\\n'", id="an unknown one"),
    ],
)
def test_a_tenant_that_cannot_be_asked_is_a_data_error_that_names_the_line(
    field: str | None, tenant: str | None, message: str | None
) -> None:
    questions = [Question("q1", "how?", (GoldReference("d2", 0, 9),), "questions:q.jsonl:1", tenant)]
    with pytest.raises(WorkloadError) if message else nullcontext() as caught:
        check_tenancy(questions, field)
        check_known_tenants(questions, {"acme": 3} if field else {None: 3})
    if message:
        assert caught is not None
        assert (caught.value.failure, caught.value.reason) == (Failure.DATA, Reason.EVALUATION_FAILED)
        assert caught.value.message.startswith("questions:q.jsonl:1: question q1")
        assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "quote", "expected"),
    [
        pytest.param("a b c", "b c", (2, 5), id="as it stands"),
        pytest.param("a  b\n\tc d", " a b c ", (0, 7), id="white space taken as equal"),
        pytest.param("x (a+b)* y", "(a+b)*", (2, 8), id="no pattern in a quote"),
        pytest.param("a b", "b a", None, id="words in another order"),
    ],
)
def test_a_quote_is_found(text: str, quote: str, expected: tuple[int, int] | None) -> None:
    assert locate_quote(text, quote) == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        pytest.param(GoldReference("d2", 0, 9), Span("d2", 0, 9), id="by document id"),
        pytest.param(GoldReference("guide/install.md", 0, 5), Span("d1", 0, 5), id="by path"),
        pytest.param(GoldReference("docs/guide/install.md", 0, 5), Span("d1", 0, 5), id="by source and path"),
        pytest.param(
            GoldReference("install.md", quote="Run the installer"),
            Span("d1", 13, 32),
            id="by quote",
        ),
        pytest.param(GoldReference("t.csv", quote="row two"), Span("d5", 0, 7), id="in any record of a table"),
    ],
)
def test_gold_is_located(tmp_path: Path, reference: GoldReference, expected: Span) -> None:
    documents = rows_of(tmp_path, "d.parquet", DOCUMENTS_ROWS, DOCUMENTS)
    assert locate_questions([question(reference)], documents)[0].gold == (expected,)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        pytest.param(GoldReference("no.md", 0, 1), "gold document 'no.md' is not in the index", id="unknown"),
        pytest.param(
            GoldReference("bad.md", 0, 1), "gold document 'bad.md' was rejected by validation", id="quarantined"
        ),
        pytest.param(GoldReference("install.md", 0, 1), "names 2 documents", id="ambiguous"),
        pytest.param(GoldReference("d2", 0, 99), "has 24 characters, but the passage ends at 99", id="beyond the end"),
        pytest.param(
            GoldReference("d2", quote="absent words"), "does not contain the quote 'absent words'", id="no quote"
        ),
    ],
)
def test_gold_that_cannot_be_located_is_an_error(tmp_path: Path, reference: GoldReference, message: str) -> None:
    documents = rows_of(tmp_path, "d.parquet", DOCUMENTS_ROWS, DOCUMENTS)
    with pytest.raises(WorkloadError) as caught:
        locate_questions([question(reference)], documents)
    assert caught.value.message.startswith("questions:q.jsonl:1: question q1: ")
    assert message in caught.value.message


def test_a_question_must_be_an_object_with_whole_offsets() -> None:
    with pytest.raises(WorkloadError, match="needs 'quote'"):
        parse_question({"id": "a", "question": "q", "gold": [{"document": "d", "start": True, "end": 9}]}, "here")


def test_relevant_units_are_chunks_or_their_parents(tmp_path: Path) -> None:
    def chunk(
        number: int, document: str, start: int, end: int, parent: tuple[int, int] | None = None
    ) -> dict[str, Any]:
        more = {} if parent is None else {"parent": "p", "parent_start": parent[0], "parent_end": parent[1]}
        return {"id": f"c{number}", "document": document, "start": start, "end": end, "key": b"k" * 32, **more}

    rows = [chunk(1, "d1", 0, 10), chunk(2, "d1", 8, 20), chunk(3, "d2", 0, 5, (0, 50)), chunk(4, "d2", 5, 9, (0, 50))]
    chunks = rows_of(tmp_path, "c.parquet", [*rows, chunk(5, "d9", 0, 5)], CHUNKS)
    units = units_of_documents(chunks, ["d1", "d2"])
    assert units == {
        "d1": [Unit("d1:0:10", Span("d1", 0, 10)), Unit("d1:8:20", Span("d1", 8, 20))],
        "d2": [Unit("d2:0:50", Span("d2", 0, 50))],
    }
    located = LocatedQuestion(question(), (Span("d1", 7, 10), Span("d2", 40, 45)))
    assert relevant_units(located, units) == {"d1:0:10", "d1:8:20", "d2:0:50"}
    assert relevant_units(LocatedQuestion(question(), (Span("d1", 11, 14),)), units) == {"d1:8:20"}


def test_a_passage_cut_in_small_pieces_counts_for_the_largest() -> None:
    units = {
        "d": [Unit("d:0:8", Span("d", 0, 8)), Unit("d:9:20", Span("d", 9, 20)), Unit("d:21:30", Span("d", 21, 30))]
    }
    assert relevant_units(LocatedQuestion(question(), (Span("d", 5, 12),)), units) == {"d:0:8"}
    assert overlap(Span("d", 0, 5), Span("d", 3, 9)) == 2
    assert overlap(Span("d1", 0, 5), Span("d2", 0, 5)) == 0
