"""Gates fail closed and say which metric missed which bound by how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from gradatim.api.common import Gate
from gradatim.api.gates import failed_reason, judge, passed, summary
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import GateVerdict, NamedMetric


def metric(name: str, value: float, *, samples: int = 100, **interval: float) -> NamedMetric:
    return NamedMetric.model_construct(
        name=name, value=value, samples=samples, low=interval.get("low"), high=interval.get("high")
    )


@dataclass(frozen=True)
class Case:
    gate: dict[str, Any]
    metrics: list[NamedMetric]
    want: tuple[bool, str, str]
    baseline: list[NamedMetric] | None = field(default=None)


MIN = {"name": "g", "metric": "ndcg@10", "threshold": {"min": 0.5}}
DECREASE = {"name": "g", "metric": "ndcg@10", "baseline": "active", "maxDecrease": 0.02}
CASES = {
    "a value above its minimum passes": Case(
        MIN, [metric("ndcg@10", 0.6)], (True, "Succeeded", "g: ndcg@10 is 0.6, holds min 0.5 by 0.1")
    ),
    "a value at its minimum passes": Case(
        MIN, [metric("ndcg@10", 0.5)], (True, "Succeeded", "g: ndcg@10 is 0.5, holds min 0.5 by 0")
    ),
    "a value below its minimum fails and says by how much": Case(
        MIN, [metric("ndcg@10", 0.45)], (False, "GateFailed", "g: ndcg@10 is 0.45, misses min 0.5 by 0.05")
    ),
    "a value above its maximum fails": Case(
        {"name": "g", "metric": "latency", "threshold": {"max": 2}},
        [metric("latency", 2.5)],
        (False, "GateFailed", "g: latency is 2.5, misses max 2 by 0.5"),
    ),
    "only the missed one of two bounds is told": Case(
        {"name": "g", "metric": "x", "threshold": {"min": 1, "max": 2}},
        [metric("x", 3)],
        (False, "GateFailed", "g: x is 3, misses max 2 by 1"),
    ),
    "a missing metric is unproven": Case(
        MIN,
        [metric("recall@10", 1.0)],
        (False, "GateUnproven", "g: ndcg@10 was measured 0 times instead of once; measured metrics: recall@10"),
    ),
    "a metric reported twice is unproven": Case(
        MIN,
        [metric("ndcg@10", 0.1), metric("ndcg@10", 0.9)],
        (False, "GateUnproven", "g: ndcg@10 was measured 2 times instead of once; measured metrics: ndcg@10"),
    ),
    "no metrics at all are unproven": Case(
        MIN, [], (False, "GateUnproven", "g: ndcg@10 was measured 0 times instead of once; measured metrics: none")
    ),
    "a value that is not a number is unproven": Case(
        MIN,
        [metric("ndcg@10", float("nan"))],
        (False, "GateUnproven", "g: ndcg@10 is nan, not a finite number"),
    ),
    "an infinite value is unproven": Case(
        MIN,
        [metric("ndcg@10", float("inf"))],
        (False, "GateUnproven", "g: ndcg@10 is inf, not a finite number"),
    ),
    "too few samples are unproven": Case(
        MIN | {"minSamples": 50},
        [metric("ndcg@10", 0.9, samples=20)],
        (False, "GateUnproven", "g: ndcg@10 rests on 20 samples, 30 fewer than minSamples 50"),
    ),
    "with a confidence the low end is judged against a minimum": Case(
        MIN | {"confidence": 0.95},
        [metric("ndcg@10", 0.6, low=0.45, high=0.7)],
        (
            False,
            "GateFailed",
            "g: ndcg@10 is 0.6, low end at 0.95 confidence 0.45, misses min 0.5 by 0.05",
        ),
    ),
    "with a confidence the high end is judged against a maximum": Case(
        {"name": "g", "metric": "x", "threshold": {"max": 1}, "confidence": 0.95},
        [metric("x", 0.9, low=0.0, high=0.95)],
        (True, "Succeeded", "g: x is 0.9, high end at 0.95 confidence 0.95, holds max 1 by 0.05"),
    ),
    "a higher confidence than the interval's widens it": Case(
        MIN | {"confidence": 0.99},
        [metric("ndcg@10", 0.6, low=0.51, high=0.7)],
        (
            False,
            "GateFailed",
            "g: ndcg@10 is 0.6, low end at 0.99 confidence 0.4817, misses min 0.5 by 0.01828",
        ),
    ),
    "a confidence without an interval is unproven": Case(
        MIN | {"confidence": 0.95},
        [metric("ndcg@10", 0.9)],
        (False, "GateUnproven", "g: ndcg@10 has no interval, but the gate asks for confidence 0.95"),
    ),
    "an interval that leaves out its value is unproven": Case(
        MIN | {"confidence": 0.95},
        [metric("ndcg@10", 0.6, low=0.7, high=0.8)],
        (False, "GateUnproven", "g: the interval of ndcg@10 does not contain its value 0.6"),
    ),
    "without an active version a baseline gate passes and says so": Case(
        DECREASE,
        [metric("ndcg@10", 0.1)],
        (
            True,
            "NoBaseline",
            "g: ndcg@10 is 0.1; no version is active yet, so there is nothing to compare with",
        ),
    ),
    "without an active version a missing metric still fails": Case(
        DECREASE,
        [],
        (False, "GateUnproven", "g: ndcg@10 was measured 0 times instead of once; measured metrics: none"),
    ),
    "an active version without the metric is unproven": Case(
        DECREASE,
        [metric("ndcg@10", 0.9)],
        (
            False,
            "GateUnproven",
            "g: the active version has no usable ndcg@10 to compare with; evaluate it again first",
        ),
        [],
    ),
    "a decrease within its bound passes despite rounding": Case(
        DECREASE,
        [metric("ndcg@10", 0.68)],
        (True, "Succeeded", "g: ndcg@10 is 0.68, holds active 0.7 minus maxDecrease 0.02 by 0"),
        [metric("ndcg@10", 0.7)],
    ),
    "a decrease beyond its bound fails": Case(
        DECREASE,
        [metric("ndcg@10", 0.6)],
        (False, "GateFailed", "g: ndcg@10 is 0.6, misses active 0.7 minus maxDecrease 0.02 by 0.08"),
        [metric("ndcg@10", 0.7)],
    ),
    "an increase beyond its bound fails": Case(
        {"name": "g", "metric": "loss", "baseline": "active", "maxIncrease": 0.1},
        [metric("loss", 1.5)],
        (False, "GateFailed", "g: loss is 1.5, misses active 1 plus maxIncrease 0.1 by 0.4"),
        [metric("loss", 1.0)],
    ),
    "a ratio beyond its bound fails": Case(
        {"name": "g", "metric": "ttft", "baseline": "active", "maxRatio": 1.2},
        [metric("ttft", 3)],
        (False, "GateFailed", "g: ttft is 3, misses active 2 times maxRatio 1.2 by 0.6"),
        [metric("ttft", 2)],
    ),
    "a ratio to a negative value is unproven": Case(
        {"name": "g", "metric": "x", "baseline": "active", "maxRatio": 1.2},
        [metric("x", 3)],
        (False, "GateUnproven", "g: maxRatio has no meaning for the active version's negative x -2"),
        [metric("x", -2)],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_verdict(case: Case) -> None:
    ok, reason, message = case.want
    got = judge([Gate.model_validate(case.gate)], case.metrics, case.baseline)
    assert got == [GateVerdict(name="g", passed=ok, reason=reason, message=message)]


def test_failures_are_summed_up_with_the_worst_reason_first() -> None:
    gates = [Gate.model_validate(MIN | {"name": n, "metric": m}) for n, m in (("a", "x"), ("b", "y"), ("c", "z"))]
    verdicts = judge(gates, [metric("x", 0.1), metric("y", 0.9)], None)
    assert [v.passed for v in verdicts] == [False, True, False]
    assert not passed(verdicts)
    assert failed_reason(verdicts) is Reason.GATE_FAILED
    assert failed_reason(verdicts[2:]) is Reason.GATE_UNPROVEN
    assert summary(verdicts) == (
        "2 of 3 gates not passed: a: x is 0.1, misses min 0.5 by 0.4; "
        "c: z was measured 0 times instead of once; measured metrics: x, y"
    )


def test_no_gate_passes() -> None:
    assert passed([])
    assert summary([]) == "no gate is declared"
    assert failed_reason([]) is Reason.SUCCEEDED
