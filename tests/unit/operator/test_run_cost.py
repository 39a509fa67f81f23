"""What a Run costs, from tables: pods or workers, hours, prices, queues, and when the figure is written."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.operator.test_dataset_plan_and_status import ends as dataset_ends
from tests.unit.operator.test_dataset_plan_and_status import world as dataset_world
from tests.unit.operator.test_index_versions import PROFILE
from tests.unit.operator.test_index_versions import RUNNING as INDEX_RUNNING
from tests.unit.operator.test_index_versions import finished as index_ends
from tests.unit.operator.test_index_versions import world as index_world

from gradatim.api.computeprofile import ComputeProfile, Pricing, Runtime
from gradatim.api.run import RunConfig
from gradatim.api.runstatus import Attempt, Outcome, RunCost, RunStatus
from gradatim.cli.describing import describe_body
from gradatim.operator.dataset.plan import plan as dataset_plan
from gradatim.operator.observing import Surrounding
from gradatim.operator.ragindex.plan import frozen_inputs
from gradatim.operator.ragindex.plan import plan as index_plan
from gradatim.operator.runs.cost import Held, cost, held, priced
from gradatim.operator.runs.lifecycle import Decision
from gradatim.operator.runs.model import Step
from gradatim.operator.settings import RunSettings

DIGEST = "@sha256:" + "0" * 64
STANDING = {"type": "rayCluster", "rayCluster": {"address": "http://ray"}}


def pods(**groups: Any) -> dict[str, Any]:
    return {"type": "kuberay", "kubeRay": {"image": f"i{DIGEST}", "rayVersion": "2.60.0", **groups}}


GPU = {"resources": {"cpu": "3.5"}, "accelerators": {"count": 2}}
SHAPES: list[tuple[str, dict[str, Any], int, Held]] = [
    ("a CPU per worker of a standing cluster", STANDING, 3, Held(Decimal(3))),
    ("the worker's pod alone", pods(head={"resources": {"cpu": "8"}}), 1, Held(Decimal(1))),
    ("the head's pod and a pod per worker", pods(head={"resources": {"cpu": "500m"}}), 2, Held(Decimal("2.5"))),
    ("accelerators too", pods(worker=GPU), 2, Held(Decimal(8), 4)),
]


@pytest.mark.parametrize(("runtime", "workers", "expected"), [c[1:] for c in SHAPES], ids=[c[0] for c in SHAPES])
def test_an_attempt_holds(runtime: dict[str, Any], workers: int, expected: Held) -> None:
    assert held(Runtime.model_validate(runtime), workers) == expected


def attempt(start: str | None, end: str | None, **more: Any) -> Attempt:
    def at(text: str | None) -> str | None:
        return None if text is None else f"2026-03-01T{text}:00Z"

    more = {name: at(value) if name == "waiting_since" else value for name, value in more.items()}
    return Attempt(number=1, outcome=Outcome.SUCCEEDED, started_at=at(start), finished_at=at(end), **more)


PRICES = Pricing(cpu_hour="0.04", accelerator_hour="0.80", currency="EUR")
HOURS: list[tuple[str, list[Attempt], Held, tuple[str, str, str]]] = [
    ("an hour of two CPUs", [attempt("10:00", "11:00")], Held(Decimal(2)), ("0.0800", "2.0000", "0.0000")),
    (
        "failed attempts too",
        [attempt("10:00", "10:15"), attempt("10:20", "10:35")],
        Held(Decimal(1)),
        ("0.0200", "0.5000", "0.0000"),
    ),
    ("accelerators", [attempt("10:00", "10:30")], Held(Decimal(2), 4), ("1.6400", "1.0000", "2.0000")),
    (
        "no time in a queue",
        [attempt("10:00", "11:00", waited_seconds=1800)],
        Held(Decimal(1)),
        ("0.0200", "0.5000", "0.0000"),
    ),
    (
        "no time in a queue that it never left",
        [attempt("10:00", "11:00", waiting_since="10:45")],
        Held(Decimal(1)),
        ("0.0300", "0.7500", "0.0000"),
    ),
    ("nothing before it was seen", [attempt(None, "11:00")], Held(Decimal(1)), ("0.0000", "0.0000", "0.0000")),
    ("nothing for clocks that disagree", [attempt("11:00", "10:00")], Held(Decimal(1)), ("0.0000", "0.0000", "0.0000")),
]


@pytest.mark.parametrize(("attempts", "shape", "expected"), [c[1:] for c in HOURS], ids=[c[0] for c in HOURS])
def test_what_is_charged_is(attempts: list[Attempt], shape: Held, expected: tuple[str, str, str]) -> None:
    amount, cpu, accelerators = expected
    assert cost(attempts, shape, PRICES) == RunCost(
        amount=amount, currency="EUR", cpu_hours=cpu, accelerator_hours=accelerators
    )


def test_without_prices_there_is_no_figure() -> None:
    assert cost([attempt("10:00", "11:00")], Held(Decimal(1)), Pricing()) is None


def run(*, done: bool, name: str = "run-1") -> RunStatus:
    return RunStatus(name=name, trigger="generation", done=done, attempts=[attempt("10:00", "11:00")])


def forgetful() -> RunStatus:
    """Return a Run whose first attempts status has no room for."""
    late = attempt("10:00", "11:00").model_copy(update={"number": 2})
    return run(done=True).model_copy(update={"attempts": [late]})


def with_prices(prices: Pricing = PRICES) -> ComputeProfile:
    return PROFILE.model_copy(update={"spec": PROFILE.spec.model_copy(update={"pricing": prices})})


ABSURD = Pricing(cpu_hour="9" * 20, accelerator_hour="0." + "9" * 18, currency="EUR")
HUGE = with_prices(ABSURD).model_copy(
    update={
        "spec": with_prices(ABSURD).spec.model_copy(
            update={"runtime": Runtime.model_validate(pods(worker={"resources": {"cpu": "9" * 15}}))}
        )
    }
)


CONFIG = frozen_inputs(index_world(), run(done=False), force=False)
WRITTEN: list[tuple[str, RunStatus | None, RunStatus | None, ComputeProfile | None, RunConfig | None, str | None]] = [
    ("when the Run ends", run(done=False), run(done=True), with_prices(), CONFIG, "0.0400"),
    ("not while it is active", run(done=False), run(done=False), with_prices(), CONFIG, None),
    ("not when it had ended before", run(done=True), run(done=True), with_prices(), CONFIG, None),
    ("not for another Run", run(done=False, name="run-0"), run(done=True), with_prices(), CONFIG, None),
    ("not without a Run", None, None, with_prices(), CONFIG, None),
    ("not without the profile", run(done=False), run(done=True), None, CONFIG, None),
    ("not without its inputs", run(done=False), run(done=True), with_prices(), None, None),
    ("not where attempts are forgotten", run(done=False), forgetful(), with_prices(), CONFIG, None),
    ("not where no figure can hold it", run(done=False), run(done=True), HUGE, CONFIG, None),
    ("not without prices", run(done=False), run(done=True), PROFILE, CONFIG, None),
]


@pytest.mark.parametrize(
    ("before", "after", "profile", "config", "expected"), [c[1:] for c in WRITTEN], ids=[c[0] for c in WRITTEN]
)
def test_the_figure_is_written(
    before: RunStatus | None,
    after: RunStatus | None,
    profile: ComputeProfile | None,
    config: RunConfig | None,
    expected: str | None,
) -> None:
    found = priced(Decision(Step(run=after)), before, profile, config).step.run
    assert (found.cost.amount if found is not None and found.cost is not None else None) == expected


def test_both_kinds_write_it() -> None:
    around = Surrounding(with_prices(), {})
    held_by_index = dataclasses.replace(index_world(run=INDEX_RUNNING, evidence=index_ends(1)), around=around)
    held_by_dataset = dataset_world(**dataset_ends(), around=around)
    for found in (
        index_plan(held_by_index, RunSettings()).decision.step.run,
        dataset_plan(held_by_dataset, RunSettings()).decision.step.run,
    ):
        assert found is not None
        assert found.cost is not None
        assert found.cost.currency == "EUR"


def test_the_figure_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    found = RunCost(amount="1.6400", currency="EUR", cpu_hours="1.0000", accelerator_hours="2.0000").to_manifest()
    body = {
        "kind": "RAGIndex",
        "metadata": {"name": "one"},
        "spec": {},
        "status": {"run": {"name": "run-1", "cost": found}, "adoption": {"uid": "u", "chunks": 7}},
    }
    describe_body(body, [])
    told = capsys.readouterr().out
    assert "1.6400 EUR (1.0000 CPU hours, 2.0000 accelerator hours)" in told
    assert "Adoption:" in told
