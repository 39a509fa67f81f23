"""What counts as one result when retrieval is measured: a chunk, or its parent where parents stand in for chunks.

Called by the evaluation for the documents that gold passages lie in. Pure but for reading the artifact's columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gradatim.rag.metrics import Span, judge
from gradatim.rag.retrieve.candidates import Hit
from gradatim.workloads.index.questions import LocatedQuestion
from gradatim.workloads.index.reading import ParquetRows

_COLUMNS = ["id", "document", "start", "end", "parent", "parent_start", "parent_end"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A stretch of a document that retrieval returns as a whole; `id` names it in rankings."""

    id: str
    span: Span


def unit_of(hit: Hit) -> Unit:
    """Return the unit that a hit stands for: the stretch that its text covers."""
    span = Span(hit.document_id, hit.context.start, hit.context.end)
    return Unit(_name(span), span)


def units_of_documents(chunks: ParquetRows, documents: Iterable[str]) -> dict[str, list[Unit]]:
    """Return the units of these documents, by document, each once."""
    wanted = set(documents)
    found: dict[str, dict[str, Unit]] = {document: {} for document in wanted}
    for table in chunks.groups(_COLUMNS):
        chosen = table.filter(pc.is_in(table.column("document"), value_set=pa.array(sorted(wanted), pa.string())))
        for row in chosen.to_pylist():
            start, end = (row["start"], row["end"])
            if row["parent"] is not None:
                start, end = row["parent_start"], row["parent_end"]
            span = Span(row["document"], start, end)
            found[row["document"]].setdefault(_name(span), Unit(_name(span), span))
    return {document: list(units.values()) for document, units in found.items()}


def relevant_units(question: LocatedQuestion, units: Mapping[str, Sequence[Unit]]) -> frozenset[str]:
    """Return the ids of the units that hold a gold passage or are mostly part of one: half of the shorter of the two.

    A passage that is cut so that no unit holds half of it counts for the unit that holds most: every question has an answer.
    """
    candidates = {unit.id: unit.span for gold in question.gold for unit in units.get(gold.document, ())}
    found = set(judge(candidates, question.gold))
    if not found and candidates:
        found = {
            max(sorted(candidates), key=lambda name: max(overlap(candidates[name], gold) for gold in question.gold))
        }
    return frozenset(found)


def overlap(left: Span, right: Span) -> int:
    """Return how many characters two spans share."""
    if left.document != right.document:
        return 0
    return max(0, min(left.end, right.end) - max(left.start, right.start))


def _name(span: Span) -> str:
    return f"{span.document}:{span.start}:{span.end}"
