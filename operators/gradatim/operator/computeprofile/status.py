"""The status of a ComputeProfile, from the probes.

Called by `reconcile`. Pure. The reason of Ready names the dependency that failed, so that whoever waits for the profile sees why.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradatim.api.computeprofile import ComputeProfile, ComputeProfileStatus
from gradatim.api.meta import State
from gradatim.api.reasons import ConditionType, Reason
from gradatim.operator.conditions import Verdict, merged


@dataclass(frozen=True, slots=True)
class Probe:
    """What one dependency answered."""

    condition: ConditionType
    ok: bool
    reason: Reason
    message: str = ""
    version: str | None = None


def status(
    profile: ComputeProfile, old: ComputeProfileStatus, probes: tuple[Probe, ...], *, active: int, now: str
) -> ComputeProfileStatus:
    """Return the status to write. `last_probe` moves only when something else does: a probe that finds nothing new writes nothing."""
    generation = profile.metadata.generation or 0
    failed = next((p for p in probes if not p.ok), None)
    verdicts = [Verdict(p.condition, p.ok, p.reason, p.message) for p in probes]
    if failed is None:
        ready = Verdict(ConditionType.READY, True, Reason.PROBED, "every dependency answers")
    else:
        ready = Verdict(ConditionType.READY, False, failed.reason, failed.message)
    verdicts += [
        ready,
        Verdict(ConditionType.RECONCILING, failed is not None, ready.reason, "" if failed is None else "probing again"),
        Verdict(ConditionType.STALLED, False, Reason.PROBED),
    ]
    versions = {p.condition: p.version for p in probes}
    new = old.model_copy(
        update={
            "observed_generation": generation,
            "state": State.READY if failed is None else State.DEGRADED,
            "conditions": merged(old.conditions, verdicts, generation=generation, now=now),
            "runtime_version": versions.get(ConditionType.RUNTIME_REACHABLE) or old.runtime_version,
            "vector_store_version": versions.get(ConditionType.VECTOR_STORE_REACHABLE) or old.vector_store_version,
            "active_runs": active,
        }
    )
    return new if new == old else new.model_copy(update={"last_probe": now})
