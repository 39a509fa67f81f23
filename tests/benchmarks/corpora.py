"""The corpora and questions of chunking-evaluation, whole or cut into documents, with gold passages at exact offsets.

Every retrieval benchmark reads them here. A cut never lies inside a gold passage, so that each passage stays in one document. Reads files,
measures nothing.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

from gradatim.rag.metrics import Span

_GOOD_CUTS = (re.compile(r"\n\s*\n\s*"), re.compile(r"\n\s*"), re.compile(r"[.!?]\s+"), re.compile(r"\s+"))


@dataclass(frozen=True, slots=True)
class Text:
    """A document: `name` is its file's name."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `corpus` says where it comes from."""

    text: str
    corpus: str
    gold: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents and the questions about them."""

    documents: tuple[Text, ...]
    questions: tuple[Question, ...]


def load(data: Path) -> Collection:
    """Read all five corpora and 472 questions. Raises ValueError where a passage does not stand at its offsets."""
    folder = data / "chunking-evaluation"
    texts = {file.stem: file.read_bytes().decode("utf-8") for file in sorted((folder / "corpora").glob("*.md"))}
    questions: list[Question] = []
    with (folder / "questions.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            corpus = row["corpus_id"]
            gold: list[Span] = []
            for item in json.loads(row["references"]):
                start, end = item["start_index"], item["end_index"]
                if texts[corpus][start:end] != item["content"]:
                    raise ValueError(f"{corpus}: the passage at {start} is not {item['content'][:60]!r}")
                gold.append(Span(f"{corpus}.md", start, end))
            questions.append(Question(row["question"], corpus, tuple(gold)))
    return Collection(tuple(Text(f"{name}.md", text) for name, text in texts.items()), tuple(questions))


def head(whole: Collection, characters: int) -> Collection:
    """Return the first `characters` of each document and the questions whose passages lie wholly in them."""
    kept = {document.name: document.text[:characters] for document in whole.documents}
    questions = [q for q in whole.questions if all(gold.end <= len(kept[gold.document]) for gold in q.gold)]
    return Collection(tuple(Text(name, text) for name, text in kept.items()), tuple(questions))


def cut(whole: Collection, characters: int) -> Collection:
    """Cut every document into pieces of about `characters`, at the best boundary near, and move the passages with them."""
    documents: list[Text] = []
    starts: dict[str, list[int]] = {}
    for document in whole.documents:
        gold = sorted((g.start, g.end) for q in whole.questions for g in q.gold if g.document == document.name)
        starts[document.name] = _starts(document.text, characters, gold)
        bounds = [*starts[document.name], len(document.text)]
        for number, start in enumerate(starts[document.name]):
            documents.append(Text(_piece(document.name, number), document.text[start : bounds[number + 1]]))
    questions = [
        Question(q.text, q.corpus, tuple(_moved(gold, starts[gold.document]) for gold in q.gold))
        for q in whole.questions
    ]
    return Collection(tuple(documents), tuple(questions))


def _piece(name: str, number: int) -> str:
    return f"{Path(name).stem}-{number:04d}.md"


def _moved(gold: Span, starts: list[int]) -> Span:
    number = max(n for n, start in enumerate(starts) if start <= gold.start)
    return Span(_piece(gold.document, number), gold.start - starts[number], gold.end - starts[number])


def _starts(text: str, characters: int, gold: list[tuple[int, int]]) -> list[int]:
    starts = [0]
    while len(text) - starts[-1] > characters * 3 // 2:
        starts.append(_next(text, starts[-1] + characters, characters, gold))
        if starts[-1] >= len(text):
            starts.pop()
            break
    return starts


def _next(text: str, wish: int, characters: int, gold: list[tuple[int, int]]) -> int:
    """The first good cut at or after `wish` outside all passages: between paragraphs, else lines, sentences, words."""
    for pattern in _GOOD_CUTS:
        for match in pattern.finditer(text, wish, min(len(text), wish + characters // 2)):
            if _outside(match.end(), gold):
                return match.end()
    position = wish
    while position < len(text) and not _outside(position, gold):
        position += 1
    return position


def _outside(position: int, gold: list[tuple[int, int]]) -> bool:
    return not any(start < position < end for start, end in gold)
