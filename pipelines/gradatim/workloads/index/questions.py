"""Questions with gold passages: read from JSON lines, located in the documents of a version.

Called by the evaluation. A question that cannot be read, or whose gold is not in the index, is an error that names it: measuring without it would
make the result look better than it is. Pure but for reading the source's files.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.rag.metrics import Span
from gradatim.rag.retrieve.plan import QueryError, check_question
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.sources import FileRejected, SourceFile
from gradatim.workloads.tables.jsonl import read_jsonl
from gradatim.workloads.tables.schema import Reject

MAX_QUESTIONS = 100_000
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class GoldReference:
    """A gold passage as written: a document by id or end of its path, and either offsets or a quote."""

    document: str
    start: int | None = None
    end: int | None = None
    quote: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question as read. `place` says where it stands; `tenant` is needed where the index keeps tenants apart."""

    id: str
    text: str
    gold: tuple[GoldReference, ...]
    place: str
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class LocatedQuestion:
    """A question whose gold passages are known by document id and offsets."""

    question: Question
    gold: tuple[Span, ...]


def read_questions(files: Iterable[SourceFile]) -> list[Question]:
    """Read all questions, sorted by id. Raises WorkloadError Data/EvaluationFailed for a bad line, a repeated id or none at all."""
    found: dict[str, Question] = {}
    for file in files:
        try:
            for row in read_jsonl(file):
                if isinstance(row, Reject):
                    raise _bad(f"{row.place}: {row.message}")
                question = parse_question(row.values, str(row.place))
                if question.id in found:
                    raise _bad(f"{question.place}: question id {question.id!r} occurs twice; ids must be unique")
                found[question.id] = question
        except FileRejected as error:
            raise _bad(str(error)) from error
    if not found:
        raise _bad("evaluation.questions holds no questions; write one JSON object per line")
    if len(found) > MAX_QUESTIONS:
        raise _bad(f"evaluation.questions holds more than {MAX_QUESTIONS} questions; take a sample")
    return [found[key] for key in sorted(found)]


def parse_question(values: Mapping[str, Any], place: str) -> Question:
    """Return the question of one JSON object. Raises WorkloadError naming the member that is wrong."""
    text, gold = values.get("question"), values.get("gold")
    identity = values.get("id")
    if not isinstance(identity, str | int) or isinstance(identity, bool) or str(identity) == "":
        raise _bad(f"{place}: 'id' must be text or a whole number")
    if not isinstance(text, str) or not text.strip():
        raise _bad(f"{place}: question {identity}: 'question' must be text")
    try:
        text = check_question(text)
    except QueryError as error:
        raise _bad(f"{place}: question {identity}: {error}") from error
    if not isinstance(gold, list) or not gold:
        raise _bad(f"{place}: question {identity}: 'gold' must be a list with at least one passage")
    tenant = values.get("tenant")
    if tenant is not None and not isinstance(tenant, str):
        raise _bad(f"{place}: question {identity}: 'tenant' must be text")
    references = tuple(_reference(item, f"{place}: question {identity}") for item in gold)
    return Question(str(identity), text, references, place, tenant)


def _reference(item: object, where: str) -> GoldReference:
    if not isinstance(item, Mapping) or not isinstance(item.get("document"), str) or not item["document"]:
        raise _bad(f"{where}: a gold passage needs 'document', the id or path of a document")
    quote, start, end = item.get("quote"), item.get("start"), item.get("end")
    if isinstance(quote, str) and quote.strip():
        return GoldReference(item["document"], quote=quote)
    if type(start) is not int or type(end) is not int or not 0 <= start < end:
        raise _bad(f"{where}: a gold passage needs 'quote', or 'start' and 'end' with 0 <= start < end")
    return GoldReference(item["document"], start=start, end=end)


