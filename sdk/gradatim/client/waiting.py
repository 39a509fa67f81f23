"""Waiting for an object to become ready, or for the reason why it will not.

`judge_wait` is the pure decision, shared with tests; `wait` follows the object until it decides. Run by both clients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gradatim.api.base import ReadModel
from gradatim.api.meta import ANNOTATION_REQUESTED_AT, Condition, ObjectMeta
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.runstatus import Progress, RunStatus
from gradatim.client.effects import Op, clock
from gradatim.client.errors import NotFoundError, StalledError, UnsupportedError, WaitTimeoutError
from gradatim.client.operations import Body, Target, get, remedy, typed_body
from gradatim.client.watching import STREAM_SECONDS, Watcher

Goal = Literal["Ready"]
"""The summary conditions of the kinds that there are."""
UNSEEN = "waiting for the operator to see the change"


@dataclass(frozen=True, slots=True)
class Glance:
    """The parts of any kind that waiting looks at."""

    generation: int
    observed: int
    conditions: tuple[Condition, ...]
    requested_at: str | None
    last_requested: str | None
    run: RunStatus | None
    progress: Progress | None
    pinned: bool = False

    def condition(self, kind: str) -> Condition | None:
        """Return a condition if it speaks of the current generation."""
        found = next((c for c in self.conditions if c.type == kind), None)
        if found is None or (found.observed_generation is not None and found.observed_generation < self.generation):
            return None
        return found

    def true(self, kind: str) -> Condition | None:
        """Return a condition if it is True for the current generation."""
        found = self.condition(kind)
        return found if found is not None and found.status == "True" else None

    def holds(self, kind: str) -> bool:
        """Return whether a condition is True for the current generation."""
        return self.true(kind) is not None


@dataclass(frozen=True, slots=True)
class Halt:
    """Why an object gets no further by itself."""

    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


@dataclass(frozen=True, slots=True)
class WaitVerdict:
    """`done`, or `stalled` with the reason, or neither: then `text` says what it waits for."""

    done: bool = False
    stalled: Halt | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class WaitUpdate:
    """What a progress callback gets: the object, what it waits for, and how far its Run is."""

    object: ReadModel
    text: str
    progress: Progress | None
    elapsed: float

    def __str__(self) -> str:
        """Return it in one line, for `on_progress=print`."""
        meta: ObjectMeta = getattr(self.object, "metadata")  # noqa: B009 - every kind has it, ReadModel does not say so
        return f"{meta.name}: {self.text or 'done'} ({self.elapsed:.0f} s)"


def glance(thing: ReadModel) -> Glance:
    """Return the parts of an object that waiting looks at."""
    meta: ObjectMeta = getattr(thing, "metadata")  # noqa: B009 - every kind has it, ReadModel does not say so
    status: Any = getattr(thing, "status", None)
    versions: Any = getattr(getattr(thing, "spec", None), "versions", None)
    return Glance(
        generation=meta.generation or 0,
        observed=status.observed_generation if status else -1,
        conditions=tuple(status.conditions) if status else (),
        requested_at=meta.annotations.get(ANNOTATION_REQUESTED_AT),
        last_requested=getattr(status, "last_requested", None),
        run=getattr(status, "run", None),
        progress=getattr(status, "progress", None),
        pinned=getattr(versions, "pin", None) is not None,
    )


def judge_wait(seen: Glance, goal: Goal) -> WaitVerdict:
    """Decide from one look: an old observation or a Run under way is never the end, a stall always is.

    The Run of a suspended object is no Run under way: it goes on when somebody resumes it, and what serves meanwhile does not change.
    """
    if seen.observed < seen.generation:
        return WaitVerdict(text=UNSEEN)
    suspended = seen.true(ConditionType.SUSPENDED)
    if suspended is not None and not seen.holds(goal):
        return WaitVerdict(stalled=_halt(suspended))
    if (refused := request_refused(seen)) is not None:
        return WaitVerdict(stalled=refused)
    if request_open(seen):
        return WaitVerdict(text=_request_text(seen))
    if (stalled := seen.true(ConditionType.STALLED)) is not None:
        return WaitVerdict(stalled=_halt(stalled))
    active = seen.run is not None and not seen.run.done
    under_way = suspended is None and (seen.holds(ConditionType.RECONCILING) or active)
    if seen.holds(goal) and not under_way:
        return WaitVerdict(done=True)
    return WaitVerdict(text=_describe(seen, goal))


def request_open(seen: Glance) -> bool:
    """Return whether a rerun was asked for that the operator has not taken up."""
    return seen.requested_at is not None and seen.run is not None and seen.requested_at[:64] != seen.last_requested


def request_refused(seen: Glance) -> Halt | None:
    """Return why a rerun that was asked for will not be taken up; None without one, or if it only has to wait."""
    if not request_open(seen) or seen.observed < seen.generation:
        return None
    suspended = seen.true(ConditionType.SUSPENDED)
    if suspended is not None:
        return Halt(suspended.reason, f"the requested run does not start: {suspended.message}")
    if seen.pinned:
        return Halt(Reason.PINNED, "the requested run does not start: spec.versions.pin is set")
    return None


def _halt(condition: Condition) -> Halt:
    return Halt(condition.reason, condition.message)


def _request_text(seen: Glance) -> str:
    text = "waiting for the requested run to start"
    if seen.run is not None and not seen.run.done:
        return f"{text} after the one under way: {_describe(seen, 'Ready')}"
    stalled = seen.true(ConditionType.STALLED)
    return f"{text} (until now {said(stalled)})" if stalled is not None else text


def _describe(seen: Glance, goal: Goal) -> str:
    progress = seen.progress
    if progress is not None and seen.run is not None and not seen.run.done:
        eta = f", about {progress.eta_seconds} s left" if progress.eta_seconds is not None else ""
        message = f": {progress.message}" if progress.message else ""
        return f"{progress.stage} {progress.percent} %{eta}{message}"
    current, under_way = seen.condition(goal), seen.true(ConditionType.RECONCILING)
    if current is not None and current.status != "True":
        return said(current)
    return said(under_way) if under_way is not None else f"waiting for {goal}"


def said(condition: Condition) -> str:
    """Return a condition's reason and message in one line."""
    return str(_halt(condition))


