"""Progress: never backwards, never done before the end, with the stage's own rest of time."""

from __future__ import annotations

import pytest

from gradatim.workloads.progress import STAGES, STARTING, WORDS, Tracker


def test_percent_never_falls_and_reaches_a_hundred_only_at_the_end() -> None:
    tracker = Tracker(STAGES["validate"])
    seen = [tracker.progress(0, "t").percent]
    for number, (stage, total) in enumerate([("resolve", 0), ("read", 4), ("validate", 1), ("read", 1), ("write", 2)]):
        tracker.begin(stage, total, float(number))
        for _ in range(total):
            tracker.advance(1, "")
            seen.append(tracker.progress(number, "t").percent)
    assert seen == sorted(seen)
    assert seen[-1] == 99
    tracker.finish(9.0)
    assert tracker.progress(9.0, "t").percent == 100


def test_a_skipped_stage_counts_as_done() -> None:
    tracker = Tracker({"a": 1, "b": 1, "c": 2})
    tracker.begin("c", 2, 1.0)
    tracker.advance(1, "")
    assert tracker.progress(1.0, "t").percent == 75


def test_the_rest_comes_from_the_rate_of_the_stage() -> None:
    tracker = Tracker({"a": 1})
    tracker.begin("a", 10, 100.0)
    assert tracker.progress(104.0, "t").eta_seconds is None
    tracker.advance(2, "file")
    found = tracker.progress(104.0, "t")
    assert (found.eta_seconds, found.step, found.total, found.message) == (16, 2, 10, "file")


def test_time_is_booked_by_stage_even_when_one_comes_twice() -> None:
    tracker = Tracker({"a": 1, "b": 1})
    tracker.begin("a", 0, 1.0)
    tracker.begin("b", 0, 3.0)
    tracker.begin("a", 0, 4.0)
    tracker.end(5.5)
    assert tracker.timings == {"a": 3.5, "b": 1.0}


def test_a_stage_that_counts_a_unit_shows_its_rate() -> None:
    tracker = Tracker({"a": 1})
    tracker.begin("a", 50_000, 100.0, "rows")
    assert tracker.progress(104.0, "t").message == ""
    tracker.advance(10_000, "")
    found = tracker.progress(104.0, "t")
    assert (found.message, found.eta_seconds) == ("2,500 rows/s", 16)
    tracker.advance(10_000, "part 2")
    assert tracker.progress(104.0, "t").message == "5,000 rows/s, part 2"


@pytest.mark.parametrize("workload", STAGES)
def test_a_message_is_never_empty(workload: str) -> None:
    assert set(WORDS[workload]) == {STARTING, *STAGES[workload]}
    tracker = Tracker(STAGES[workload], words=WORDS[workload])
    assert tracker.progress(0, "t").message == "reading the configuration"
    for number, stage in enumerate(STAGES[workload], start=1):
        for total in (0, 3):
            tracker.begin(stage, total, float(number))
            assert tracker.progress(number, "t").message
            tracker.advance(1, "")
            assert tracker.progress(number, "t").message


SAID = [
    ("before the first step", "embed", 1500, 0, "", "embedding chunks"),
    ("steps of a known number", "embed", 1500, 1200, "", "1,200 of 1,500 chunks"),
    ("steps of an unknown number", "resolve", 0, 12, "", "12 files so far"),
    ("steps that mean nothing to a person", "chunk", 3, 2, "410 chunks", "cutting documents into chunks, 410 chunks"),
]


@pytest.mark.parametrize(("stage", "total", "steps", "own", "said"), [s[1:] for s in SAID], ids=[s[0] for s in SAID])
def test_a_message_counts_what_a_person_counts(stage: str, total: int, steps: int, own: str, said: str) -> None:
    tracker = Tracker(STAGES["index"], words=WORDS["index"])
    tracker.begin(stage, total, 1.0)
    tracker.advance(steps, own)
    assert tracker.progress(1.0, "t").message == said
