"""Which versions of an index there are, which one serves, and which are dropped.

Called by `plan`. Pure. Versions live in `status.history`, newest first; which of them should serve follows from the list and the pin
alone, and every pass compares it with the alias as read. A version goes in steps that status names first: retired, after its grace
dropping, then dropped. So nobody can pin one whose removal may have begun, wherever the operator stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gradatim.api import gates
from gradatim.api.ragindex import IndexVersion, Promotion
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import GateVerdict, Metrics
from gradatim.operator.clock import parsed, rfc3339, since
from gradatim.operator.naming import version_label
from gradatim.operator.ragindex import restoring
from gradatim.operator.ragindex.model import World
from gradatim.operator.runs.lifecycle import Decision

HISTORY = 10


def with_result(world: World, decision: Decision) -> tuple[tuple[IndexVersion, ...], int, tuple[Reason, str] | None]:
    """Return the history with the Run's result laid on top, the number of versions built, and why its gates failed."""
    status, result = world.status, restoring.built(world, decision.step.finished)
    history = tuple(status.history)
    if result is None or result.index is None:
        return history, status.versions_built, None
    output = result.index
    before = next((v for v in history if v.digest == output.digest), None)
    if result.outcome == "Unchanged" and before is not None:
        # Nothing was built or measured, but the gates may be others now.
        verdicts, failure = _judged(world, before.metrics)
        judged = before.model_copy(update={"gates": verdicts})
        return tuple(judged if v.digest == before.digest else v for v in history), status.versions_built, failure
    if result.outcome != "Succeeded":
        return history, status.versions_built, None
    verdicts, failure = _judged(world, output.metrics)
    good = failure is None
    # What passed once goes on serving: a gate that is stricter now does not bring back an older version.
    proven = before is not None and before.passed and not (before.dropping or before.collection_dropped)
    retired = None if good else before.retired_at if before is not None and proven else rfc3339(world.now)
    built = status.versions_built + (before is None)
    version = IndexVersion(
        digest=output.digest,
        label=before.label if before else version_label(built),
        collection=output.collection,
        uri=output.uri,
        resolved_digest=output.resolved_digest,
        encoder_digest=output.encoder_digest,
        documents=output.documents,
        chunks=output.chunks,
        rejected=output.rejected,
        metrics=output.metrics,
        gates=verdicts,
        passed=good or proven,
        created=result.finished,
        retired_at=retired,
        run=decision.step.run.name if decision.step.run else None,
        generation=decision.step.run.generation if decision.step.run else 0,
    )
    older = (v for v in history if v.digest != version.digest)
    return (version, *(_replaced(v, version, rfc3339(world.now)) for v in older)), built, failure


def _replaced(old: IndexVersion, new: IndexVersion, now: str) -> IndexVersion:
    """Return an older version; one whose collection was changed in place has only its artifact left, until its grace is over."""
    if old.collection != new.collection or old.collection_dropped:
        return old
    return old.model_copy(update={"collection_dropped": True, "dropping": True, "retired_at": old.retired_at or now})


def _judged(world: World, metrics: Metrics) -> tuple[list[GateVerdict], tuple[Reason, str] | None]:
    """Return the verdicts of the gates of now, and why they failed."""
    evaluation, active = world.index.spec.evaluation, world.status.active
    verdicts = gates.judge(evaluation.gates if evaluation else [], metrics, active.metrics if active else None)
    failed = not gates.passed(verdicts)
    return verdicts, (gates.failed_reason(verdicts), gates.summary(verdicts)) if failed else None


def desired(
    history: tuple[IndexVersion, ...], pin: str | None
) -> tuple[IndexVersion | None, tuple[Reason, str] | None]:
    """Return the version that should serve: the pinned one, else the newest that passed."""
    usable_versions = [v for v in history if v.passed and not (v.dropping or v.collection_dropped)]
    newest = usable_versions[0] if usable_versions else None
    if pin is None:
        return newest, None
    found = next((v for v in usable_versions if v.digest == pin), None)
    if found is not None:
        return found, None
    known = ", ".join(f"{v.label} {v.digest[:19]}" for v in usable_versions) or "none"
    return None, (Reason.PIN_NOT_FOUND, f"versions.pin {pin[:19]} is not among the kept versions: {known}")


def retired(
    history: tuple[IndexVersion, ...], desired: IndexVersion | None, keep: int, used: frozenset[str], now: str
) -> tuple[IndexVersion, ...]:
    """Mark the versions beyond `keep` as retired and clear the mark of those that are wanted again."""
    out: list[IndexVersion] = []
    kept = 0
    for version in history:
        wanted = desired is not None and version.digest == desired.digest
        if not version.passed or version.dropping or version.collection_dropped:
            out.append(version)
            continue
        kept += 1
        stays = wanted or kept <= keep or version.label in used
        mark = None if stays else version.retired_at or now
        out.append(version if mark == version.retired_at else version.model_copy(update={"retired_at": mark}))
    return tuple(out)


