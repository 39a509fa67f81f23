"""What Current says of an index beyond what all kinds have in common: what is remembered, what a loss leaves as it was, what a pin holds back.

Called by `status`. Pure. Current answers whether what serves reflects spec and sources. A lost collection says nothing about that, and
neither does the Run that loads it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradatim.api.reasons import ConditionType, Reason
from gradatim.operator.conditions import Verdict, find, reason_of
from gradatim.operator.ragindex import restoring
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import Plan, wanted_digest
from gradatim.operator.ragindex.versions import desired
from gradatim.operator.runs.model import Step
from gradatim.operator.runs.triggers import BY_PIN, restores

GATES = frozenset({Reason.GATE_FAILED.value, Reason.GATE_UNPROVEN.value})


def build_failed(step: Step) -> bool:
    """Return whether this pass has ended a build without success."""
    return step.failure is not None and step.run is not None and not restores(step.run)


def failed(world: World, plan: Plan) -> tuple[Reason, str] | None:
    """Return why the last build, or a gate, left the index behind; remembered by the condition Current while no other build follows."""
    step = plan.decision.step
    if plan.gate_failure is not None:
        return plan.gate_failure
    if build_failed(step):
        return step.reason, step.message
    if plan.decision.behind:
        return None
    before, after = world.status.run, step.run
    known = find(world.status.conditions, ConditionType.CURRENT)
    if before is None or after is None or known is None or known.status == "True" or known.reason in BY_PIN:
        return None
    if restores(after):  # it judges nothing: what was known before it stands
        stands = known.status == "False" and restoring.built(world, step.finished) is None
    else:
        over = before.name == after.name and before.done
        stands = over and (not before.succeeded or known.reason in GATES)
    return (reason_of(known.reason, Reason.USER_ERROR), known.message) if stands else None


def kept(world: World, plan: Plan, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts without Current where the collection is lost, unless this pass has ended a build: it stays as it was."""
    step = plan.decision.step
    if not restoring.lost(world) or build_failed(step) or restoring.built(world, step.finished) is not None:
        return list(verdicts)
    return [v for v in verdicts if v.type is not ConditionType.CURRENT]


def under_pin(world: World, plan: Plan, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts with Current False where it would be True although a pin holds back a newer version or a newer spec."""
    why = _held_back(world, plan)
    said = next((v.status for v in verdicts if v.type is ConditionType.CURRENT), None)
    known = find(world.status.conditions, ConditionType.CURRENT)
    untold = all(v.type is not ConditionType.CURRENT for v in verdicts)
    if why is None or not (said or (untold and known is not None and known.status == "True")):
        return list(verdicts)
    others = [v for v in verdicts if v.type is not ConditionType.CURRENT]
    return [*others, Verdict(ConditionType.CURRENT, False, Reason.PINNED, why)]


def _held_back(world: World, plan: Plan) -> str | None:
    """Return what the pin keeps from serving, or None. Under a spec that only a newer release knows whole, versions alone are compared."""
    pinned, run = plan.desired, plan.decision.step.run
    if world.index.spec.versions.pin is None or pinned is None or run is None:
        return None
    newest, _ = desired(plan.history, None)
    if newest is not None and newest.digest != pinned.digest:
        return f"{pinned.label} is pinned, {newest.label} is newer; remove versions.pin to serve it"
    if not world.unknown and run.spec_digest != wanted_digest(world):
        return f"{pinned.label} is pinned, and the spec has changed since; no Run starts before versions.pin is removed"
    return None
