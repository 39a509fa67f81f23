"""What a Run has cost: the CPUs and accelerators that its attempts held, for as long as they held them, at the profile's prices.

Called by the plans of Dataset and RAGIndex in the pass in which a Run ends. Pure. It is a figure about the past and decides nothing. Where
something that it rests on is not known, there is no figure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from gradatim.api.computeprofile import ComputeProfile, Pricing, Runtime
from gradatim.api.kuberay import PodGroup
from gradatim.api.run import RunConfig
from gradatim.api.runstatus import Attempt, RunCost, RunStatus
from gradatim.operator.clock import parsed
from gradatim.operator.runs.lifecycle import Decision

_HOUR = 3600
_FINE = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Held:
    """What an attempt holds while it runs."""

    cpus: Decimal
    accelerators: int = 0


def priced(
    decision: Decision, before: RunStatus | None, profile: ComputeProfile | None, config: RunConfig | None
) -> Decision:
    """Return the decision with the cost of the Run that it ends; a Run that had ended before keeps its record."""
    run = decision.step.run
    ends = run is not None and run.done and before is not None and before.name == run.name and not before.done
    spec = None if config is None else config.dataset or config.index
    if run is None or not ends or profile is None or spec is None:
        return decision
    if run.attempts and run.attempts[0].number > 1:
        return decision  # status has forgotten the first ones, and with them what they held
    try:
        found = cost(run.attempts, held(profile.spec.runtime, spec.compute.workers), profile.spec.pricing)
    except ArithmeticError:  # prices and sizes that no figure can hold
        return decision
    if found is None:
        return decision
    step = dataclasses.replace(decision.step, run=run.model_copy(update={"cost": found}))
    return dataclasses.replace(decision, step=step)


def held(runtime: Runtime, workers: int) -> Held:
    """Return what an attempt with so many workers holds: its pods, or a CPU per worker of a standing cluster.

    One worker works in the driver, in a single pod of the worker's shape; more have a pod each, beside the head's.
    """
    pods = runtime.kube_ray
    if pods is None:
        return Held(Decimal(workers))
    groups = [pods.worker] if workers == 1 else [pods.head] + [pods.worker] * workers
    return Held(sum((cpus(g) for g in groups), Decimal(0)), sum(g.accelerators.count for g in groups if g.accelerators))


def cpus(group: PodGroup) -> Decimal:
    """Return the CPUs of a pod: `2`, `1.5` and `500m` are quantities of Kubernetes."""
    text = group.resources.cpu
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)


def cost(attempts: Iterable[Attempt], held: Held, pricing: Pricing) -> RunCost | None:
    """Return the cost of attempts that hold the same, None where the profile names no price."""
    cpu_price, accelerator_price = Decimal(pricing.cpu_hour), Decimal(pricing.accelerator_hour)
    if not cpu_price and not accelerator_price:
        return None
    hours = sum((_seconds(attempt) for attempt in attempts), Decimal(0)) / _HOUR
    cpu_hours, accelerator_hours = hours * held.cpus, hours * held.accelerators
    return RunCost(
        amount=_text(cpu_hours * cpu_price + accelerator_hours * accelerator_price),
        currency=pricing.currency,
        cpu_hours=_text(cpu_hours),
        accelerator_hours=_text(accelerator_hours),
    )


def _seconds(attempt: Attempt) -> Decimal:
    """Return how long an attempt held what it was given: from when it was first seen to its end, without its time in queues."""
    started, finished = parsed(attempt.started_at), parsed(attempt.finished_at)
    if started is None or finished is None:
        return Decimal(0)
    waiting = parsed(attempt.waiting_since)
    queued = attempt.waited_seconds + ((finished - waiting).total_seconds() if waiting is not None else 0)
    return Decimal(max((finished - started).total_seconds() - queued, 0))


def _text(value: Decimal) -> str:
    return f"{value.quantize(_FINE):f}"
