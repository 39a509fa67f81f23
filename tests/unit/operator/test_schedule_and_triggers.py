"""Which tick is due and which Run a change starts; an upgrade of the operator starts none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gradatim.api.base import ApiModel
from gradatim.api.common import Schedule
from gradatim.api.dataset import DatasetSpec
from gradatim.api.meta import ANNOTATION_REQUESTED_AT, ObjectMeta
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.runstatus import Attempt, Outcome, RunStatus
from gradatim.operator.dataset import plan as dataset_plan
from gradatim.operator.ragindex import plan as ragindex_plan
from gradatim.operator.runs.model import Trigger
from gradatim.operator.runs.schedule import ScheduleError, due_tick, jitter, next_tick
from gradatim.operator.runs.triggers import Known, due, spec_digest, superseded

GOLDEN = Path(__file__).parents[2] / "data" / "spec_digests.json"


def at(text: str) -> datetime:
    """Return a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(line: str = "0 3 * * *", **more: Any) -> Schedule:
    """Return a schedule."""
    return Schedule(schedule=line, **more)


def zurich(line: str) -> Schedule:
    """Return a schedule in a zone with daylight saving."""
    return cron(line, time_zone="Europe/Zurich")


NEXT: list[tuple[str, Schedule | None, str, str | None]] = [
    ("without a schedule there is no tick", None, "2026-01-01T00:00", None),
    ("an object without a cron line has no tick", Schedule(), "2026-01-01T00:00", None),
    ("a tick is after the moment, not at it", cron(), "2026-01-01T03:00", "2026-01-02T03:00"),
    ("winter time is an hour ahead", zurich("0 3 * * *"), "2026-01-01T00:00", "2026-01-01T02:00"),
    ("summer time is two hours ahead", zurich("0 3 * * *"), "2026-07-01T00:00", "2026-07-01T01:00"),
    ("an hour that spring leaves out is made up at once", zurich("30 2 * * *"), "2026-03-29T00:00", "2026-03-29T01:00"),
    ("an hour that autumn has twice ticks once", zurich("30 2 * * *"), "2026-10-25T00:31", "2026-10-26T01:30"),
]


@pytest.mark.parametrize(("schedule", "after", "expected"), [c[1:] for c in NEXT], ids=[c[0] for c in NEXT])
def test_the_next_tick(schedule: Schedule | None, after: str, expected: str | None) -> None:
    assert next_tick(schedule, "u", at(after)) == (None if expected is None else at(expected))


DUE: list[tuple[str, Schedule | None, str, str, str | None]] = [
    ("nothing is due without a schedule", None, "2026-01-01T00:00", "2026-01-01T03:00", None),
    ("a tick is due at its second", cron(), "2026-01-01T00:00", "2026-01-01T03:00", "2026-01-01T03:00"),
    ("and not before", cron(), "2026-01-01T00:00", "2026-01-01T02:59:59", None),
    ("one that was taken is not due again", cron(), "2026-01-01T03:00", "2026-01-01T03:05", None),
    (
        "of several missed ticks the newest alone is caught up",
        cron("* * * * *"),
        "2026-01-01T00:00",
        "2026-01-01T03:07:30",
        "2026-01-01T03:07",
    ),
    ("one past its starting deadline is dropped", cron(), "2025-12-01T00:00", "2026-01-01T03:10:01", None),
    ("within it, it is not", cron(), "2025-12-01T00:00", "2026-01-01T03:10:00", "2026-01-01T03:00"),
    (
        "the doubled hour of autumn is due once",
        zurich("30 2 * * *"),
        "2026-10-25T00:30",
        "2026-10-25T01:31",
        None,
    ),
]


@pytest.mark.parametrize(("schedule", "last", "now", "expected"), [c[1:] for c in DUE], ids=[c[0] for c in DUE])
def test_the_tick_that_is_due(schedule: Schedule | None, last: str, now: str, expected: str | None) -> None:
    found = due_tick(schedule, "u", at(last), at(now))
    assert found == (None if expected is None else at(expected))


def test_jitter_is_a_fixed_share_that_differs_between_objects() -> None:
    schedule = cron(jitter_seconds=300)
    shares = [jitter(schedule, f"uid-{n}").total_seconds() for n in range(200)]
    assert shares == [jitter(schedule, f"uid-{n}").total_seconds() for n in range(200)]
    assert all(0 <= share <= 300 for share in shares)
    assert len(set(shares)) > 50
    tick = next_tick(schedule, "uid-1", at("2026-01-01T00:00"))
    assert tick == at("2026-01-01T03:00") + jitter(schedule, "uid-1")
    assert tick is not None
    assert due_tick(schedule, "uid-1", at("2026-01-01T00:00"), tick) == tick


def stored(**members: Any) -> Schedule:
    """Return a schedule that an older definition of the kind let in."""
    return cron().model_copy(update=members)


WRONG: list[tuple[str, Schedule, str]] = [
    ("words", stored(schedule="every day"), "not a cron line of five fields"),
    ("a day that no month has", cron("0 0 32 1 *"), "not a cron line of five fields"),
    ("six fields", stored(schedule="* * * * * *"), "not a cron line of five fields"),
    ("an alias", stored(schedule="@daily"), "not a cron line of five fields"),
    ("an unknown zone", cron(time_zone="Mars/Olympus"), "not an IANA time zone"),
    ("a folder of zones", cron(time_zone="Europe"), "not an IANA time zone"),
    ("a path", stored(time_zone="../../etc/passwd"), "not an IANA time zone"),
    ("an absolute path", stored(time_zone="/etc/localtime"), "not an IANA time zone"),
    ("no zone at all", stored(time_zone=""), "not an IANA time zone"),
]


