"""The status of a ComputeProfile, from the probes.

Called by `reconcile`. Pure. The reason of Ready names the dependency that failed, so that whoever waits for the profile sees why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gradatim.api.computeprofile import ComputeProfile, ComputeProfileStatus
from gradatim.api.meta import State
from gradatim.api.reasons import ConditionType, Reason
from gradatim.operator.clock import rfc3339, since
from gradatim.operator.conditions import Verdict, find, merged, trouble


@dataclass(frozen=True, slots=True)
class Probe:
    """What one dependency answered."""

    condition: ConditionType
    ok: bool
    reason: Reason
    message: str = ""
    version: str | None = None


def status(
    profile: ComputeProfile,
    old: ComputeProfileStatus,
    probes: tuple[Probe, ...],
    *,
    active: int,
    now: datetime,
    deadline: float,
) -> ComputeProfileStatus:
    """Return the status to write. `last_probe` moves only when something else does: a probe that finds nothing new writes nothing.

    Stalled once Ready has been False for `deadline` seconds: whoever waits for the profile may give up then.
    """
    generation = profile.metadata.generation or 0
    failed = next((p for p in probes if not p.ok), None)
    verdicts = [Verdict(p.condition, p.ok, p.reason, p.message) for p in probes]
    if failed is None:
        ready = Verdict(ConditionType.READY, True, Reason.PROBED, "every dependency answers")
    else:
        ready = Verdict(ConditionType.READY, False, failed.reason, failed.message)
    stalled = failed is not None and _down_for(old, now) >= deadline
    trying = failed is not None and not stalled
    verdicts += [
        ready,
        Verdict(ConditionType.RECONCILING, trying, ready.reason, "probing again" if trying else ""),
        Verdict(
            ConditionType.STALLED,
            stalled,
            ready.reason if stalled else Reason.PROBED,
            f"{ready.message}; probing goes on" if stalled else "",
        ),
    ]
    versions = {p.condition: p.version for p in probes}
    conditions = merged(old.conditions, verdicts, generation=generation, now=rfc3339(now))
    new = old.model_copy(
        update={
            "observed_generation": generation,
            "state": State.READY if failed is None else State.DEGRADED,
            "conditions": conditions,
            "reason_text": trouble(conditions),
            "runtime_version": versions.get(ConditionType.RUNTIME_REACHABLE) or old.runtime_version,
            "vector_store_version": versions.get(ConditionType.VECTOR_STORE_REACHABLE) or old.vector_store_version,
            "active_runs": active,
        }
    )
    return new if new == old else new.model_copy(update={"last_probe": rfc3339(now)})


def _down_for(old: ComputeProfileStatus, now: datetime) -> float:
    """Return for how many seconds Ready has been False."""
    ready = find(old.conditions, ConditionType.READY)
    return since(ready.last_transition_time, now) if ready is not None and ready.status == "False" else 0.0
