"""Third stage: judges the parsed documents by the spec's expectations and decides which go on.

The rule. A file or record that cannot be parsed is always left out and counted; by itself it never stops a build. With `onFailure: block` a failed
critical expectation stops it. With `onFailure: quarantine` the documents that fail are left out too, and the build goes on only while all left-out
entries together are at most `maxRejectedFraction` of all. Whatever is configured, a build without a single chunk is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.api.common import OnFailure
from gradatim.api.ragindex import MetadataType
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure, ReasonCount, ValidationSummary
from gradatim.rag.model import mean_confidence
from gradatim.rag.store.rows import typed_metadata
from gradatim.workloads.errors import WorkloadError, shorten
from gradatim.workloads.index.build import Build
from gradatim.workloads.index.parsing import Parsed
from gradatim.workloads.index.tables import Rejection, load_metadata, recognised_of

MAX_REASONS = 20
MAX_EXAMPLES = 5
_ARROW = {
    MetadataType.TEXT: pa.string(),
    MetadataType.INT: pa.int64(),
    MetadataType.NUMBER: pa.float64(),
    MetadataType.BOOLEAN: pa.bool_(),
    MetadataType.DATE: pa.string(),
}
# The types of what `recognition_facts` returns.
_OCR = {"ocr_pages": pa.int64(), "ocr_confidence": pa.float64(), "ocr_confidence_min": pa.float64()}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What goes on. `rejected` holds ids of documents, `rejections` everything left out so far with reasons."""

    summary: ValidationSummary
    rejected: frozenset[str]
    rejections: tuple[Rejection, ...]


def judge_documents(build: Build, parsed: Parsed) -> Judgement:
    """Judge all documents. Raises WorkloadError Data/DataInvalid or Data/TooManyRejected with the summary and the reasons."""
    validation, suite = build.spec.validation, build.ctx.config.suite
    failed: list[Rejection] = []
    summary = ValidationSummary(success=True)
    if validation.expectations or suite is not None:
        summary, failed = _expectations(build, parsed)
    rejections = (*parsed.rejections, *failed)
    summary = summary.model_copy(
        update={
            "rows": parsed.documents + len(parsed.rejections),
            "rejected": len(rejections),
            "rejections": reason_counts(rejections),
        }
    )
    if validation.on_failure is OnFailure.QUARANTINE:
        _check_share(summary, validation.max_rejected_fraction)
    return Judgement(summary, frozenset(item.document for item in failed if item.document), rejections)


def _expectations(build: Build, parsed: Parsed) -> tuple[ValidationSummary, list[Rejection]]:
    # Imports pandas: two seconds that an index without expectations does not spend.
    from gradatim.workloads.expectations import validate_table
    from gradatim.workloads.expectations.suite import checks_of

    validation, suite = build.spec.validation, build.ctx.config.suite
    columns = {column for check in checks_of(validation, suite) for column in check.columns}
    table, documents = expectation_table(build, parsed.parts, with_text=not columns or "text" in columns)
    judged = validate_table(table, validation, suite)
    failed: list[Rejection] = []
    for position, why in zip(judged.bad.nonzero()[0].tolist(), judged.why, strict=True):
        place = table.slice(position, 1).select(["source", "file", "row"]).to_pylist()[0]
        where = {"row": place["row"], "document": documents[position]}
        failed.append(Rejection(place["source"], place["file"], "validate", why[:128], f"fails {why}", **where))
    if judged.blocking:
        more = f" (and {len(judged.blocking) - 1} more)" if len(judged.blocking) > 1 else ""
        raise WorkloadError(
            Failure.DATA,
            Reason.DATA_INVALID,
            judged.blocking[0] + more,
            validation=judged.summary,
            rejections=reason_counts([*parsed.rejections, *failed]),
        )
    return judged.summary, failed