def wait(where: Target, goal: Goal, timeout: float, on_progress: Callable[[WaitUpdate], None] | None) -> Op[Body]:
    """Follow an object until it reaches `goal`.

    Raises `StalledError`, `NotFoundError`, `WaitTimeoutError`, or `UnsupportedError` for a condition that the kind does not have.
    """
    if goal != where.kind.summary:
        raise UnsupportedError(
            f"a {where.kind.singular} has no condition {goal} to wait for, only {where.kind.summary}"
        )
    started = yield from clock()
    yield from get(where)
    watcher = Watcher(where)
    text = "waiting for the object"
    while (left := started + timeout - (yield from clock())) > 0:
        event = yield from watcher.next(seconds=min(STREAM_SECONDS, int(left) + 1))
        if event is None:
            continue
        if event.type == "DELETED":
            raise NotFoundError(f"{where} was deleted while waiting")
        thing: ReadModel = typed_body(where.kind, event.body)
        seen = glance(thing)
        verdict = judge_wait(seen, goal)
        text = verdict.text or text
        if on_progress is not None:
            on_progress(WaitUpdate(thing, verdict.text, seen.progress, (yield from clock()) - started))
        if verdict.stalled is not None:
            found = verdict.stalled
            raise StalledError(f"{where} is stalled: {found}", reason=found.reason, hint=remedy(where, found.reason))
        if verdict.done:
            return event.body
    hint = "is the operator running, and does it watch this namespace? `gradatim status`" if text == UNSEEN else None
    raise WaitTimeoutError(f"{where} did not reach {goal} within {timeout:g} s; last: {text}", hint=hint)
