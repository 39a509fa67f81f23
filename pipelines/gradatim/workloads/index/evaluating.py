"""Last stage: asks the questions on the new collection and measures what comes back against the gold passages.

Retrieval runs exactly as clients will run it, with the spec's defaults; only the order for prompts is left out, because a ranking is
measured. The report with every question goes to `evaluation.json` of the artifact; the operator compares versions and decides.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from gradatim.api.base import Digest, ReadModel
from gradatim.api.ragindex import RAGIndexSpec, Retrieval
from gradatim.api.run import canonical_digest
from gradatim.api.runstatus import Metrics
from gradatim.rag.retrieve.candidates import Hit, Vector
from gradatim.workloads.errors import StoreError
from gradatim.workloads.index.artifact import CHUNKS_FILE, DOCUMENTS_FILE, EVALUATION, Artifact
from gradatim.workloads.index.build import Build
from gradatim.workloads.index.measures import SPAN_DEPTH, Ranking, depth, measure, summarise
from gradatim.workloads.index.questions import (
    LocatedQuestion,
    Question,
    check_known_tenants,
    check_tenancy,
    locate_questions,
    read_questions,
)
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.index.units import relevant_units, unit_of, units_of_documents
from gradatim.workloads.sources import Sources

if TYPE_CHECKING:
    from gradatim.rag.retrieve.retriever import Retriever

MAX_REPORT_BYTES = 1 << 28
QUESTIONS = "evaluation.questions"


@dataclass(frozen=True, slots=True)
class QuestionList:
    """The questions of a Run; `digest` None means that the spec asks for no evaluation."""

    questions: tuple[Question, ...] = ()
    digest: str | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.questions)


class PassageReport(ReadModel):
    """One passage that came back, in order."""

    document: str
    path: str
    start: int
    end: int
    score: float
    relevant: bool


class QuestionReport(ReadModel):
    """One question with what came back and how good that was."""

    id: str
    question: str
    gold: list[tuple[str, int, int]]
    relevant: int
    passages: list[PassageReport]
    metrics: dict[str, float]


class EvaluationReport(ReadModel):
    """`evaluation.json`: metrics with intervals, and every question."""

    format: Literal["gradatim.dev/index-evaluation/v1"] = "gradatim.dev/index-evaluation/v1"
    questions_digest: Digest
    collection: str
    retrieval: Retrieval
    k: list[int]
    metrics: Metrics
    questions: Annotated[list[QuestionReport], Field(default_factory=list)]


def list_questions(spec: RAGIndexSpec, sources: Sources) -> QuestionList:
    """Read the questions that the spec names. Raises WorkloadError Data/EvaluationFailed naming the line that is wrong."""
    if spec.evaluation is None or spec.evaluation.questions is None:
        return QuestionList()
    questions = read_questions(sources.list(QUESTIONS, spec.evaluation.questions).files)
    check_tenancy(questions, spec.tenancy.field if spec.tenancy.enabled else None)
    content = [[item.id, item.text, item.tenant, [repr(gold) for gold in item.gold]] for item in questions]
    return QuestionList(tuple(questions), canonical_digest([content, sorted(spec.evaluation.k)]))


def read_report(artifact: Artifact) -> EvaluationReport:
    """Read the report of an artifact. Raises NotFound, or StoreError for one that cannot be read."""
    try:
        return EvaluationReport.model_validate_json(artifact.store.read(artifact.file(EVALUATION), MAX_REPORT_BYTES))
    except ValidationError as error:
        raise StoreError(f"{artifact.file(EVALUATION)} is not an evaluation report") from error


def locate(
    build: Build, artifact: Artifact, questions: QuestionList, tenants: Container[str | None]
) -> list[LocatedQuestion]:
    """Find tenant and gold passages of every question. Raises WorkloadError Data/EvaluationFailed naming the line that is wrong.

    Called before anything is loaded: an update in place cannot be taken back.
    """
    if questions.digest is None:
        return []
    check_known_tenants(questions.questions, tenants)
    return locate_questions(list(questions.questions), ParquetRows(build.ctx.store, artifact.file(DOCUMENTS_FILE)))


def evaluate(
    build: Build, artifact: Artifact, retriever: Retriever, questions: QuestionList, located: Sequence[LocatedQuestion]
) -> Metrics:
    """Ask every question, write `evaluation.json`, return the metrics; none without questions."""
    evaluation = build.spec.evaluation
    if questions.digest is None or evaluation is None:
        return []
    ks = sorted(evaluation.k)
    wanted = {gold.document for question in located for gold in question.gold}
    units = units_of_documents(ParquetRows(build.ctx.store, artifact.file(CHUNKS_FILE)), wanted)
    answers: list[tuple[LocatedQuestion, list[Hit], Ranking]] = []
    vectors = retriever.encode([question.question.text for question in located])
    for question, vector in zip(located, vectors, strict=True):
        build.ctx.check_stop()
        hits = _ask(retriever, question.question, vector, depth(ks))
        ranking = Ranking(
            question.question.id, [unit_of(hit) for hit in hits], relevant_units(question, units), question.gold
        )
        answers.append((question, hits[:SPAN_DEPTH], ranking))
        build.ctx.advance()
    scores = measure([ranking for _, _, ranking in answers], ks)
    metrics = summarise(scores)
    report = EvaluationReport(
        questions_digest=questions.digest,
        collection=retriever.collection,
        retrieval=retriever.manifest.retrieval,
        k=ks,
        metrics=metrics,
        questions=[_report(*answer, values) for answer, values in zip(answers, scores, strict=True)],
    )
    build.ctx.store.write(artifact.file(EVALUATION), report.model_dump_json(by_alias=True, exclude_none=True).encode())
    return metrics


def _ask(retriever: Retriever, question: Question, vector: Vector, count: int) -> list[Hit]:
    """Ask one question. A ranking is measured, so the order for prompts is left out."""
    from gradatim.rag.retrieve.retriever import Query

    query = Query(question.text, count, tenant=question.tenant, overrides={"ordering": "score"}, vector=vector)
    return list(retriever.answer(query).hits)


def _report(
    located: LocatedQuestion, hits: Sequence[Hit], ranking: Ranking, values: dict[str, float]
) -> QuestionReport:
    return QuestionReport(
        id=located.question.id,
        question=located.question.text,
        gold=[(gold.document, gold.start, gold.end) for gold in located.gold],
        relevant=len(ranking.relevant),
        passages=[
            PassageReport(
                document=hit.document_id,
                path=hit.citation.file,
                start=unit.span.start,
                end=unit.span.end,
                score=hit.score,
                relevant=unit.id in ranking.relevant,
            )
            for hit, unit in zip(hits, ranking.units, strict=False)
        ],
        metrics=values,
    )
