"""The `validate` workload: sources in, a validated and content-addressed Dataset version out.

Resolve, read, validate, deduplicate, decontaminate, sample, split, write. Called by `__main__`; every step works on Arrow tables and lives in a
module of its own. Nothing becomes visible before its manifest is written, and no step drops a row without saying where it stood and why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from gradatim.api.dataset import DatasetSpec
from gradatim.api.reasons import Reason
from gradatim.api.run import DatasetOutput, RunResult, canonical_digest
from gradatim.api.runstatus import Failure, ReasonCount, ValidationSummary
from gradatim.workloads.context import ResultOutcome, RunContext
from gradatim.workloads.errors import WorkloadError, shorten
from gradatim.workloads.expectations import validate_table
from gradatim.workloads.sources import Listing, Sources
from gradatim.workloads.tables import artifact
from gradatim.workloads.tables.decontaminate import EvaluationSet, decontaminate, evaluation_set
from gradatim.workloads.tables.dedup import content_hashes, deduplicate
from gradatim.workloads.tables.evaluation import evaluation_texts
from gradatim.workloads.tables.reader import Reader, drop_nulls, place_of, row_content
from gradatim.workloads.tables.schema import Mapper, Place, Reject, concat
from gradatim.workloads.tables.splits import assign, sample, unusable

log = logging.getLogger("gradatim.workloads")

SOURCE_NAME = "data"
MAX_REASONS = 20
EXAMPLES = 5


@dataclass(slots=True)
class Ledger:
    """What was left out on the way, and how many rows there were to begin with."""

    rejected: list[Reject] = field(default_factory=list)
    dropped: list[Reject] = field(default_factory=list)
    seen: int = 0

    def check_fraction(self, limit: float, summary: ValidationSummary) -> None:
        """Raise WorkloadError Data/TooManyRejected when the rejected share of rows exceeds the limit."""
        if not self.seen or len(self.rejected) / self.seen <= limit:
            return
        worst = reason_counts(self.rejected)
        first = worst[0]
        where = "; ".join(first.examples[:3])
        text = (
            f"{len(self.rejected)} of {self.seen} rows or files were rejected, more than maxRejectedFraction {limit:g} allows; "
            f"most often {first.name} ({first.count}): {where}"
        )
        raise WorkloadError(Failure.DATA, Reason.TOO_MANY_REJECTED, text, validation=summary, rejections=worst)


def run(ctx: RunContext) -> RunResult:
    """Build the version that the config describes and return the result."""
    spec = ctx.config.dataset
    if spec is None:
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, "the run config has no dataset")
    with Sources(ctx) as sources:
        return _build(ctx, spec, sources)


def _build(ctx: RunContext, spec: DatasetSpec, sources: Sources) -> RunResult:
    ctx.stage("resolve")
    listing = sources.list(SOURCE_NAME, spec.source)
    evaluation = {item.name: sources.list(f"evaluation-{item.name}", item.source) for item in spec.decontaminate}
    inputs = sources.bind()
    transformation = artifact.transformation_digest(spec, ctx.config.suite.document if ctx.config.suite else "")
    unchanged = _unchanged(ctx, [listing, *evaluation.values()], canonical_digest([inputs, transformation]))
    if unchanged is not None:
        return ctx.result("Unchanged", message="the sources did not change", dataset=unchanged)

    ledger = Ledger(rejected=_skipped(listing))
    table = _read(ctx, spec, listing, ledger)
    table, summary = _validate(ctx, spec, table, ledger)
    table = _deduplicate(ctx, spec, table, ledger)
    table = _decontaminate(ctx, spec, table, (evaluation, ledger))
    splits = _split(ctx, spec, table, ledger)
    ledger.check_fraction(spec.validation.max_rejected_fraction, summary)
    if not sum(part.num_rows for part in splits.values()):
        text = f"no row of {ledger.seen} is left: {_why_empty(ledger)}"
        raise WorkloadError(
            Failure.DATA, Reason.SOURCE_EMPTY, text, validation=summary, rejections=reason_counts(ledger.rejected)
        )

    ctx.stage("write", 1)
    version = artifact.Version(
        splits,
        tuple(ledger.rejected),
        tuple(ledger.dropped),
        transformation,
        canonical_digest([inputs, transformation]),
    )
    digest = artifact.version_digest(version)
    path = artifact.version_path(ctx.config.object_path, digest)
    output = artifact.write_version(ctx.store, path, digest, version, spec.schema_kind.value)
    ctx.advance()
    counts = reason_counts(ledger.rejected)
    summary = summary.model_copy(update={"rejected": len(ledger.rejected), "rows": ledger.seen, "rejections": counts})
    outcome: ResultOutcome = "Unchanged" if digest == ctx.config.previous_dataset_digest else "Succeeded"
    return ctx.result(outcome, message=_message(output), dataset=output, validation=summary, rejections=counts)


def _unchanged(ctx: RunContext, listings: list[Listing], inputs: str) -> DatasetOutput | None:
    """Return the previous version when the same settings met the same content; modification times do not prove that."""
    previous = ctx.config.previous_dataset_digest
    if previous is None or not all(file.exact for listing in listings for file in listing.files):
        return None
    path = artifact.version_path(ctx.config.object_path, previous)
    manifest = artifact.read_manifest(ctx.store, path)
    if manifest is None or manifest.get("inputs") != inputs:
        return None
    return artifact.read_output(ctx.store, path, previous)


def _read(ctx: RunContext, spec: DatasetSpec, listing: Listing, ledger: Ledger) -> pa.Table:
    ctx.stage("read", len(listing.files))
    mapper = Mapper(spec.schema_kind, spec.columns)
    cache = f"{ctx.config.object_path}/cache"
    reader = Reader(mapper, spec.format, ctx.store, cache)
    tables: list[pa.Table] = []
    used: set[str] = set()
    reused = 0
    for file in listing.files:
        ctx.check_stop()
        found = reader.read(file, used)
        tables.append(found.table)
        ledger.rejected += found.rejects
        reused += found.cached
        ctx.advance(1, file.path)
    table = concat(tables, mapper)
    ledger.seen = table.num_rows + len(ledger.rejected)
    log.info("%d rows, %d files from the cache", table.num_rows, reused)
    _prune(ctx, cache, used)
    if not table.num_rows:
        worst = reason_counts(ledger.rejected)
        text = f"source {SOURCE_NAME}: none of {len(listing.files)} files gave a row: {_why_empty(ledger)}"
        raise WorkloadError(Failure.DATA, Reason.SOURCE_EMPTY, text, rejections=worst)
    return table


def _prune(ctx: RunContext, cache: str, used: set[str]) -> None:
    """Forget files that are no longer part of the source."""
    for path in ctx.store.list(cache):
        if path.removeprefix(cache + "/").partition(".")[0] not in used:
            ctx.store.delete(path)


def _validate(
    ctx: RunContext, spec: DatasetSpec, table: pa.Table, ledger: Ledger
) -> tuple[pa.Table, ValidationSummary]:
    ctx.stage("validate", 1)
    judged = validate_table(table, spec.validation, ctx.config.suite)
    judged.raise_if_blocked()
    if judged.bad.any():
        rows = table.filter(pa.array(judged.bad)).to_pylist()
        ledger.rejected += [
            Reject(place_of(row), label, f"fails {label}", row_content(row))
            for row, label in zip(rows, judged.why, strict=True)
        ]
        table = table.filter(pa.array(~judged.bad))
    table, empty = drop_nulls(table, Mapper(spec.schema_kind, spec.columns))
    ledger.rejected += empty
    ledger.check_fraction(spec.validation.max_rejected_fraction, judged.summary)
    ctx.advance()
    return table, judged.summary


def _deduplicate(ctx: RunContext, spec: DatasetSpec, table: pa.Table, ledger: Ledger) -> pa.Table:
    ctx.stage("deduplicate")
    table, dropped = deduplicate(table, spec.schema_kind, spec.dedup, ctx.check_stop)
    ledger.dropped += dropped
    return table


def _decontaminate(
    ctx: RunContext, spec: DatasetSpec, table: pa.Table, others: tuple[dict[str, Listing], Ledger]
) -> pa.Table:
    evaluation, ledger = others
    if not spec.decontaminate:
        return table
    ctx.stage("decontaminate")
    sets: list[EvaluationSet] = []
    for item in spec.decontaminate:
        ctx.note(f"reading evaluation set {item.name}")
        sets.append(evaluation_set(item.name, item.ngram, evaluation_texts(evaluation[item.name], ctx.check_stop)))
    table, dropped = decontaminate(table, spec.schema_kind, sets, ctx.check_stop)
    ledger.dropped += dropped
    return table


def _split(ctx: RunContext, spec: DatasetSpec, table: pa.Table, ledger: Ledger) -> dict[str, pa.Table]:
    ctx.stage("split")
    contents = content_hashes(table, spec.schema_kind)
    chosen = sample(contents, spec.sampling)
    table = table.filter(pa.array(chosen))
    contents = [content for content, stays in zip(contents, chosen, strict=True) if stays]
    found, names = assign(table, contents, spec.splits)
    ledger.rejected += unusable(table, found)
    return artifact.by_split(table, found, names)


def reason_counts(rejects: Iterable[Reject]) -> list[ReasonCount]:
    """Count rejects by reason, most frequent first, with examples of where."""
    grouped: dict[str, list[Reject]] = {}
    for reject in rejects:
        grouped.setdefault(reject.reason, []).append(reject)
    ordered = sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        ReasonCount(name=name[:128], count=len(items), examples=[_example(item) for item in items[:EXAMPLES]])
        for name, items in ordered[:MAX_REASONS]
    ]


def _example(reject: Reject) -> str:
    return shorten(f"{reject.place}: {reject.message}", 256)


def _skipped(listing: Listing) -> list[Reject]:
    return [
        Reject(Place(listing.source, skip.path), skip.reason, "was left out of the listing") for skip in listing.skipped
    ]


def _why_empty(ledger: Ledger) -> str:
    worst = reason_counts(ledger.rejected + ledger.dropped)
    return f"{worst[0].name} ({worst[0].count}): {worst[0].examples[0]}" if worst else "the files hold no rows"


def _message(output: DatasetOutput) -> str:
    splits = ", ".join(f"{split.name} {split.rows}" for split in output.splits)
    left_out = f"{output.rejected} rejected, {output.duplicates} duplicates, {output.contaminated} contaminated"
    return f"{output.rows} rows ({splits}); {left_out}"
