"""The `validate` workload: sources in, a validated and content-addressed Dataset version out.

Resolve, read, validate, deduplicate, decontaminate, sample, split, write. Called by `__main__`. Rows are read once into blocks on disk; every later
step is a pass over blocks, so memory is bounded by a block and by what `selection` keeps per row. Nothing becomes visible before its manifest is
written, and no step drops a row without saying where it stood and why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from gradatim.api.dataset import DatasetSpec
from gradatim.api.reasons import Reason
from gradatim.api.run import DatasetOutput, RunResult, canonical_digest
from gradatim.api.runstatus import Failure, ReasonCount, ValidationSummary
from gradatim.workloads.context import ResultOutcome, RunContext
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.executor import open_executor
from gradatim.workloads.expectations import plan_of
from gradatim.workloads.sources import FileRejected, Listing, Sources
from gradatim.workloads.tables import artifact, cache, selection
from gradatim.workloads.tables.decontaminate import EvaluationSet, evaluation_set
from gradatim.workloads.tables.evaluation import evaluation_texts
from gradatim.workloads.tables.reader import BlockSize, Reader
from gradatim.workloads.tables.rejects import RejectLog
from gradatim.workloads.tables.rows import PassSize, Rows
from gradatim.workloads.tables.schema import Mapper, Place, Reject
from gradatim.workloads.tables.selection import Selection
from gradatim.workloads.tables.splits import Assignment
from gradatim.workloads.tables.worker import Recipe, RowWorker, Written
from gradatim.workloads.workfolder import work_folder

log = logging.getLogger("gradatim.workloads")

SOURCE_NAME = "data"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is in memory at once; the result does not depend on it."""

    read: BlockSize = field(default_factory=BlockSize)
    work: PassSize = field(default_factory=PassSize)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a build starts from: files, evaluation sets by name, and the digests of settings and inputs."""

    listing: Listing
    evaluation: Mapping[str, Listing]
    transformation: str
    inputs: str


def run(ctx: RunContext, sizes: Sizes | None = None) -> RunResult:
    """Build the version that the config describes and return the result."""
    spec = ctx.config.dataset
    if spec is None:
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, "the run config has no dataset")
    with Sources(ctx) as sources:
        ctx.stage("resolve")
        listing = sources.list(SOURCE_NAME, spec.source)
        evaluation = {item.name: sources.list(f"evaluation-{item.name}", item.source) for item in spec.decontaminate}
        inputs = sources.bind()
        transformation = artifact.transformation_digest(spec, ctx.config.suite.document if ctx.config.suite else "")
        resolved = Resolved(listing, evaluation, transformation, canonical_digest([inputs, transformation]))
        unchanged = _unchanged(ctx, [listing, *evaluation.values()], resolved.inputs)
        if unchanged is not None:
            return ctx.result("Unchanged", message="the sources did not change", dataset=unchanged)
        with work_folder(ctx) as work:
            return _build(ctx, spec, resolved, work, sizes or Sizes())


def _build(ctx: RunContext, spec: DatasetSpec, resolved: Resolved, work: str, sizes: Sizes) -> RunResult:
    rejected, dropped = (RejectLog(ctx.store, f"{work}/{name}") for name in ("rejected", "dropped"))
    rows = _read(ctx, spec, resolved.listing, rejected, f"{work}/rows.blocks", sizes)
    seen = rows.total + rejected.total
    schema = rows.schema()
    plan = plan_of(spec.validation, ctx.config.suite, schema.names, rows.nullable())
    recipe = Recipe(spec.schema_kind, schema, plan, _evaluation_sets(ctx, spec, resolved.evaluation))
    with ExitStack() as stack:
        executor = stack.enter_context(open_executor(partial(RowWorker, recipe), spec.compute.workers, ctx))
        found = Selection(ctx, spec, rows, schema, executor, rejected, dropped)
        summary = selection.judge(found, plan)
        _check_fraction(found, seen, summary)
        selection.deduplicate(found)
        selection.decontaminate(found)
        assigned = selection.split(found)
        _check_fraction(found, seen, summary)
        if not found.alive.any():
            text = f"no row of {seen} is left: {_why_empty(rejected, dropped)}"
            raise WorkloadError(
                Failure.DATA, Reason.SOURCE_EMPTY, text, validation=summary, rejections=rejected.counts()
            )
        output = _publish(found, resolved, assigned)
    counts = rejected.counts()
    summary = summary.model_copy(update={"rejected": rejected.total, "rows": seen, "rejections": counts})
    outcome: ResultOutcome = "Unchanged" if output.digest == ctx.config.previous_dataset_digest else "Succeeded"
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


def _read(ctx: RunContext, spec: DatasetSpec, listing: Listing, rejected: RejectLog, pack: str, sizes: Sizes) -> Rows:
    ctx.stage("read", len(listing.files))
    rejected.add("listing", _skipped(listing))
    mapper = Mapper(spec.schema_kind, spec.columns)
    folder = f"{ctx.config.object_path}/cache"
    reader = Reader(mapper, ctx.store, folder, spec.format, sizes.read)
    rows = Rows(ctx.store, mapper, listing.source, sizes.work)
    used: set[str] = set()
    reused = 0
    with ctx.store.open_output(pack) as stream:
        for file in listing.files:
            ctx.check_stop()
            try:
                stored = reader.read(file, ctx.check_stop)
            except FileRejected as error:
                rejected.add("read", [Reject(Place(file.source, file.path), error.reason, str(error))])
            else:
                used.add(stored.path)
                rows.add(file.path, stored, stream, pack)
                rejected.add("read", cache.rejects_of(ctx.store, stored))
                reused += stored.cached
            ctx.advance(1, f"{file.path}, {rows.total} rows so far")
    log.info("%d rows, %d files from the cache", rows.total, reused)
    for path in set(ctx.store.list(folder)) - used:  # files that are no longer part of the source
        ctx.store.delete(path)
    if not rows.total:
        text = f"source {listing.source}: none of {len(listing.files)} files gave a row: {_why_empty(rejected)}"
        raise WorkloadError(Failure.DATA, Reason.SOURCE_EMPTY, text, rejections=rejected.counts())
    return rows


def _evaluation_sets(ctx: RunContext, spec: DatasetSpec, listings: Mapping[str, Listing]) -> tuple[EvaluationSet, ...]:
    sets: list[EvaluationSet] = []
    for item in spec.decontaminate:
        ctx.note(f"reading evaluation set {item.name}")
        sets.append(evaluation_set(item.name, item.ngram, evaluation_texts(listings[item.name], ctx.check_stop)))
    return tuple(sets)


def _publish(found: Selection, resolved: Resolved, assigned: Assignment) -> DatasetOutput:
    """Write the version, unless it is there already."""
    ctx = found.ctx
    ctx.stage("write", 2 * int(found.alive.sum()), selection.ROWS)
    written = selection.digest(found)
    parts = [(name, assigned.numbers == number) for number, name in enumerate(assigned.names)]
    digest = artifact.version_digest(resolved.transformation, ((name, written.digests[mask]) for name, mask in parts))
    path = artifact.version_path(ctx.config.object_path, digest)
    known = artifact.read_output(ctx.store, path, digest)
    if known is not None:
        return known
    version = artifact.Version(
        digest,
        found.spec.schema_kind.value,
        resolved.transformation,
        resolved.inputs,
        tuple((name, int(mask.sum())) for name, mask in parts),
        found.rejected,
        found.dropped,
    )
    return artifact.write_version(ctx.store, path, version, found.schema, _split_rows(found, assigned, written))


def _split_rows(found: Selection, assigned: Assignment, written: Written) -> Iterator[artifact.SplitRows]:
    for block in found.rows.blocks():
        found.ctx.check_stop()
        numbers, lengths = assigned.numbers[block.span], written.lengths[block.span]
        present = np.unique(numbers[numbers >= 0]).tolist()
        if present:
            table = block.table(found.schema)
            for number in present:
                mask = numbers == number
                yield artifact.SplitRows(number, table.filter(pa.array(mask)), lengths[mask])
        found.ctx.advance(int((numbers >= 0).sum()))


def _check_fraction(found: Selection, seen: int, summary: ValidationSummary) -> None:
    """Raise WorkloadError Data/TooManyRejected when the rejected share of rows exceeds the limit."""
    limit, rejected = found.spec.validation.max_rejected_fraction, found.rejected.total
    if rejected / seen <= limit:
        return
    worst = found.rejected.counts()
    first = worst[0]
    text = (
        f"{rejected} of {seen} rows or files were rejected, more than maxRejectedFraction {limit:g} allows; "
        f"most often {first.name} ({first.count}): {'; '.join(first.examples[:3])}"
    )
    raise WorkloadError(Failure.DATA, Reason.TOO_MANY_REJECTED, text, validation=summary, rejections=worst)


def _skipped(listing: Listing) -> list[Reject]:
    return [
        Reject(Place(listing.source, skip.path), skip.reason, "was left out of the listing") for skip in listing.skipped
    ]


def _why_empty(*logs: RejectLog) -> str:
    counts: list[ReasonCount] = [count for each in logs for count in each.counts()]
    worst = min(counts, key=lambda count: (-count.count, count.name), default=None)
    return f"{worst.name} ({worst.count}): {worst.examples[0]}" if worst else "the files hold no rows"


def _message(output: DatasetOutput) -> str:
    splits = ", ".join(f"{split.name} {split.rows}" for split in output.splits)
    left_out = f"{output.rejected} rejected, {output.duplicates} duplicates, {output.contaminated} contaminated"
    return f"{output.rows} rows ({splits}); {left_out}"
