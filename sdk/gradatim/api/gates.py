"""Judges gates from metrics, alike in the operator and in a run without a cluster.

Pure: values in, verdicts out. It fails closed: a metric that is missing, not finite, measured on too few samples or without the interval
that a gate asks for is a failure. The one exception is stated: while no version is active, a gate against `baseline: active` passes with
the reason `NoBaseline`, because nothing can be lost yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from gradatim.api.common import Gate
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import GateVerdict, NamedMetric

INTERVAL_CONFIDENCE = 0.95
"""Workloads report two-sided intervals at this confidence; another one is reached by scaling with normal quantiles."""
_ROUNDING = 1e-12
_MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class _Bound:
    """One inequality. `side` names the end of the interval that is worse for it."""

    side: Literal["low", "high"]
    limit: float
    text: str

    def misses(self, value: float) -> float:
        """Return by how much `value` misses the bound; zero or less means that it holds."""
        return self.limit - value if self.side == "low" else value - self.limit


class _UnprovenError(Exception):
    """The gate cannot be judged; the message says why."""


def judge(
    gates: Sequence[Gate], metrics: Sequence[NamedMetric], baseline: Sequence[NamedMetric] | None
) -> list[GateVerdict]:
    """Return one verdict per gate, in order. `baseline` holds the active version's metrics, None while no version is active."""
    return [_judge_one(gate, metrics, baseline) for gate in gates]


def passed(verdicts: Sequence[GateVerdict]) -> bool:
    """Return whether every gate passed; no gate at all counts as passed."""
    return all(v.passed for v in verdicts)


def failed_reason(verdicts: Sequence[GateVerdict]) -> Reason:
    """Return the reason for a condition: `GateFailed` if a metric missed its bound, else `GateUnproven`, else `Succeeded`."""
    reasons = {v.reason for v in verdicts if not v.passed}
    if Reason.GATE_FAILED in reasons:
        return Reason.GATE_FAILED
    return Reason.GATE_UNPROVEN if reasons else Reason.SUCCEEDED


def summary(verdicts: Sequence[GateVerdict]) -> str:
    """Return one line for a person: how many gates passed and what each other one says."""
    missed = [v.message for v in verdicts if not v.passed]
    if not missed:
        return f"all {len(verdicts)} gates passed" if verdicts else "no gate is declared"
    return f"{len(missed)} of {len(verdicts)} gates not passed: {'; '.join(missed)}"[:_MAX_MESSAGE]


def _judge_one(gate: Gate, metrics: Sequence[NamedMetric], baseline: Sequence[NamedMetric] | None) -> GateVerdict:
    try:
        metric = _measured(gate, metrics)
        if gate.baseline is not None and baseline is None:
            text = f"{gate.metric} is {metric.value:.4g}; no version is active yet, so there is nothing to compare with"
            return _verdict(gate, Reason.NO_BASELINE, text, ok=True)
        bounds = _relative(gate, baseline) if baseline is not None and gate.baseline is not None else _absolute(gate)
        told = [_check(gate, metric, bound) for bound in bounds]
    except _UnprovenError as error:
        return _verdict(gate, Reason.GATE_UNPROVEN, str(error), ok=False)
    missed = [text for ok, text in told if not ok]
    if missed:
        return _verdict(gate, Reason.GATE_FAILED, "; ".join(missed), ok=False)
    return _verdict(gate, Reason.SUCCEEDED, "; ".join(text for _, text in told), ok=True)


def _verdict(gate: Gate, reason: Reason, text: str, *, ok: bool) -> GateVerdict:
    return GateVerdict(name=gate.name, passed=ok, reason=reason.value, message=f"{gate.name}: {text}"[:_MAX_MESSAGE])


def _measured(gate: Gate, metrics: Sequence[NamedMetric]) -> NamedMetric:
    found = [m for m in metrics if m.name == gate.metric]
    if len(found) != 1:
        known = ", ".join(sorted({m.name for m in metrics})) or "none"
        raise _UnprovenError(
            f"{gate.metric} was measured {len(found)} times instead of once; measured metrics: {known}"
        )
    metric = found[0]
    if not math.isfinite(metric.value):
        raise _UnprovenError(f"{gate.metric} is {metric.value}, not a finite number")
    if metric.samples < gate.min_samples:
        raise _UnprovenError(
            f"{gate.metric} rests on {metric.samples} samples, {gate.min_samples - metric.samples} fewer than minSamples"
            f" {gate.min_samples}"
        )
    return metric


def _absolute(gate: Gate) -> list[_Bound]:
    if gate.threshold is None:
        raise _UnprovenError("the gate has neither a threshold nor a baseline")
    bounds = []
    if gate.threshold.min is not None:
        bounds.append(_Bound("low", gate.threshold.min, f"min {gate.threshold.min:.4g}"))
    if gate.threshold.max is not None:
        bounds.append(_Bound("high", gate.threshold.max, f"max {gate.threshold.max:.4g}"))
    return bounds


def _relative(gate: Gate, baseline: Sequence[NamedMetric]) -> list[_Bound]:
    found = [m for m in baseline if m.name == gate.metric]
    if len(found) != 1 or not math.isfinite(found[0].value):
        raise _UnprovenError(f"the active version has no usable {gate.metric} to compare with; evaluate it again first")
    base = found[0].value
    bounds = []
    if gate.max_decrease is not None:
        text = f"active {base:.4g} minus maxDecrease {gate.max_decrease:.4g}"
        bounds.append(_Bound("low", base - gate.max_decrease, text))
    if gate.max_increase is not None:
        text = f"active {base:.4g} plus maxIncrease {gate.max_increase:.4g}"
        bounds.append(_Bound("high", base + gate.max_increase, text))
    if gate.max_ratio is not None:
        if base < 0:
            raise _UnprovenError(f"maxRatio has no meaning for the active version's negative {gate.metric} {base:.4g}")
        bounds.append(_Bound("high", base * gate.max_ratio, f"active {base:.4g} times maxRatio {gate.max_ratio:.4g}"))
    return bounds


def _check(gate: Gate, metric: NamedMetric, bound: _Bound) -> tuple[bool, str]:
    judged, shown = metric.value, f"{gate.metric} is {metric.value:.4g}"
    if gate.confidence is not None:
        judged = _worse_end(gate.confidence, metric, bound.side)
        shown += f", {bound.side} end at {gate.confidence:.4g} confidence {judged:.4g}"
    by = bound.misses(judged)
    if by > _ROUNDING:
        return False, f"{shown}, misses {bound.text} by {by:.4g}"
    return True, f"{shown}, holds {bound.text} by {-by if by < -_ROUNDING else 0.0:.4g}"


def _worse_end(confidence: float, metric: NamedMetric, side: Literal["low", "high"]) -> float:
    end = metric.low if side == "low" else metric.high
    if end is None or not math.isfinite(end):
        raise _UnprovenError(f"{metric.name} has no interval, but the gate asks for confidence {confidence:.4g}")
    spread = metric.value - end if side == "low" else end - metric.value
    if spread < -_ROUNDING:
        raise _UnprovenError(f"the interval of {metric.name} does not contain its value {metric.value:.4g}")
    scale = _quantile(confidence) / _quantile(INTERVAL_CONFIDENCE)
    return metric.value - spread * scale if side == "low" else metric.value + spread * scale


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
