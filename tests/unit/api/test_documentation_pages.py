"""The documentation speaks of what exists: paths, links, commands, reasons, metrics, settings; and the questions quote it exactly."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from gradatim.api.reasons import ConditionType, Reason

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WRITTEN = [page for page in PAGES if "reference" not in page.parts] + [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
QUESTIONS = [
    json.loads(line) for line in (DOCS / "examples" / "quickstart" / "questions.jsonl").read_text().splitlines()
]
OPERATOR = ROOT / "operators" / "gradatim" / "operator"
GENERATED_ELSEWHERE = {"reference/cli.md"}


def strings_in(path: Path) -> set[str]:
    """Return the text constants of a Python file."""
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [
        link
        for link in links
        if not (page.parent / link).exists() and not any(link.endswith(name) for name in GENERATED_ELSEWHERE)
    ]
    assert missing == []


def test_every_page_is_reachable_from_the_index() -> None:
    linked = "".join(page.read_text() for page in PAGES)
    unreachable = [
        page.name
        for page in PAGES
        if page.name != "index.md" and "decisions" not in page.parts and page.name not in linked
    ]
    assert unreachable == []


def test_paths_of_the_component_table_exist() -> None:
    table = (DOCS / "architecture.md").read_text().split("## Components and files")[1].split("##")[0]
    paths = re.findall(
        r"`([a-z.][\w./-]+)`", "\n".join(line.split("|")[2] for line in table.splitlines() if "|" in line)
    )
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_commands_are_commands() -> None:
    groups = (ROOT / "sdk" / "gradatim" / "cli").glob("*.py")
    known = {name for file in groups for name in strings_in(file)}
    defined = {
        node.name.removesuffix("_command").replace("_", "-")
        for file in (ROOT / "sdk" / "gradatim" / "cli").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    used = {
        found
        for page in WRITTEN
        for found in re.findall(r"(?:^|`|/)gradatim ((?:index )?[a-z]+)\b", page.read_text(), re.MULTILINE)
    }
    words = {word for command in used for word in command.split()}
    assert len(words) > 15
    assert words - known - defined == set()


def test_make_targets_are_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {found for page in WRITTEN for found in re.findall(r"`make ([a-z0-9-]+)", page.read_text())}
    used |= {found for page in WRITTEN for found in re.findall(r"^make ([a-z0-9-]+)$", page.read_text(), re.MULTILINE)}
    assert {"demo", "test"} <= used
    assert used - targets == set()


def test_reasons_of_the_troubleshooting_table_are_reasons() -> None:
    page = (DOCS / "guides" / "troubleshooting.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    reasons = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert reasons - {reason.value for reason in Reason} == set()


def test_conditions_of_the_concepts_are_conditions() -> None:
    page = (DOCS / "concepts.md").read_text()
    told = set(re.findall(r"`(Ready|[A-Z][a-z]+(?:[A-Z][a-z]+)*)(?:=\w+)?`", page))
    kinds = {"ComputeProfile", "Dataset", "RAGIndex", "ConfigMap"}
    failures = {"User", "Data", "NodeLost", "Preempted", "Dependency", "OutOfMemory", "Deadline"}
    assert told - {c.value for c in ConditionType} - {r.value for r in Reason} - kinds - failures == set()


def test_documented_metrics_are_those_of_the_operator() -> None:
    page = (DOCS / "operations" / "metrics.md").read_text()
    told = {found for line in page.splitlines() for found in re.findall(r"^\| `(gradatim_\w+)`", line)}
    assert told == {name for name in strings_in(OPERATOR / "metrics.py") if name.startswith("gradatim_")}


def test_documented_settings_are_settings_of_the_operator() -> None:
    page = (DOCS / "operations" / "operator.md").read_text()
    told = {
        name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`(GRADATIM_\w+)`", line)
    }
    assert told
    assert told - strings_in(OPERATOR / "settings.py") == set()


def test_there_are_enough_questions_about_many_pages() -> None:
    assert len(QUESTIONS) >= 60
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS)
    assert len({gold["document"] for question in QUESTIONS for gold in question["gold"]}) >= 15


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["id"])
def test_gold_passage_is_quoted_exactly_once(question: dict[str, list[dict[str, str]]]) -> None:
    for gold in question["gold"]:
        assert (DOCS / gold["document"]).read_text().count(gold["quote"]) == 1


def test_questions_do_not_repeat_the_words_of_their_passages() -> None:
    copied = []
    for question in QUESTIONS:
        asked, told = (
            re.findall(r"\w+", text.lower()) for text in (question["question"], question["gold"][0]["quote"])
        )
        grams = {tuple(told[i : i + 5]) for i in range(len(told) - 4)}
        if any(tuple(asked[i : i + 5]) in grams for i in range(len(asked) - 4)):
            copied.append(question["id"])
    assert copied == []