def check_tenancy(questions: Iterable[Question], field: str | None) -> None:
    """Raise WorkloadError for the first question that names no tenant where `field` keeps them apart, or one where nothing does."""
    for question in questions:
        where = f"{question.place}: question {question.id}"
        if field is None and question.tenant is not None:
            raise _bad(
                f"{where} names tenant {question.tenant[:80]!r}, but this index has no tenants; leave 'tenant' out"
            )
        if field is not None and not question.tenant:
            raise _bad(f"{where} names no tenant, but this index keeps tenants apart by {field}; add 'tenant'")


def check_known_tenants(questions: Iterable[Question], tenants: Container[str | None]) -> None:
    """Raise WorkloadError for the first question whose tenant has no chunk in the version."""
    for question in questions:
        if question.tenant is not None and question.tenant not in tenants:
            why = f"no document of the index belongs to tenant {question.tenant[:80]!r}"
            raise _bad(f"{question.place}: question {question.id}: {why}; correct the question or the sources")


def locate_questions(questions: list[Question], documents: ParquetRows) -> list[LocatedQuestion]:
    """Find every gold passage. Raises WorkloadError naming question and document for the first that is not found."""
    catalogue = Catalogue(documents)
    return [
        LocatedQuestion(question, tuple(catalogue.locate(question, reference) for reference in question.gold))
        for question in questions
    ]


class Catalogue:
    """The documents of a version by id and path; texts are read when a passage asks for them."""

    def __init__(self, documents: ParquetRows) -> None:
        self._rows = documents
        self._ids: list[str] = documents.column("id").to_pylist()
        rejected: list[bool] = documents.column("rejected").to_pylist()
        self._by_id: dict[str, int] = {}
        self._by_path: dict[str, list[int]] = {}
        self._rejected: set[str] = set()
        paths: list[tuple[str, str]] = list(
            zip(documents.column("source").to_pylist(), documents.column("path").to_pylist(), strict=True)
        )
        for position, (source, path) in enumerate(paths):
            if rejected[position]:
                self._rejected |= {self._ids[position], path}
                continue
            self._by_id[self._ids[position]] = position
            for name in _suffixes(f"{source}/{path}"):
                self._by_path.setdefault(name, []).append(position)

    def locate(self, question: Question, reference: GoldReference) -> Span:
        """Return the span of one gold passage."""
        positions = self._positions(reference.document)
        where = f"{question.place}: question {question.id}: gold document {reference.document!r}"
        if not positions:
            why = "was rejected by validation" if reference.document in self._rejected else "is not in the index"
            raise _bad(f"{where} {why}; correct the question or the sources")
        if reference.quote is not None:
            for position in positions:
                found = locate_quote(self._text(position), reference.quote)
                if found is not None:
                    return Span(self._ids[position], *found)
            raise _bad(f"{where} does not contain the quote {reference.quote.strip()[:80]!r}; correct the question")
        if len(positions) > 1:
            raise _bad(f"{where} names {len(positions)} documents; give a longer path, the document id or a quote")
        start, end = reference.start or 0, reference.end or 0
        length = len(self._text(positions[0]))
        if end > length:
            raise _bad(f"{where} has {length} characters, but the passage ends at {end}; correct the question")
        return Span(self._ids[positions[0]], start, end)

    def _positions(self, name: str) -> list[int]:
        if name in self._by_id:
            return [self._by_id[name]]
        return self._by_path.get(name.strip("/"), [])

    def _text(self, position: int) -> str:
        return str(self._rows.take([position], ["text"]).column(0)[0].as_py())


def _suffixes(path: str) -> Iterator[str]:
    parts = path.split("/")
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def locate_quote(text: str, quote: str) -> tuple[int, int] | None:
    """Return where a quote stands in a text, runs of white space taken as equal; None when it does not.

    >>> locate_quote("one  two\\nthree", "two three")
    (5, 14)
    """
    exact = text.find(quote)
    if exact >= 0:
        return exact, exact + len(quote)
    words = [re.escape(word) for word in _SPACE.split(quote.strip())]
    found = re.search(r"\s+".join(words), text)
    return None if found is None else found.span()


def _bad(message: str) -> WorkloadError:
    return WorkloadError(Failure.DATA, Reason.EVALUATION_FAILED, message)