def _check_share(summary: ValidationSummary, most: float) -> None:
    total = summary.rows
    share = summary.rejected / total if total else 0.0
    if share > most:
        first = summary.rejections[0]
        text = (
            f"{summary.rejected} of {total} documents were rejected ({share:.1%}), more than maxRejectedFraction {most:.1%}; "
            f"most often {first.name}, for example {'; '.join(first.examples[:3])}"
        )
        raise WorkloadError(
            Failure.DATA, Reason.TOO_MANY_REJECTED, shorten(text), validation=summary, rejections=summary.rejections
        )


def expectation_table(build: Build, parts: Sequence[str], *, with_text: bool) -> tuple[pa.Table, list[str]]:
    """Return the columns that expectations may use, and the documents' ids in the same order.

    source, file, row, text, chars, pages, replacement_ratio, parser, the facts of `_OCR`, and `metadata.<name>` for every field of the schema.
    The text is left out where no expectation names it, so that a large corpus is judged in little memory.
    """
    tables: list[pa.Table] = []
    ids: list[str] = []
    fields = build.settings.fields
    for part in parts:
        build.ctx.check_stop()
        rows = pq.read_table(build.ctx.store.open_input(part)).to_pylist()
        ids += [row["id"] for row in rows]
        values = [_values(row) for row in rows]
        metadata = [typed_metadata(load_metadata(row["metadata"]), fields) for row in rows]
        columns: dict[str, pa.Array] = {
            "source": pa.array([row["source"] for row in rows], pa.string()),
            "file": pa.array([row["path"] for row in rows], pa.string()),
            "row": pa.array([row["row"] for row in rows], pa.int64()),
            "chars": pa.array([value["chars"] for value in values], pa.int64()),
            "pages": pa.array([value["pages"] for value in values], pa.int64()),
            "replacement_ratio": pa.array([row["replacement_ratio"] for row in rows], pa.float64()),
            "parser": pa.array([row["parser"] for row in rows], pa.string()),
        }
        columns |= {name: pa.array([value[name] for value in values], kind) for name, kind in _OCR.items()}
        if with_text:
            columns["text"] = pa.array([row["text"] for row in rows], pa.large_string())
        for field in fields:
            found: list[Any] = [item.get(field.name) for item in metadata]
            if field.type is MetadataType.DATE:
                found = [None if value is None else value.isoformat() for value in found]
            columns[f"metadata.{field.name}"] = pa.array(found, _ARROW[field.type])
        tables.append(pa.table(columns))
    return pa.concat_tables(tables), ids


def _values(row: dict[str, Any]) -> dict[str, Any]:
    return {"chars": len(row["text"]), "pages": len(row["pages"] or ()), **recognition_facts(row)}


def recognition_facts(row: dict[str, Any]) -> dict[str, Any]:
    """Return how many pages of a document were recognised, the mean of their confidence and the worst; None without such a page."""
    recognised = recognised_of(row)
    return {
        "ocr_pages": len(recognised),
        "ocr_confidence": mean_confidence(recognised) if recognised else None,
        "ocr_confidence_min": min((page.confidence for page in recognised), default=None),
    }


def reason_counts(rejections: Sequence[Rejection]) -> list[ReasonCount]:
    """Return how many entries were left out for each reason, most first, with examples of where. The rarest beyond twenty are joined."""
    places: dict[str, list[str]] = {}
    for item in rejections:
        places.setdefault(item.reason[:128], []).append(item.location)
    ordered = sorted(places.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    shown = ordered if len(ordered) <= MAX_REASONS else ordered[: MAX_REASONS - 1]
    rest = ordered[len(shown) :]
    found = [_count(name, where) for name, where in shown]
    if rest:
        found.append(_count("Other", [place for _, where in rest for place in where]))
    return found


def _count(name: str, places: list[str]) -> ReasonCount:
    return ReasonCount(name=name, count=len(places), examples=[shorten(place, 256) for place in places[:MAX_EXAMPLES]])