@pytest.mark.parametrize(("schedule", "message"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_a_schedule_that_cannot_be_understood_says_so(schedule: Schedule, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        next_tick(schedule, "u", at("2026-01-01T00:00"))
    with pytest.raises(ScheduleError, match=message):
        due_tick(schedule, "u", at("2026-01-01T00:00"), at("2026-02-01T00:00"))


def finished(**more: Any) -> RunStatus:
    """Return a Run that ended at four."""
    ended = Attempt(number=1, outcome=Outcome.SUCCEEDED, finished_at="2026-01-01T04:00:00Z")
    base: dict[str, Any] = {"spec_digest": "d", "done": True, "succeeded": True, "attempts": [ended]}
    return RunStatus(name="one-1", trigger="generation", **(base | more))


def known(**more: Any) -> Known:
    """Return what is known about an object of generation 2 that has nothing to do."""
    requested = more.pop("requested", None)
    annotations = {} if requested is None else {ANNOTATION_REQUESTED_AT: requested}
    created = "2026-01-01T00:00:00Z"
    metadata = ObjectMeta(name="one", uid="u", generation=2, creation_timestamp=created, annotations=annotations)
    base: dict[str, Any] = {"spec_digest": "d", "run": finished(), "schedule": None}
    return Known(metadata=metadata, **(base | {"last_tick": None, "last_requested": None} | more))


UP = {"tickets": "sha256:new", "faq": "sha256:same"}
TRIGGERS: list[tuple[str, Known, str, Trigger | None]] = [
    ("a spec that was never run starts a Run", known(run=None), "05:00", Trigger("generation/2/d", "generation")),
    (
        "a request at creation is answered by the first Run",
        known(run=None, requested="now"),
        "05:00",
        Trigger("generation/2/d", "generation", requested="now"),
    ),
    ("a finished spec starts nothing", known(), "05:00", None),
    (
        "another spec starts a Run",
        known(run=finished(spec_digest="old")),
        "05:00",
        Trigger("generation/2/d", "generation"),
    ),
    (
        "a Run that was ended for another spec stands for none",
        known(run=finished(spec_digest=None, succeeded=False)),
        "05:00",
        Trigger("generation/2/d", "generation"),
    ),
    ("a failed Run is not repeated by itself", known(run=finished(succeeded=False)), "05:00", None),
    (
        "a new request starts a Run",
        known(requested="b", last_requested="a"),
        "05:00",
        Trigger("request/b/one-1", "request", requested="b"),
    ),
    ("an answered request does not", known(requested="a", last_requested="a"), "05:00", None),
    (
        "a long request is cut",
        known(requested="x" * 500),
        "05:00",
        Trigger(f"request/{'x' * 64}/one-1", "request", requested="x" * 64),
    ),
    ("unchanged upstream starts nothing", known(upstream=UP, built_from=UP), "05:00", None),
    ("upstream does not count where it is not followed", known(upstream=None, built_from=None), "05:00", None),
    (
        "a due tick starts a Run",
        known(schedule=cron("30 4 * * *")),
        "04:31",
        Trigger("schedule/2026-01-01T04:30:00Z", "schedule", tick="2026-01-01T04:30:00Z"),
    ),
    ("a tick that fell into the last Run is dropped", known(schedule=cron("55 3 * * *")), "04:01", None),
    (
        "a tick that was taken is not taken again",
        known(schedule=cron("30 4 * * *"), last_tick="2026-01-01T04:30:00Z"),
        "04:31",
        None,
    ),
]


@pytest.mark.parametrize(("one", "now", "expected"), [c[1:] for c in TRIGGERS], ids=[c[0] for c in TRIGGERS])
def test_what_starts_a_run(one: Known, now: str, expected: Trigger | None) -> None:
    assert due(one, at(f"2026-01-01T{now}")) == expected


def test_changed_upstream_starts_one_run_for_each_change() -> None:
    now = at("2026-01-01T05:00")
    first = due(known(upstream=UP, built_from=UP | {"tickets": "sha256:old"}), now)
    second = due(known(upstream=UP | {"faq": "sha256:2"}, built_from=UP), now)
    assert first is not None
    assert second is not None
    assert {first.cause, second.cause} == {"upstream"}
    assert first.id != second.id


def test_only_an_active_run_can_be_superseded() -> None:
    assert not superseded(known(run=None))
    assert not superseded(known(run=finished(spec_digest="old")))
    assert superseded(known(run=finished(spec_digest="old", done=False)))
    assert not superseded(known(run=finished(done=False)))


MODELS: dict[str, tuple[type[ApiModel], frozenset[str]]] = {
    "Dataset": (DatasetSpec, dataset_plan.IGNORED),
    "RAGIndex": (RAGIndexSpec, ragindex_plan.IGNORED),
}


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda c: c["case"])
def test_an_upgrade_starts_nothing(case: dict[str, Any]) -> None:
    """The digests were written by the first release; a release that changes one restarts every user's Runs."""
    model, ignored = MODELS[case["kind"]]
    assert spec_digest(model.model_validate(case["spec"]), ignored) == case["digest"]
