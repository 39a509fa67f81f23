"""Which Run is due, if any.

Called by the plans of Dataset and RAGIndex. Pure. An operator upgrade, a new image or a new profile generation is never a trigger: the spec
digest leaves out defaults, so that a release that adds a field starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gradatim.api.base import ApiModel
from gradatim.api.common import Schedule
from gradatim.api.meta import ANNOTATION_REQUESTED_AT, Condition, ObjectMeta
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import canonical_digest
from gradatim.api.runstatus import RunStatus
from gradatim.operator.clock import parsed, rfc3339
from gradatim.operator.conditions import find
from gradatim.operator.naming import short_hash
from gradatim.operator.runs.model import Trigger
from gradatim.operator.runs.schedule import due_tick

ASKED = frozenset({"generation", "request"})
RESTORE = "restore"
BY_PIN = frozenset({Reason.PINNED.value, Reason.PIN_NOT_FOUND.value})  # reasons of Current that no Run has brought
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Known:
    """What decides about a new Run."""

    metadata: ObjectMeta
    spec_digest: str
    run: RunStatus | None
    schedule: Schedule | None
    last_tick: str | None
    last_requested: str | None
    upstream: Mapping[str, str] | None = None
    built_from: Mapping[str, str] | None = None
    unsettled: bool = False  # what was asked for last has failed, and nothing has succeeded since
    unknown: tuple[str, ...] = ()  # members of the spec that only a newer release knows


def spec_digest(spec: ApiModel, ignored: frozenset[str]) -> str:
    """Return the digest of what a Run depends on: wire names, members in `ignored` and all defaults left out."""
    document = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    return canonical_digest({k: v for k, v in document.items() if k not in ignored})


def restores(run: RunStatus) -> bool:
    """Return whether the Run brings back what was there already. It stands for what the Run before it stood for, so that no spec is missed."""
    return run.trigger == RESTORE


def superseded(known: Known) -> bool:
    """Return whether the active Run was started for another spec; what brings back the version that serves is for none."""
    run = known.run
    return run is not None and not run.done and not restores(run) and run.spec_digest != known.spec_digest


def unsettled(run: RunStatus | None, conditions: Sequence[Condition]) -> bool:
    """Return whether the last Run that somebody asked for, by a spec or a request, failed or was refused by a gate."""
    if run is None or not run.done or run.trigger not in ASKED:
        return False
    current = find(conditions, ConditionType.CURRENT)
    return current is not None and current.status == "False" and current.reason not in BY_PIN


def stands_for(known: Known, trigger: Trigger) -> str | None:
    """Return the digest of the spec that a new Run stands for.

    A restore stands for what the Run before it did; for none where that had failed and somebody waits for it, so that it is tried again.
    """
    if trigger.cause != RESTORE or known.run is None:
        return known.spec_digest
    failed = known.unsettled and known.run.spec_digest == known.spec_digest
    return None if failed else known.run.spec_digest


def _failed_in_vain(known: Known) -> bool:
    """Return whether a restore has failed after the spec of now had: another try at that waits until one has succeeded.

    Or each would take the place of the other, and neither would ever find the pause that it owes.
    """
    run = known.run
    if run is None or not restores(run) or run.succeeded or run.spec_digest is not None:
        return False
    return run.generation == (known.metadata.generation or 0)


def due(known: Known, now: datetime) -> Trigger | None:
    """Return the trigger of the Run that should start now. Only meaningful while no Run is active."""
    metadata = known.metadata
    requested = metadata.annotations.get(ANNOTATION_REQUESTED_AT)
    wanted = requested[:64] if requested else None
    if known.run is None or (known.run.spec_digest != known.spec_digest and not _failed_in_vain(known)):
        # After a restore that very name may have been given before it, and a Run never has the name of another.
        after = f"/{known.run.name}" if known.run is not None and restores(known.run) else ""
        asked_for = f"generation/{metadata.generation}/{known.spec_digest}{after}"
        return Trigger(asked_for, "generation", requested=wanted)
    if wanted is not None and wanted != known.last_requested:
        return Trigger(f"request/{wanted}/{known.run.name}", "request", requested=wanted)
    # A refresh of what never came about is another try at it: it is waited for, and its failure is the same failure.
    asked = "generation" if known.unsettled else None
    if known.upstream is not None and known.built_from is not None and known.upstream != known.built_from:
        changes = short_hash(*(f"{name}={digest}" for name, digest in sorted(known.upstream.items())), length=16)
        return Trigger(f"upstream/{changes}/{known.run.name}", asked or "upstream")
    last = max(
        m for m in (parsed(known.last_tick), _ended(known.run, now), parsed(metadata.creation_timestamp), LONG_AGO) if m
    )
    tick = due_tick(known.schedule, metadata.uid or "", last, now)
    return None if tick is None else Trigger(f"schedule/{rfc3339(tick)}", asked or "schedule", tick=rfc3339(tick))


def _ended(run: RunStatus, now: datetime) -> datetime | None:
    """Return when the Run's last attempt ended: ticks before that fell into the Run and are dropped.

    An end that is still to come, which an earlier release believed, tells nothing: it would stop the schedule.
    """
    ended = parsed(run.attempts[-1].finished_at) if run.attempts else None
    return None if ended is None or ended > now else ended
