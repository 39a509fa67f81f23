"""A build that measures itself: metrics from questions, gates' names, wrong questions, and a cross-encoder trained here."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workload_index.support import TOPICS, Bench, passage

from gradatim.api.reasons import Reason
from gradatim.rag.retrieve.retriever import Query, Retriever
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.workloads.index.artifact import Artifact
from gradatim.workloads.index.evaluating import read_report


def questions_file(bench: Bench, **changes: Any) -> dict[str, Any]:
    """Questions about every topic, with a quote or offsets as gold; `changes` replace members of the first."""
    rows: list[dict[str, Any]] = []
    for number, topic in enumerate(TOPICS):
        path = f"{topic}-{number}.md"
        text = (bench.corpus / path).read_text()
        quote = f"without the password opal{number * 10 + 1}"
        start = text.index(quote)
        gold = (
            {"document": path, "quote": quote}
            if number % 2
            else {"document": path, "start": start, "end": start + len(quote)}
        )
        rows.append(
            {
                "id": f"q{number}",
                "question": f"Which password opens the {topic} number {number * 10 + 1}?",
                "gold": [gold],
            }
        )
    rows[0] |= changes
    file = bench.root / "questions.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return {"evaluation": {"questions": {"path": f"file://{file}"}, "k": [1, 5]}}


def test_a_build_measures_retrieval_on_its_own_collection(bench: Bench) -> None:
    spec = questions_file(bench)
    result = bench.built(**spec)
    assert result.index is not None
    metrics = {metric.name: metric for metric in result.index.metrics}
    assert set(metrics) == {
        "hit_rate@1", "hit_rate@5", "map", "mrr", "ndcg@1", "ndcg@5", "precision@1", "precision@5", "recall@1", "recall@5",
        "span_iou@10", "span_precision@10", "span_recall@10",
    }  # fmt: skip
    assert metrics["hit_rate@5"].value >= 0.9
    assert metrics["span_recall@10"].value >= 0.9
    assert {metric.samples for metric in metrics.values()} == {8}
    assert all(
        metric.low is not None and metric.low <= metric.value <= (metric.high or 0) for metric in metrics.values()
    )

    report = read_report(Artifact(bench.store, bench.store.path_of(result.index.uri)))
    assert (report.collection, len(report.questions)) == (result.index.collection, 8)
    first = report.questions[0]
    assert (first.id, first.gold[0][2] - first.gold[0][1]) == ("q0", len("without the password opal1"))
    mean = sum(question.metrics["ndcg@5"] for question in report.questions) / 8
    assert mean == pytest.approx(metrics["ndcg@5"].value)
    assert [passage.relevant for question in report.questions for passage in question.passages].count(True) >= 8

    same = bench.run(previous=result, **spec)
    assert same.outcome == "Unchanged"
    assert same.index is not None
    assert same.index.metrics == result.index.metrics

    other = bench.built(previous=result, **questions_file(bench, question="Something else?"))
    assert other.index is not None
    assert (other.index.digest, other.index.embedded) == (result.index.digest, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"gold": [{"document": "nowhere.md", "quote": "x"}]},
            "question q0: gold document 'nowhere.md' is not in the index",
            id="unknown document",
        ),
        pytest.param(
            {"gold": [{"document": "harbour-0.md", "quote": "no such words"}]},
            "question q0: gold document 'harbour-0.md' does not contain",
            id="unknown quote",
        ),
        pytest.param({"question": None}, "questions.jsonl:1: question q0: 'question' must be text", id="no question"),
    ],
)
def test_a_question_that_cannot_be_judged_fails_the_run_by_name(
    bench: Bench, changes: dict[str, Any], message: str
) -> None:
    result = bench.run(**questions_file(bench, **changes))
    assert (result.failure, result.reason) == ("Data", Reason.EVALUATION_FAILED.value)
    assert message in result.message


TENANTS = {"schema": {"metadata": [{"name": "customer"}]}, "tenancy": {"enabled": True, "field": "customer"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"tenant": "nobody"}, "no document of the index belongs to tenant 'nobody'", id="an unknown tenant"),
        pytest.param({"tenant": None}, "names no tenant, but this index keeps tenants apart by customer", id="no tenant"),
        pytest.param({"gold": [{"document": "x.md", "quote": "x"}]}, "gold document 'x.md' is not in the index", id="no document"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_asked_is_found_before_an_update_in_place(
    bench: Bench, changes: dict[str, Any], message: str
) -> None:
    sources = [{"name": "docs", "source": {"path": f"file://{bench.corpus}"}, "metadata": {"customer": "acme"}}]
    first = bench.built(sources=sources, **TENANTS)
    assert first.index is not None
    (bench.corpus / "added.md").write_text(passage("volcano", 5))
    spec = questions_file(bench, **({"tenant": "acme"} | changes))
    spec |= {"refresh": {"strategy": "inPlace"}, "versions": {"keep": 1}, "sources": sources, **TENANTS}
    file = bench.root / "questions.jsonl"
    rows = [json.loads(line) | {"tenant": "acme"} for line in file.read_text().splitlines()[1:]]
    file.write_text("\n".join([file.read_text().splitlines()[0], *map(json.dumps, rows)]))
    result = bench.run(previous=first, **spec)
    assert (result.failure, result.reason) == ("Data", Reason.EVALUATION_FAILED.value)
    assert "questions.jsonl:1: question q0" in result.message
    assert message in result.message
    with Retriever.open(bench.address, first.index.collection, ModelShelf(bench.root / "models").models()) as retriever:
        assert retriever.manifest.digest == first.index.digest
        assert all(hit.citation.file != "added.md" for hit in retriever.query("volcano", 9, tenant="acme"))


def train_reranker(folder: Path) -> None:
    """Train a tiny cross-encoder to prefer passages that share a rare word with the question."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TOPICS, "old", "new", "which"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, num_labels=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    # "new" passages are what the reranker shall prefer: neither words nor vectors of a question say so.
    generator = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        topics = [generator.choice(TOPICS) for _ in range(16)]
        ages = [generator.choice(["old", "new"]) for _ in range(16)]
        batch = tokenizer(
            [f"which {topic}" for topic in topics],
            [f"{age} {topic}" for age, topic in zip(ages, topics, strict=True)],
            padding=True,
            return_tensors="pt",
        )
        target = torch.tensor([[1.0 if age == "new" else 0.0] for age in ages])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(**batch).logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    CrossEncoder(str(folder), max_length=64, local_files_only=True).save_pretrained(str(folder))


def test_a_cross_encoder_orders_the_candidates_again(bench: Bench) -> None:
    for file in bench.corpus.iterdir():
        file.unlink()
    for number in range(6):
        age = "new" if number == 4 else "old"
        (bench.corpus / f"note-{number}.md").write_text(f"The {age} harbour, note {number}.\n")
    folder = bench.root / "reranker"
    train_reranker(folder)
    result = bench.built()
    assert result.index is not None
    with Retriever.open(
        bench.address, result.index.collection, ModelShelf(bench.root / "models").models()
    ) as retriever:
        question = "Which old harbour?"
        plain = retriever.query(question, 3)
        assert plain[0].citation.file != "note-4.md"
        rerank = {"model": {"uri": f"file://{folder}"}, "top_n": 2}
        answer = retriever.answer(Query(question, 3, explain=True, overrides={"rerank": rerank}))
    assert answer.hits[0].citation.file == "note-4.md"
    assert len(answer.hits) == 2
    assert set(answer.timings) == {"encode", "store", "rerank", "own", "total"}
    assert answer.hits[0].score == answer.hits[0].scores["rerank"] > answer.hits[1].score
