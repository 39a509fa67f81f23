"""The benchmarks can be listed, imported and asked for help without measuring anything, peers installed or not; their data code is exact."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks import __main__ as runner
from tests.benchmarks.corpora import Collection, Question, Text, cut, head
from tests.benchmarks.options import ROOT
from tests.benchmarks.quality import exact_search
from tests.benchmarks.report import percentile
from tests.benchmarks.tables import PAGE, RESULTS, TABLES, filled

from gradatim.rag.metrics import Span

PEERS = {"llama_index", "haystack"}


def test_every_benchmark_is_listed_with_what_it_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(runner.NAMES)
    assert all(len(line.partition(": ")[2]) > 20 for line in lines)


def test_an_unknown_name_is_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run", lambda *_: pytest.fail("ran something"))
    assert runner.main(["ingestion", "nonsense"]) == 2
    assert "no benchmark is called nonsense" in capsys.readouterr().err


def test_options_go_to_every_named_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, list[str]]] = []

    def record(name: str, options: list[str]) -> int:
        calls.append((name, options))
        return 1 if name == "refresh" else 0

    monkeypatch.setattr(runner, "run", record)
    assert runner.main(["refresh", "query", "--quick", "--repeats", "2"]) == 1
    assert calls == [("refresh", ["--quick", "--repeats", "2"]), ("query", ["--quick", "--repeats", "2"])]


def test_no_benchmark_needs_a_peer_to_be_imported() -> None:
    folder = Path(runner.__file__).parent
    for file in folder.glob("*.py"):
        if file.name == "haystack_embedder.py":  # imported by the Haystack system when it is loaded
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.partition(".")[0] for name in names} & PEERS, file.name


@pytest.mark.timeout(60)  # the first import of torch
@pytest.mark.parametrize("name", ["ingestion", "refresh", "retrieval_quality", "query"])
def test_help_explains_the_benchmark_and_runs_nothing(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module(f"tests.benchmarks.{name}")
    monkeypatch.setattr(module, "run", lambda _: pytest.fail("ran something"))
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m tests.benchmarks {name}" in shown
    assert "--data" in shown
    assert "--repeats" in shown
    assert (ROOT / "tests" / "benchmarks" / f"{name}.py").is_file()


TEXT = "\n\n".join(f"Paragraph {n}. It has two sentences." for n in range(40))
GOLD = TEXT[395:450]
WHOLE = Collection((Text("a.md", TEXT),), (Question("Which?", "a", (Span("a.md", 395, 450),)),))


def test_a_cut_corpus_has_all_text_and_every_passage_in_one_document() -> None:
    pieces = cut(WHOLE, 400)
    assert "".join(document.text for document in pieces.documents) == TEXT
    assert len(pieces.documents) == 3
    (gold,) = pieces.questions[0].gold
    text = next(document.text for document in pieces.documents if document.name == gold.document)
    assert text[gold.start : gold.end] == GOLD


def test_the_head_keeps_the_questions_that_it_can_answer() -> None:
    assert len(head(WHOLE, 450).questions) == 1
    assert head(WHOLE, 449).questions == ()
    assert head(WHOLE, 100).documents[0].text == TEXT[:100]


def test_exact_search_orders_by_cosine_whatever_the_lengths() -> None:
    vectors = np.array([[10.0, 0.0], [0.0, 0.1], [1.0, 1.0]], dtype=np.float32)
    questions = np.array([[0.0, 3.0], [2.0, 0.1]], dtype=np.float32)
    assert exact_search(questions, vectors, 2) == [[1, 2], [0, 2]]


def test_percentiles_are_measured_values() -> None:
    assert [percentile([4.0, 1.0, 3.0, 2.0], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 4.0, 4.0]


def test_the_page_shows_the_committed_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- table: {name} -->" in page for name in TABLES)
    assert filled(page, RESULTS) == page


def test_a_table_without_result_says_so_and_the_text_around_it_stays(tmp_path: Path) -> None:
    page = "Before.\n<!-- table: query -->\nold\n<!-- end -->\nAfter.\n"
    assert filled(page, tmp_path) == "Before.\n<!-- table: query -->\n\nNot measured yet.\n\n<!-- end -->\nAfter.\n"