def trimmed(
    world: World, history: tuple[IndexVersion, ...], desired: IndexVersion | None
) -> tuple[tuple[IndexVersion, ...], tuple[IndexVersion, ...]]:
    """Return what status has room for and what it forgets: what is gone already first, then the oldest refused or retired.

    Never the version that serves or is about to, however many were refused after it.
    """
    serving = {world.aliases.collection, world.status.promotion.collection if world.status.promotion else None}
    serving |= world.aliases.pointed_at | {desired.collection if desired else None}
    kept, forgotten = list(history), list[IndexVersion]()
    spare = [v for v in reversed(history) if v.collection_dropped or v.collection not in serving]
    spare.sort(key=lambda v: (not v.collection_dropped, v.retired_at is None))
    while len(kept) > HISTORY and spare:
        oldest = spare.pop(0)
        kept.remove(oldest)
        forgotten.append(oldest)
    return tuple(kept), tuple(forgotten)


def promotion(world: World, desired: IndexVersion | None) -> tuple[Promotion | None, str | None]:
    """Return the promotion to record and the collection to point the alias at, once the record has been read back."""
    recorded = world.status.promotion
    if desired is None:
        return recorded, None
    if recorded is None or recorded.digest != desired.digest or recorded.collection != desired.collection:
        pinned = world.index.spec.versions.pin is not None
        reason = Reason.PINNED if pinned else Reason.PROMOTED
        fresh = Promotion(
            digest=desired.digest, collection=desired.collection, reason=reason.value, decided_at=rfc3339(world.now)
        )
        return fresh, None
    if world.aliases.known and world.aliases.collection != desired.collection and world.aliases.present is not False:
        return recorded, desired.collection
    return recorded, None


def removable(history: Sequence[IndexVersion], grace: float, now: datetime) -> bool:
    """Return whether a version may go in this pass, so that it matters who else points at it: its grace is over, or no room is left."""
    held = [v for v in history if v.retired_at is not None and not v.collection_dropped]
    return bool(held) and (len(history) >= HISTORY or any(since(v.retired_at, now) >= grace for v in held))


@dataclass(frozen=True, slots=True)
class Removal:
    """`history` with the versions marked that go next, `drop` those that status names so already, `wait` seconds until one is due."""

    history: tuple[IndexVersion, ...]
    drop: tuple[IndexVersion, ...] = ()
    wait: float | None = None


def removal(world: World, history: tuple[IndexVersion, ...], desired: IndexVersion | None, *, idle: bool) -> Removal:
    """Return what is removed now. Nothing while a Run is active: it may be building the very version again."""
    if not idle:
        return Removal(history)
    grace = world.index.spec.versions.drop_after_seconds
    recorded = {v.digest for v in world.status.history if v.dropping}
    marked: list[IndexVersion] = []
    drop: list[IndexVersion] = []
    waits: list[float] = []
    for version in history:
        found = version
        if version.retired_at is not None and (version.dropping or not version.collection_dropped):
            left = grace - since(version.retired_at, world.now)
            if left > 0:
                waits.append(left)
            elif _free(world, version, history, desired):
                if version.digest in recorded:
                    drop.append(version)
                else:
                    found = version.model_copy(update={"dropping": True})
                    waits.append(0.0)
        marked.append(found)
    return Removal(tuple(marked), tuple(drop), min(waits, default=None))


def _free(world: World, version: IndexVersion, history: tuple[IndexVersion, ...], desired: IndexVersion | None) -> bool:
    """Return whether nobody can be searching the version's collection: no alias leads there, and the wanted version serves."""
    if version.collection_dropped:
        return True  # only its artifact is left
    if any(v.collection == version.collection and v.retired_at is None for v in history):
        return False
    settled = desired is None or world.aliases.collection == desired.collection
    return world.aliases.known and version.collection not in world.aliases.pointed_at and settled


def stale_in(world: World) -> timedelta | None:
    """Return the time left until the index counts as stale (negative: it is), or None without a limit."""
    refresh, checked = world.index.spec.refresh, parsed(world.status.last_checked)
    if refresh is None or refresh.max_staleness_seconds is None or checked is None:
        return None
    # Ages, not a date to come: what an earlier release took over from a result may lie at the end of the calendar.
    return timedelta(seconds=refresh.max_staleness_seconds) - max(world.now - checked, timedelta())
